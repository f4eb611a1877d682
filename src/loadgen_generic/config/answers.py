"""Looking at the answers: LoadGen's accuracy mode, and comparing outputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["AnswerOptions"]


class AnswerOptions(Options):
    mode: Annotated[
        Literal["performance", "accuracy"], Option("Answers", "CM_MLPERF_LOADGEN_MODE")
    ] = Field(
        "performance",
        description="performance measures speed; accuracy answers each sample once, writes the "
        "outputs into LoadGen's accuracy log, and counts how many labels the model finds",
    )
    save_outputs: Annotated[bool, Option("Answers", "CM_MLPERF_SAVE_OUTPUTS")] = Field(
        False, description="in accuracy mode, write all outputs to outputs.npz as well"
    )
    verify: Annotated[
        str | None, Option("Answers", "CM_MLPERF_VERIFY", metavar="data|reference|FILE.onnx")
    ] = Field(
        None,
        description="after the test, compare outputs with the expected ones in the dataset "
        "(data), with the same model on the CPU without optimisations (reference), or with "
        "another model file of the same inputs; exit code 1 if they differ. A file of other "
        "precision (float16, int8) passes at a cosine similarity of 0.99 and the same top-1 "
        "unless --atol or --rtol is given; all else by tolerances of the element type",
    )
    verify_samples: Annotated[int | None, Option("Answers", "CM_MLPERF_VERIFY_SAMPLES")] = Field(
        None, ge=1, le=2**24, description="how many samples --verify compares (64, or all if fewer)"
    )
    atol: Annotated[float | None, Option("Answers", "CM_MLPERF_VERIFY_ATOL")] = Field(
        None,
        ge=0,
        description="largest absolute error for --verify (default: by element type, a share of "
        "the output's largest value: 1e-4 for float32, 0.01 for float16, 0.05 for bfloat16, "
        "0.125 for float8; integers, bools and strings have to be equal)",
    )
    rtol: Annotated[float | None, Option("Answers", "CM_MLPERF_VERIFY_RTOL")] = Field(
        None,
        ge=0,
        description="largest relative error for --verify, added to the absolute one (default: "
        "1e-3 for float32, 0.02 for float16, 0.05 for bfloat16, 0.25 for float8)",
    )

    def answers_contradiction(self) -> str:
        """What these options say against each other, for the user; empty if nothing."""
        if self.save_outputs and self.mode != "accuracy":
            return "--save_outputs has no meaning without --mode accuracy"
        for name in ("verify_samples", "atol", "rtol"):
            if getattr(self, name) is not None and self.verify is None:
                return f"--{name} has no meaning without --verify"
        return ""
