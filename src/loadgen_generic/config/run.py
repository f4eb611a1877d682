"""The run around the test."""

from __future__ import annotations

from typing import Annotated, Literal

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
    repeat: Annotated[int, Option("Run", "CM_MLPERF_REPEAT")] = Field(
        1,
        ge=1,
        le=1000,
        description="how many times to run the test, each in a process of its own; the result is "
        "the median run's, with the spread and a confidence interval of the median",
    )
    warmup_queries: Annotated[int, Option("Run", "CM_MLPERF_WARMUP_QUERIES")] = Field(
        3,
        ge=0,
        le=10**6,
        description="inferences of each worker before anything is timed; in Server also two with "
        "each smaller batch, for two seconds at most",
    )
    stall_timeout_sec: Annotated[float, Option("Run", "CM_MLPERF_STALL_TIMEOUT_SEC", unit="s")] = (
        Field(300.0, gt=0, description="give up when no sample has been answered for this long")
    )
    trace: Annotated[bool, Option("Run", "CM_MLPERF_LOADGEN_TRACE")] = Field(
        False,
        description="keep LoadGen's trace and the latency of each sample (latencies.csv), and "
        "check LoadGen's statistics against them; costs 300 to 700 bytes on the disk and about a "
        "microsecond for each sample",
    )
    telemetry: Annotated[Literal["on", "off"], Option("Run", "CM_MLPERF_TELEMETRY")] = Field(
        "on",
        description="watch processors, memory, GPUs and some of the queries during the test, "
        "from outside the measured process",
    )
    profile: Annotated[bool, Option("Run", "CM_MLPERF_PROFILE")] = Field(
        False,
        description="after the test, run the model once more under ONNX Runtime's profiler, and "
        "show which operators take the time",
    )
