"""Seeded random inputs that fit a model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.samples.pool import Pool, PoolReader, SharedPool
from loadgen_generic.samples.shared import SharedArrays
from loadgen_generic.seams import Reader, SharedSamples
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

__all__ = ["SyntheticSamples", "pool_size"]

# Bounds of the automatic pool. The lower one keeps samples distinct for large inputs, the upper
# one keeps LoadGen's own bookkeeping small for tiny ones.
_FEWEST, _MOST = 8, 1 << 18
_LARGEST_POOL_BYTES = 1 << 30
# Offline goes round the pool in order; batches that divide it are never cut by its end.
_MULTIPLE = 16


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
    return max(_FEWEST, min(-(-wanted // _MULTIPLE) * _MULTIPLE, affordable, _MOST))


class SyntheticSamples:
    """A pool of distinct random samples, held as one contiguous array per input.

    Sample ``i`` depends on the seed and on ``i`` alone: floats are uniform in [0, 1), integers
    uniform over 0 to 9, booleans are coin tosses.
    """

    def __init__(
        self, plan: SamplePlan, count: int, seed: int, per_query: int = 1, shared: bool = False
    ) -> None:
        """Args:
        plan: what one sample is.
        count: how many distinct samples.
        seed: of all of them.
        per_query: samples that LoadGen issues together.
        shared: keep the loaded samples where other processes can read them.
        """
        self._plan = plan
        self._count = count
        self._seed = seed
        self._fresh: tuple[Array, ...] | None = None  # in order of index
        slots = count + per_query - 1  # LoadGen loads the first samples twice for MultiStream
        self._shared: SharedArrays | None = None
        if shared:
            self._shared = SharedArrays(slots, [(each.dtype, each.shape) for each in plan.inputs])
            arrays = self._shared.arrays
        else:
            arrays = tuple(np.empty((slots, *each.shape), each.dtype) for each in plan.inputs)
        self.pool = Pool(plan, arrays, count)

    def count(self) -> int:
        return self._count

    def load(self, indices: Sequence[int]) -> None:
        # Kept from the probe's load, in order of index, to the one of the test.
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            fresh = self._fresh = self._generate()
        order = np.asarray(indices, dtype=np.intp)
        for source, target in zip(fresh, self.pool.arrays, strict=True):
            np.take(source, order, axis=0, out=target[: len(order)], mode="clip")
        self.pool.load(indices)

    def unload(self, indices: Sequence[int]) -> None:
        self.pool.load([])

    def reader(self, batch_size: int) -> Reader:
        return PoolReader(self.pool, batch_size)

    def slots(self, indices: Sequence[int]) -> Sequence[int]:
        first = self.pool.first_slot(indices)
        return range(first, first + len(indices)) if first >= 0 else self.pool.slots(indices)

    def share(self) -> SharedSamples:
        assert self._shared is not None
        return SharedPool(self._plan, self._shared.layout)

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
