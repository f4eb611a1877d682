"""Samples of several shapes in one run: a pool for each shape."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from loadgen_generic.notation import SizeRange
from loadgen_generic.samples.pool import Pool, PoolReader, slot_pool
from loadgen_generic.samples.shared import SharedArrays, SharedLayout
from loadgen_generic.samples.synthetic import SyntheticSource
from loadgen_generic.seams import Batch, Reader, SharedSamples, Source
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["MixedSamples", "Shape", "draw_sizes", "generated_shape"]

_OF_SIZES = 1 << 32  # sets these streams apart from those of values, whose numbers are small


@dataclass(frozen=True, slots=True)
class Shape:
    """The samples of one shape.

    Attributes:
        plan: what one of them is.
        source: where they come from; counts within the shape.
        members: their indices among all samples, in order.
    """

    plan: SamplePlan
    source: Source
    members: Sequence[int]


def draw_sizes(
    ranges: Mapping[str, SizeRange], count: int, seed: int
) -> list[tuple[dict[str, int], list[int]]]:
    """For each combination of sizes that occurs, the samples that have it.

    Every size of a range is as likely as any other. The sizes of a sample depend on the seed
    and on its index alone.
    """
    drawn = []
    for position, each in enumerate(ranges.values()):
        random = np.random.default_rng([seed, position, _OF_SIZES])
        steps = random.integers(0, (each.high - each.low) // each.step, count, endpoint=True)
        drawn.append((each.low + each.step * steps).tolist())
    members: dict[tuple[int, ...], list[int]] = {}
    for index, sizes in enumerate(zip(*drawn, strict=True)):
        members.setdefault(sizes, []).append(index)
    return [(dict(zip(ranges, sizes, strict=True)), members[sizes]) for sizes in sorted(members)]


def generated_shape(plan: SamplePlan, seed: Sequence[int], members: Sequence[int]) -> Shape:
    """Samples of one shape with generated values.

    Args:
        seed: numbers that no other shape has.
    """
    return Shape(plan, SyntheticSource(plan, len(members), seed), members)


class MixedSamples:
    """Samples of several shapes, all of them in memory.

    Args:
        shapes: between them every index from 0 on.
        shared: keep the samples where other processes can read them.

    Attributes:
        source: of all samples.
    """

    def __init__(self, shapes: Sequence[Shape], shared: bool = False) -> None:
        self._parts = shapes
        self._rows = [len(each.members) for each in shapes]
        self._count = sum(self._rows)
        self._shape_of, self._place_of = array("i", bytes(4 * self._count)), [0] * self._count
        for number, each in enumerate(shapes):
            for place, index in enumerate(each.members):
                self._shape_of[index], self._place_of[index] = number, place
        wanted = [
            (plan.dtype, (rows, *plan.shape))
            for each, rows in zip(shapes, self._rows, strict=True)
            for plan in each.plan.inputs
        ]
        self._shared = SharedArrays(wanted) if shared else None
        arrays = self._shared.arrays if self._shared else [np.empty(s, d) for d, s in wanted]
        dealt = _deal(arrays, len(shapes))
        self._pools = [
            Pool(each.plan, its_arrays, rows)
            for each, its_arrays, rows in zip(shapes, dealt, self._rows, strict=True)
        ]
        self._first_slots = [0, *accumulate(self._rows)]
        self.source = _MixedSource(shapes, self._shape_of, self._place_of)

    def count(self) -> int:
        return self._count

    def resident(self) -> int:
        return self._count

    def shapes(self) -> Sequence[int] | None:
        return self._shape_of

    def nbytes(self) -> int:
        sizes = zip(self._parts, self._rows, strict=True)
        return sum(rows * each.plan.bytes_per_sample for each, rows in sizes)

    def load(self, indices: Sequence[int]) -> None:
        places: list[list[int]] = [[] for _ in self._parts]
        # LoadGen loads the first samples twice for MultiStream, so that a query which wraps
        # around lies side by side; here a query is cut by shape in any case.
        for index in dict.fromkeys(indices):
            places[self._shape_of[index]].append(self._place_of[index])
        for each, pool, its_places in zip(self._parts, self._pools, places, strict=True):
            if its_places:
                each.source.read(its_places, pool.arrays)
            pool.load(its_places)

    def unload(self, indices: Sequence[int]) -> None:
        for pool in self._pools:
            pool.load([])

    def place(self) -> None:
        for pool in self._pools:
            pool.placed = True

    def reader(self, batch_size: int) -> Reader:
        return _MixedReader(self._pools, batch_size, self._locate)

    def slots(self, indices: Sequence[int]) -> Sequence[int]:
        number, places = self._locate(indices)
        first = self._first_slots[number]
        return [first + slot for slot in self._pools[number].slots(places)]

    def share(self) -> SharedSamples:
        assert self._shared is not None
        plans = tuple(each.plan for each in self._parts)
        return _SharedMixed(plans, tuple(self._rows), self._shared.layout)

    def _locate(self, indices: Sequence[int]) -> tuple[int, list[int]]:
        """The shape of these samples, and their places within it."""
        place_of = self._place_of
        return self._shape_of[indices[0]], [place_of[index] for index in indices]


class _MixedReader:
    """Reads batches of one shape each; ``locate`` says which shape, and where within it."""

    def __init__(
        self,
        pools: Sequence[Pool],
        batch_size: int,
        locate: Callable[[Sequence[int]], tuple[int, list[int]]],
    ) -> None:
        self._readers = [PoolReader(pool, batch_size) for pool in pools]
        self._locate = locate

    def batch(self, indices: Sequence[int]) -> Batch:
        number, places = self._locate(indices)
        return self._readers[number].batch(places)


@dataclass(frozen=True, slots=True)
class _SharedMixed:
    """The pools in shared memory, for a process that has yet to open them."""

    plans: tuple[SamplePlan, ...]
    rows: tuple[int, ...]
    layout: SharedLayout

    def reader(self, batch_size: int) -> Reader:
        dealt = _deal(SharedArrays.attach(self.layout), len(self.plans))
        pools = [
            slot_pool(plan, arrays, rows)
            for plan, arrays, rows in zip(self.plans, dealt, self.rows, strict=True)
        ]
        first_slots = [0, *accumulate(self.rows)]

        def locate(slots: Sequence[int]) -> tuple[int, list[int]]:
            number = bisect_right(first_slots, slots[0]) - 1
            return number, [slot - first_slots[number] for slot in slots]

        return _MixedReader(pools, batch_size, locate)


class _MixedSource:
    def __init__(
        self, shapes: Sequence[Shape], shape_of: Sequence[int], place_of: Sequence[int]
    ) -> None:
        self._parts, self._shape_of, self._place_of = shapes, shape_of, place_of

    def expected(self, index: int) -> Sequence[Array] | None:
        return self._of(index).expected(self._place_of[index])

    def label(self, index: int) -> object:
        return self._of(index).label(self._place_of[index])

    def _of(self, index: int) -> Source:
        return self._parts[self._shape_of[index]].source


def _deal(arrays: Sequence[Array], shapes: int) -> list[tuple[Array, ...]]:
    """The arrays of all inputs of one shape after the other, as a tuple for each shape."""
    inputs = len(arrays) // shapes
    return [tuple(arrays[at : at + inputs]) for at in range(0, len(arrays), inputs)]
