"""The run around the test."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["RunOptions"]


class RunOptions(Options):
    output_dir: Annotated[str | None, Option("Run", "CM_MLPERF_OUTPUT_DIR", metavar="DIR")] = Field(
        None,
        description="where the result goes; if an earlier run is there, a new directory inside it "
        "(default: a new directory under ./results)",
    )
    warmup_queries: Annotated[int, Option("Run", "CM_MLPERF_WARMUP_QUERIES")] = Field(
        3, ge=0, le=10**6, description="inferences of each worker before anything is timed"
    )
    stall_timeout_sec: Annotated[float, Option("Run", "CM_MLPERF_STALL_TIMEOUT_SEC", unit="s")] = (
        Field(300.0, gt=0, description="give up when no sample has been answered for this long")
    )
