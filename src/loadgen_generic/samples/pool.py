"""Loaded samples in memory, and how workers read them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakMethod

import numpy as np

from loadgen_generic.placed import PlacedBatch
from loadgen_generic.samples.shared import SharedArrays, SharedLayout
from loadgen_generic.seams import Batch, Reader
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["COPY_BYTES", "Pool", "PoolReader", "SharedPool", "slot_pool"]

# Up to here it is cheaper to copy a batch to where the backend looks already than to have the
# backend look elsewhere (measured: 0.4 against 0.8 to 2 us for 256 bytes).
COPY_BYTES = 32 << 10


class Pool:
    """One contiguous array per input, samples in the order they were loaded.

    LoadGen issues Offline and MultiStream samples in loaded order, so their batches lie side by
    side. It loads the first samples once more at the end for MultiStream, so that this holds
    for a query which wraps around as well; a query begins at the first occurrence of its first
    sample. The memory stays the same from load to load: readers may keep references to it.

    Args:
        plan: what one sample is.
        arrays: one per input, shape (slots, *sample).

    Attributes:
        sources: the arrays as bytes.
        loaded: sample indices, by slot.
        slot_of: first slot of a sample, by index.
        placed: whether readers only say where samples lie.
    """

    def __init__(self, plan: SamplePlan, arrays: tuple[Array, ...], count: int) -> None:
        self.plan = plan
        self.arrays = arrays
        self.sources = [values.reshape(-1).view(np.uint8).data for values in arrays]
        self.slot_of = array("q", bytes(8 * count))
        self.loaded: list[int] = []
        self.placed = False
        self._views: dict[tuple[int, int], Batch] = {}
        self._watchers: list[WeakMethod[Callable[[int], None]]] = []

    @property
    def batched(self) -> bool:
        return self.plan.batched

    def watch(self, loaded: Callable[[int], None]) -> None:
        self._watchers.append(WeakMethod(loaded))

    def load(self, indices: Sequence[int]) -> None:
        """Say which samples now lie in the arrays, in order of slot."""
        self.loaded = list(indices)
        slots = np.frombuffer(self.slot_of, np.int64)
        # Backwards, so that the first occurrence of a sample is the one that stays.
        slots[self.loaded[::-1]] = np.arange(len(self.loaded) - 1, -1, -1)
        for watcher in self._watchers:
            if self.loaded and (told := watcher()) is not None:
                told(len(self.loaded))

    def first_slot(self, indices: Sequence[int]) -> int:
        """The slot of the first sample if the others follow it, else -1."""
        first = self.slot_of[indices[0]]
        count = len(indices)
        if count > 1 and self.loaded[first : first + count] != indices:
            return -1
        return first

    def slots(self, indices: Sequence[int]) -> list[int]:
        return [self.slot_of[index] for index in indices]

    def view(self, first: int, rows: int, count: int) -> Batch:
        """``rows`` samples from slot ``first`` on, of which ``count`` were asked for."""
        found = self._views.get((first, count))
        if found is None:
            if self.plan.batched:
                arrays = tuple(array[first : first + rows] for array in self.arrays)
            else:
                arrays = tuple(array[first, ...] for array in self.arrays)
            found = self._views[first, count] = Batch(count, arrays)
        return found


class PoolReader:
    """Reads batches of up to ``batch_size`` samples from a pool.

    Small batches are copied to one place, large ones that lie side by side are views, and the
    others are gathered. Where the model's batch dimension is fixed, every batch has that many
    rows; those that were not asked for are padding: leftovers in a copy, neighbours in a view.
    """

    def __init__(self, pool: Pool, batch_size: int) -> None:
        plan = pool.plan
        self._pool = pool
        self._fixed = plan.fixed_batch
        self._capacity = self._fixed or batch_size
        fits = COPY_BYTES // max(plan.bytes_per_sample, 1)
        self._small = min(self._capacity, fits) if self._fixed <= fits else 0
        self._staging: tuple[Array, ...] = ()
        self._staged: dict[int, tuple[Batch, list[tuple[memoryview, int]]]] = {}
        alone = self._capacity == 1 and self._small and len(pool.sources) == 1
        self.batch: Callable[[Sequence[int]], Batch]
        if pool.placed:
            self.batch = self._place
        else:
            self.batch = self._single() if alone else self._batch

    def _place(self, indices: Sequence[int]) -> Batch:
        pool, count = self._pool, len(indices)
        rows = self._fixed or count
        first = pool.first_slot(indices)
        if first >= 0 and first + rows <= len(pool.loaded):
            return PlacedBatch(count, pool, range(first, first + rows))
        slots = pool.slots(indices)
        return PlacedBatch(count, pool, slots + slots[-1:] * (rows - count))

    def _batch(self, indices: Sequence[int]) -> Batch:
        pool, count = self._pool, len(indices)
        first = pool.first_slot(indices)
        if first >= 0 and count <= self._small:
            batch, targets = self._staged.get(count) or self._stage(count)
            for source, (target, size) in zip(pool.sources, targets):  # noqa: B905 - hot
                at = first * size
                target[:] = source[at : at + count * size]
            return batch
        rows = self._fixed or count
        if first >= 0 and first + rows <= len(pool.loaded):
            return pool.view(first, rows, count)
        return self._gather(pool.slots(indices))

    def _single(self) -> Callable[[Sequence[int]], Batch]:
        """``batch`` for one small sample of one input: what a SingleStream query of a tiny
        model spends outside the model is spent mostly here."""
        batch, ((target, size),) = self._stage(1)
        slot_of, (source,) = self._pool.slot_of, self._pool.sources

        def single(indices: Sequence[int]) -> Batch:
            at = slot_of[indices[0]] * size
            target[:] = source[at : at + size]
            return batch

        return single

    def _gather(self, slots: list[int]) -> Batch:
        count = len(slots)
        batch, _ = self._staged.get(count) or self._stage(count)
        for staging, values in zip(self._staging, self._pool.arrays, strict=True):
            # mode: the default checks bounds by way of a second buffer.
            np.take(values, slots, axis=0, out=staging[:count], mode="clip")
        return batch

    def _stage(self, count: int) -> tuple[Batch, list[tuple[memoryview, int]]]:
        """A place for ``count`` samples: what the backend sees, and where to copy to."""
        plan = self._pool.plan
        if not self._staging:
            self._staging = tuple(
                np.zeros((self._capacity, *each.shape), each.dtype) for each in plan.inputs
            )
        rows = self._fixed or count
        if plan.batched:
            arrays = tuple(staging[:rows] for staging in self._staging)
        else:
            arrays = tuple(staging[0, ...] for staging in self._staging)
        targets = [
            (staging[:count].reshape(-1).view(np.uint8).data, each.nbytes)
            for staging, each in zip(self._staging, plan.inputs, strict=True)
        ]
        staged = self._staged[count] = Batch(count, arrays), targets
        return staged


@dataclass(frozen=True, slots=True)
class SharedPool:
    """A pool in shared memory, for a process that has yet to open it."""

    plan: SamplePlan
    layout: SharedLayout
    rows: int

    def reader(self, batch_size: int) -> Reader:
        return PoolReader(
            slot_pool(self.plan, SharedArrays.attach(self.layout), self.rows), batch_size
        )


def slot_pool(plan: SamplePlan, arrays: tuple[Array, ...], rows: int) -> Pool:
    """A pool whose indices are slots, whatever samples are loaded into them."""
    pool = Pool(plan, arrays, rows)
    pool.load(range(rows))
    return pool
