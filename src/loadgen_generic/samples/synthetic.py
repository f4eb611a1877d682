"""Seeded random inputs that fit a model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.samples.library import Samples
from loadgen_generic.tensors import Array, InputPlan, SamplePlan
from loadgen_generic.values import default_values

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
        super().__init__(plan, _SyntheticSource(plan, count, seed), per_query, shared)


class _SyntheticSource:
    def __init__(self, plan: SamplePlan, count: int, seed: int) -> None:
        self._plan, self._count, self._seed = plan, count, seed
        self._fresh: tuple[Array, ...] | None = None  # in order of index

    def count(self) -> int:
        return self._count

    def read(self, indices: Sequence[int], targets: Sequence[Array]) -> None:
        # Kept from the probe's load to the one of the test.
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            fresh = self._fresh = self._generate()
        order = np.asarray(indices, dtype=np.intp)
        for source, target in zip(fresh, targets, strict=True):
            np.take(source, order, axis=0, out=target[: len(order)], mode="clip")

    def expected(self, index: int) -> Sequence[Array] | None:
        return None

    def label(self, index: int) -> object:
        return None

    def _generate(self) -> tuple[Array, ...]:
        return tuple(
            _generate(plan, self._count, np.random.default_rng([self._seed, position]))
            for position, plan in enumerate(self._plan.inputs)
        )


def _generate(plan: InputPlan, count: int, random: np.random.Generator) -> Array:
    shape, kind = (count, *plan.shape), plan.dtype.kind
    values = plan.values or default_values(plan.dtype)
    if plan.array is not None:
        return np.broadcast_to(np.asarray(plan.array, plan.dtype), shape)
    if values.kind == "constant":
        return np.full(shape, values.low).astype(plan.dtype)
    if values.kind == "normal":
        middle, width = (values.low + values.high) / 2, values.high - values.low
        drawn = np.clip(random.normal(middle, width / 6, shape), values.low, values.high)
        return (np.floor(drawn) if kind in "biu" else drawn).astype(plan.dtype)
    if kind in "iu":
        return random.integers(int(values.low), int(values.high), shape, dtype=plan.dtype)
    if kind == "b":
        return random.integers(int(values.low), int(values.high), shape, np.uint8).astype(bool)
    fine = np.float64 if plan.dtype.itemsize > 4 else np.float32
    scaled = random.random(shape, dtype=fine)
    if (values.low, values.high) != (0, 1):
        scaled = scaled * fine(values.high - values.low) + fine(values.low)
    return scaled.astype(plan.dtype, copy=False)
