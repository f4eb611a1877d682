"""The backend and its session."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["SessionOptions"]


class SessionOptions(Options):
    backend: Annotated[
        Literal["onnxruntime", "fake", "kserve"], Option("Session", "CM_MLPERF_BACKEND")
    ] = Field(
        "onnxruntime",
        description="who answers the queries; kserve asks a server that speaks the Open Inference "
        "Protocol, see --endpoint; fake answers without a model after a set time, to measure what "
        "the harness itself costs",
    )
    intra_op_threads: Annotated[
        int | None, Option("Session", "CM_MLPERF_INTRAOP", aliases=("intraop",))
    ] = Field(None, ge=0, le=4096, description="threads inside one operator (0: cores / workers)")
    inter_op_threads: Annotated[
        int | None, Option("Session", "CM_MLPERF_INTEROP", aliases=("interop",))
    ] = Field(
        None,
        ge=0,
        le=4096,
        description="threads across operators, used by the parallel execution mode (0: 1, or "
        "cores in that mode)",
    )
    execution_mode: Annotated[
        Literal["auto", "sequential", "parallel"],
        Option("Session", "CM_MLPERF_EXEC_MODE", aliases=("execmode",)),
    ] = Field(
        "auto",
        description="run independent operators one after another or at once; auto is sequential",
    )
    graph_optimization: Annotated[
        Literal["all", "extended", "basic", "disabled"],
        Option("Session", "CM_MLPERF_GRAPH_OPTIMIZATION"),
    ] = Field(
        "all",
        description="how far ONNX Runtime optimises the graph before it runs it; extended leaves "
        "out layout changes for convolutions, basic leaves out fusions too, disabled runs the "
        "graph as it is",
    )
    backend_options: Annotated[
        dict[str, str],
        Option("Session", "CM_MLPERF_BACKEND_OPTIONS", metavar="KEY=VALUE[,KEY=VALUE...]"),
    ] = Field(
        default_factory=dict,
        description="session configuration entries of ONNX Runtime, or the settings of the fake "
        "backend",
    )
    optimized_cache: Annotated[bool, Option("Session", "CM_MLPERF_OPTIMIZED_CACHE")] = Field(
        True,
        description="keep the graph that ONNX Runtime optimised, for models of 16 MiB and more on "
        "the CPU provider (up to 4 GiB in the cache directory), and the engines that TensorRT built "
        "(up to 8 GiB), so that they load faster the next time",
    )
