"""Seeded random inputs that fit a model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

__all__ = ["SyntheticSamples", "pool_size"]

# Bounds of the automatic pool. The lower one keeps samples distinct for large inputs, the upper
# one keeps LoadGen's own bookkeeping small for tiny ones.
_FEWEST, _MOST = 8, 32768
_LARGEST_POOL_BYTES = 1 << 30


def pool_size(bytes_per_sample: int, cache_bytes: int) -> int:
    """How many distinct samples to hold.

    More than twice the last-level cache, because inputs that stay in the cache would flatter
    the model, within bounds that keep start-up short.

    Args:
        bytes_per_sample: all inputs of one sample together.
        cache_bytes: size of the last-level cache.
    """
    wanted = 2 * cache_bytes // max(bytes_per_sample, 1) + 1
    affordable = _LARGEST_POOL_BYTES // max(bytes_per_sample, 1)
    return max(_FEWEST, min(wanted, affordable, _MOST))


class SyntheticSamples:
    """A pool of distinct random samples, held as one contiguous array per input.

    Sample ``i`` depends on the seed and on ``i`` alone: floats are uniform in [0, 1), integers
    uniform over 0 to 9, booleans are coin tosses.
    """

    def __init__(self, plan: SamplePlan, count: int, seed: int) -> None:
        self._plan = plan
        self._count = count
        self._seed = seed
        self._fresh: tuple[Array, ...] | None = None  # in order of index
        self._pool: tuple[Array, ...] = ()  # in loaded order
        self._loaded: list[int] = []
        self._slot: dict[int, int] = {}
        self._batches: dict[tuple[int, int], Batch] = {}

    def count(self) -> int:
        return self._count

    def load(self, indices: Sequence[int]) -> None:
        # LoadGen repeats the first samples at the end for MultiStream, so that a query which
        # wraps around is contiguous too; the first occurrence is where a query begins.
        self._loaded = list(indices)
        self._slot = {}
        for slot, index in enumerate(self._loaded):
            self._slot.setdefault(index, slot)
        self._batches.clear()
        self._pool = ()
        fresh, self._fresh = self._fresh or self._generate(), None
        if self._loaded == list(range(self._count)):
            self._pool = self._fresh = fresh
        else:
            order = np.asarray(self._loaded, dtype=np.intp)
            self._pool = tuple(array[order] for array in fresh)

    def unload(self, indices: Sequence[int]) -> None:
        self._pool, self._loaded, self._slot = (), [], {}
        self._batches.clear()

    def batch(self, indices: Sequence[int]) -> Batch:
        count = len(indices)
        first = self._slot[indices[0]]
        known = self._batches.get((first, count))
        if known is None:
            if first + count > len(self._loaded):
                return self._gather(indices)
            known = self._batches[first, count] = self._view(first, count)
        if count > 1 and self._loaded[first : first + count] != list(indices):
            return self._gather(indices)
        return known

    def _view(self, first: int, count: int) -> Batch:
        if self._plan.batched:
            return Batch(count, tuple(array[first : first + count] for array in self._pool))
        return Batch(count, tuple(array[first, ...] for array in self._pool))

    def _gather(self, indices: Sequence[int]) -> Batch:
        slots = [self._slot[index] for index in indices]
        return Batch(len(slots), tuple(array[slots] for array in self._pool))

    def _generate(self) -> tuple[Array, ...]:
        return tuple(
            _generate(plan, self._count, np.random.default_rng([self._seed, position]))
            for position, plan in enumerate(self._plan.inputs)
        )


def _generate(plan: InputPlan, count: int, random: np.random.Generator) -> Array:
    shape = (count, *plan.shape)
    kind = plan.dtype.kind
    if kind == "f":
        drawn = np.float32 if plan.dtype.itemsize <= 4 else np.float64
        return random.random(shape, dtype=drawn).astype(plan.dtype, copy=False)
    if kind == "b":
        return random.integers(0, 2, shape, dtype=np.uint8).astype(plan.dtype)
    return random.integers(0, 10, shape, dtype=plan.dtype)
