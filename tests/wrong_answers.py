"""Runners and workers that answer fast and wrong, in ways that real ones have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.seams import Backend, Batch, Complete, Runner, Worker
from loadgen_generic.tensors import Array

__all__ = ["Late", "LateUnderLoad", "Swapping"]


class Late:
    """A backend whose workers give the answer to the query before."""

    def __init__(self, spec: BackendSpec) -> None:
        self._inner: Backend = create_backend(spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def worker(self) -> Worker:
        return _LateWorker(self._inner.worker())


class _LateWorker:
    def __init__(self, inner: Worker) -> None:
        self._inner = inner
        self._last: dict[int, list[Array]] = {}  # by rows, so that the shape fits

    def infer(self, batch: Batch) -> None:
        self._inner.infer(batch)
        now = [np.array(output) for output in self._inner.outputs()]
        self._answer = self._last.get(len(now[0]), now)
        self._last[len(now[0])] = now

    def outputs(self) -> Sequence[Array]:
        return self._answer


class Swapping:
    """A runner that mixes up the two samples in the middle of each query, or of two queries."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self._issued = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        order = list(indices)
        self._issued += 1
        middle = len(order) // 2
        if len(order) > 1:
            order[middle - 1 : middle + 1] = order[middle - 1 : middle + 1][::-1]
        elif self._issued in (3, 4):  # single samples come as 0, 1, 2, 3 ...
            order[0] = 5 - order[0]
        self._inner.issue(ids, order)


class LateUnderLoad:
    """A runner that gives the answer to the inference before while LoadGen's test runs, and the
    right one to whoever asks when it is over."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._inner.start(lambda: _late_under_load(make_complete()), fail)


def _late_under_load(complete: Complete) -> Complete:
    last: dict[int, list[Array]] = {}  # by rows, so that the shape fits

    def late(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
        now = [np.array(output) for output in outputs()]
        before = last.get(len(now[0]), now)
        last[len(now[0])] = now
        loaded = any(thread.name == "loadgen" for thread in threading.enumerate())
        complete(ids, lambda: before if loaded else now)

    return late
