"""The model that is served: loaded as a run would load it, with its workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.assembly import Assembly
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.hashing import sha256_of
from loadgen_generic.machine import available_cores
from loadgen_generic.seams import Worker
from loadgen_generic.serving.datatypes import check_types
from loadgen_generic.tensors import ModelSignature

__all__ = ["SERVED", "Loaded", "load"]

# What a request to a server is most like: many come at once, and workers share a session.
SERVED = {"scenario": "Server", "runner": "threadpool"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and who answers for it.

    Attributes:
        workers: one for each inference that may be under way.
        notes: for the user.
    """

    signature: ModelSignature
    workers: Sequence[Worker]
    notes: list[str]
    close: Callable[[], None]


def load(config: BenchmarkConfig, model_path: str) -> Loaded:
    """Load a model by the layout that a run would begin with: a worker per core, unless told.

    Args:
        config: with :data:`SERVED`.

    Raises:
        RequestError: the protocol has no word for a tensor of the model.
        RunError: it does not load.
    """
    assembly = Assembly(config, model_path, available_cores())
    layout = assembly.begin()
    backend, signature = assembly.backend(layout)
    check_types(signature)
    if model_path:
        backend.confirm(sha256_of(Path(model_path)))
    devices = assembly.devices(layout)
    workers = [
        assembly.backend(layout, devices[number % len(devices)])[0].worker()
        for number in range(layout.workers)
    ]
    threads = f"{layout.workers} worker(s) x {layout.intra_op_threads} thread(s)"
    notes = [*backend.notes(), *assembly.notes(layout), threads]
    return Loaded(signature, workers, notes, assembly.close)
