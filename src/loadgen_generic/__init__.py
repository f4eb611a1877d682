"""Measure any ONNX model under MLPerf LoadGen.

>>> from loadgen_generic import BenchmarkConfig, run
>>> result = run(BenchmarkConfig(model_path="model.onnx", scenario="Server"))
>>> result.valid, result.metric.value, result.metric.unit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadgen_generic.errors import (
    InterruptedRunError,
    LoadgenGenericError,
    RequestError,
    RunError,
)

if TYPE_CHECKING:
    from loadgen_generic.campaigns import run
    from loadgen_generic.config import BenchmarkConfig
    from loadgen_generic.results.result import Result

__version__ = "0.1.0"
__all__ = [
    "BenchmarkConfig",
    "InterruptedRunError",
    "LoadgenGenericError",
    "RequestError",
    "Result",
    "RunError",
    "run",
]

# Resolved on first use: the measured child imports this package too and needs none of them.
_HOMES = {
    "BenchmarkConfig": "loadgen_generic.config",
    "Result": "loadgen_generic.results.result",
    "run": "loadgen_generic.campaigns",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
