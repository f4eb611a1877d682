"""Looking at the answers: LoadGen's accuracy mode, and comparing outputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["AnswerOptions"]


class AnswerOptions(Options):
    mode: Annotated[
        Literal["performance", "accuracy", "find_peak", "tune"],
        Option("Answers", "CM_MLPERF_LOADGEN_MODE"),
    ] = Field(
        "performance",
        description="performance measures speed; accuracy answers each sample once, writes the "
        "outputs into LoadGen's accuracy log, and counts how many labels the model finds; "
        "find_peak searches, in at most 12 tests, for the highest --target_qps (Server) or "
        "--samples_per_query (MultiStream) that stays VALID under --target_latency_ms, or, in at "
        "most 24, for the runner, workers, threads and batch that are fastest (Offline, "
        "SingleStream; needs optuna), and goes on where it was if the same command is run again; "
        "tune searches, within --budget, for the provider, precision, runner, workers, threads, "
        "batch and session settings that are fastest and still give the right answers, in Server "
        "and MultiStream for the highest load within --target_latency_ms (needs optuna), and goes "
        "on in the same way",
    )
    save_outputs: Annotated[bool, Option("Answers", "CM_MLPERF_SAVE_OUTPUTS")] = Field(
        False, description="in accuracy mode, write all outputs to outputs.npz as well"
    )
    send_answers: Annotated[bool, Option("Answers", "CM_MLPERF_SEND_ANSWERS")] = Field(
        False,
        description="hand the bytes of every answer to LoadGen in a performance run as well, "
        "where it drops them; costs some microseconds a sample, and makes the run comparable "
        "with one of which an --audit logs answers",
    )
    verify: Annotated[
        str | None, Option("Answers", "CM_MLPERF_VERIFY", metavar="data|reference|FILE.onnx")
    ] = Field(
        None,
        description="after the test, compare outputs with the expected ones in the dataset "
        "(data), with the same model on the CPU without optimisations (reference), or with "
        "another model file of the same inputs; exit code 1 if they differ. A file of other "
        "precision (float16, int8) passes at a cosine similarity of 0.99 and the same top-1 "
        "unless --atol, --rtol or --tolerance is given; all else by tolerances of the element type",
    )
    verify_samples: Annotated[int | None, Option("Answers", "CM_MLPERF_VERIFY_SAMPLES")] = Field(
        None, ge=1, le=2**24, description="how many samples --verify compares (64, or all if fewer)"
    )
    verify_fraction: Annotated[float | None, Option("Answers", "CM_MLPERF_VERIFY_FRACTION")] = (
        Field(
            None,
            gt=0,
            le=1,
            description="share of the answers given during a performance run that --verify compares "
            "as well, drawn at random by --seed; it finds what is wrong under load alone. At most "
            "1000 are kept (or --verify_samples), from the whole of the test, in a quarter of the "
            "free memory",
        )
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
    tolerance: Annotated[
        Literal["float32", "tf32", "bfloat16", "float16", "int8"] | None,
        Option("Answers", "CM_MLPERF_VERIFY_TOLERANCE"),
    ] = Field(
        None,
        description="the element type by whose tolerance --verify or --mode tune judges, instead "
        "of the one that the answers were computed in; int8 judges by cosine similarity and top-1",
    )

    def answers_contradiction(self) -> str:
        """What these options say against each other, for the user; empty if nothing."""
        if self.save_outputs and self.mode != "accuracy":
            return "--save_outputs has no meaning without --mode accuracy"
        if self.verify_fraction is not None and self.verify is None:
            return "--verify_fraction has no meaning without --verify"
        compares = self.verify is not None or self.mode == "tune"
        for name in ("verify_samples", "atol", "rtol", "tolerance"):
            if getattr(self, name) is not None and not compares:
                return f"--{name} has no meaning without --verify or --mode tune"
        if self.verify_fraction is not None and self.mode == "accuracy":
            return (
                f"--verify_fraction {self.verify_fraction:g} is for performance runs and has no "
                "meaning with --mode accuracy; leave one out"
            )
        for name, given in (("atol", self.atol), ("rtol", self.rtol)):
            if given is not None and self.tolerance is not None:
                return (
                    f"--{name} {given:g} and --tolerance {self.tolerance} both say how far an "
                    "answer may be off; leave one out"
                )
        return ""
