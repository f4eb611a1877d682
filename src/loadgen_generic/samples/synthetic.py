"""Seeded random inputs that fit a model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.machine import available_memory_bytes
from loadgen_generic.samples.draw import draw
from loadgen_generic.samples.library import Samples
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["SyntheticSamples", "SyntheticSource", "pool_size"]

# Bounds of the automatic pool. The lower one keeps samples distinct for large inputs, the upper
# one keeps LoadGen's own bookkeeping small for tiny ones.
_FEWEST, _MOST = 8, 1 << 18
_FEWEST_LARGE, _LARGE_BYTES = 2, 2 << 30  # in so many bytes even fewer are enough
_LARGEST_POOL_BYTES = 1 << 30
# Offline goes round the pool in order; batches that divide it are never cut by its end.
_MULTIPLE = 16
_SHARE_OF_MEMORY = 4
# From here on samples are drawn one by one, where they are needed.
_LARGE_SAMPLE_BYTES = 1 << 20
_PIECE = 1 << 20  # elements drawn at a time


def pool_size(bytes_per_sample: int, cache_bytes: int, memory_bytes: int | None = None) -> int:
    """How many distinct samples to hold.

    More than twice the last-level cache, because inputs that stay in the cache would flatter
    the model, within bounds that keep start-up short: 1 GiB, but at least 8 samples, or as few
    as 2 where 8 take more than 2 GiB. In any case no more than a quarter of the memory holds,
    if that is at least one.

    Args:
        bytes_per_sample: all inputs of one sample together.
        cache_bytes: size of the last-level cache.
        memory_bytes: memory that is free; None to ask the system.
    """
    size = max(bytes_per_sample, 1)
    if memory_bytes is None:
        memory_bytes = available_memory_bytes()
    wanted = 2 * cache_bytes // size + 1
    bounded = min(-(-wanted // _MULTIPLE) * _MULTIPLE, _LARGEST_POOL_BYTES // size, _MOST)
    fewest = min(_FEWEST, max(_FEWEST_LARGE, _LARGE_BYTES // size))
    return max(1, min(max(fewest, bounded), memory_bytes // _SHARE_OF_MEMORY // size))


class SyntheticSamples(Samples):
    """Distinct random samples, drawn as the plan says.

    Sample ``i`` depends on the seed and on ``i`` alone.

    Args:
        plan: what one sample is.
        count: how many distinct samples.
        seed: of all of them.
        per_query: samples that LoadGen issues together.
        shared: keep the loaded samples where other processes can read them.
    """

    def __init__(
        self, plan: SamplePlan, count: int, seed: int, per_query: int = 1, shared: bool = False
    ) -> None:
        super().__init__(plan, SyntheticSource(plan, count, [seed]), per_query, shared)


class SyntheticSource:
    """Draws samples of one shape.

    Args:
        seed: numbers that together say which samples these are.
    """

    def __init__(self, plan: SamplePlan, count: int, seed: Sequence[int]) -> None:
        self._plan, self._count, self._seed = plan, count, seed
        self._fresh: tuple[Array, ...] | None = None  # in order of index

    def count(self) -> int:
        return self._count

    def read(self, indices: Sequence[int], targets: Sequence[Array]) -> None:
        if self._plan.bytes_per_sample >= _LARGE_SAMPLE_BYTES:
            for row, index in enumerate(indices):
                self._draw_into([target[row, ...] for target in targets], index)
            return
        # Kept from the probe's load to the one of the test.
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            fresh = self._fresh = self._draw_all()
        order = np.asarray(indices, dtype=np.intp)
        for source, target in zip(fresh, targets, strict=True):
            np.take(source, order, axis=0, out=target[: len(order)], mode="clip")

    def expected(self, index: int) -> Sequence[Array] | None:
        return None

    def label(self, index: int) -> object:
        return None

    def _draw_all(self) -> tuple[Array, ...]:
        return tuple(
            draw(plan, (self._count, *plan.shape), np.random.default_rng([*self._seed, position]))
            for position, plan in enumerate(self._plan.inputs)
        )

    def _draw_into(self, sample: Sequence[Array], index: int) -> None:
        """One large sample, piece by piece: nothing of its size is needed beside it."""
        for position, (plan, target) in enumerate(zip(self._plan.inputs, sample, strict=True)):
            if plan.array is not None:
                target[...] = np.asarray(plan.array, plan.dtype)
                continue
            random = np.random.default_rng([*self._seed, position, index])
            flat = target.reshape(-1)
            for start in range(0, flat.size, _PIECE):
                piece = flat[start : start + _PIECE]
                piece[...] = draw(plan, piece.shape, random)
