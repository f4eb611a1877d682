"""Batches that say where in memory their samples lie, for a backend that keeps a copy of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array

__all__ = ["PlacedBatch", "Pooled"]


class Pooled(Protocol):
    """The memory of loaded samples of one shape, as whoever keeps a copy of it sees it."""

    @property
    def arrays(self) -> tuple[Array, ...]:
        """One per input, shape (slots, *sample); the same ones from load to load."""
        ...

    @property
    def batched(self) -> bool:
        """Whether the model's inputs have a batch dimension."""
        ...

    def watch(self, loaded: Callable[[int], None]) -> None:
        """Have a bound method told of the first so many slots after each load, as long as its
        object lives; on the thread that loads, while no query is under way."""
        ...


class PlacedBatch(Batch):
    """A batch that says where its samples lie, for a backend with a copy of the pool.

    Its arrays are gathered each time that somebody asks for them.

    Attributes:
        slots: one per row of the arrays: ``count`` samples, then padding.
    """

    __slots__ = ("pool", "slots")

    def __init__(self, count: int, pool: Pooled, slots: Sequence[int]) -> None:
        self.count, self.pool, self.slots, self.handle = count, pool, slots, None

    @property
    def arrays(self) -> tuple[Array, ...]:  # type: ignore[override]
        if self.pool.batched:
            return tuple(np.take(each, self.slots, axis=0) for each in self.pool.arrays)
        return tuple(each[self.slots[0], ...] for each in self.pool.arrays)
