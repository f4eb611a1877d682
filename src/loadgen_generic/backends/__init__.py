"""Who answers the queries. A new engine is one new file here and one line in ``BACKENDS``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import cast

from loadgen_generic.seams import Backend

__all__ = ["BACKENDS", "BackendSpec", "create_backend"]

# Named, not imported: only the chosen engine is loaded.
BACKENDS = {
    "onnxruntime": "loadgen_generic.backends.onnxruntime:OnnxRuntimeBackend",
    "fake": "loadgen_generic.backends.fake:FakeBackend",
}


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """What a backend is built from.

    Attributes:
        name: key of ``BACKENDS``.
        model_path: model file; empty for a backend that needs none.
        execution_provider: full name, such as ``CPUExecutionProvider``.
        intra_op_threads, inter_op_threads: at least 1.
        execution_mode: ``sequential`` or ``parallel``.
        sizes: sizes of symbolic dimensions other than the batch.
        options: free key-value settings of the backend.
        optimize: whether the engine may rewrite the graph.
        optimized_cache: whether it may keep the rewritten graph for the next load.
    """

    name: str
    model_path: str
    execution_provider: str
    intra_op_threads: int
    inter_op_threads: int
    execution_mode: str
    sizes: dict[str, int] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    optimize: bool = True
    optimized_cache: bool = False


def create_backend(spec: BackendSpec) -> Backend:
    module, _, name = BACKENDS[spec.name].partition(":")
    return cast(Backend, getattr(importlib.import_module(module), name)(spec))
