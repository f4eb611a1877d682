"""One replica: a backend in a process of its own on a node, as the class of an actor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadgen_generic import __version__
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.backends.replicas.held import HeldPool
from loadgen_generic.cluster.files import Contents, ModelFiles, keep_model, model_here
from loadgen_generic.cluster.node import own_priority
from loadgen_generic.machine import describe_packages
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array, ModelSignature

__all__ = ["Answers", "Loaded", "Replica"]

Answers = Sequence[Array] | None  # None where nobody looks at them


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a replica says once its model is loaded; see :class:`~loadgen_generic.seams.Backend`."""

    signature: ModelSignature
    effective: dict[str, object]
    providers: list[str]
    notes: list[str]


class Replica:
    """Its calls run one at a time, in the order in which they were sent.

    Args:
        answers: whether the answers are to be sent back.
    """

    def __init__(self, answers: bool) -> None:
        self._answers = answers
        self._pools: dict[int, HeldPool] = {}

    def hello(self) -> dict[str, Any]:
        """What has to be alike everywhere, and what is to be said of its priority."""
        return {
            "version": __version__,
            "packages": describe_packages(),
            "gives_way": own_priority(),
        }

    def find_model(self, files: ModelFiles) -> str:
        """Its path on this node; empty if it is not there."""
        return model_here(files)

    def take_model(self, files: ModelFiles, contents: Contents) -> str:
        """Keep the model that was sent, and give its path on this node."""
        return keep_model(files, contents)

    def load(self, spec: BackendSpec) -> Loaded:
        self._backend = create_backend(spec)
        signature = self._backend.load()
        self._worker = self._backend.worker()
        return Loaded(
            signature,
            self._backend.effective(),
            self._backend.providers(),
            self._backend.notes(),
        )

    def hold(self, key: int, batched: bool, arrays: Sequence[Array]) -> None:
        """Read samples from these arrays from now on, which Ray has once on the node."""
        self._pools[key] = HeldPool(arrays, batched)

    def answer(self, key: int, count: int, slots: Sequence[int]) -> Answers:
        """Answer samples that this node holds."""
        self._worker.infer(self._pools[key].batch(count, slots))
        return list(self._worker.outputs()) if self._answers else None

    def timed(self, key: int, count: int, slots: Sequence[int]) -> int:
        """Answer them, and say what that took here, in ns."""
        began = time.perf_counter_ns()
        self.answer(key, count, slots)
        return time.perf_counter_ns() - began

    def compute(self, count: int, arrays: tuple[Array, ...]) -> list[Array]:
        """Answer samples that come with the call."""
        self._worker.infer(Batch(count, arrays))
        return list(self._worker.outputs())
