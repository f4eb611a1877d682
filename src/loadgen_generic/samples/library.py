"""The samples that LoadGen's QSL holds: a source, and the part of it that is in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.samples.pool import Pool, PoolReader, SharedPool
from loadgen_generic.samples.shared import SharedArrays
from loadgen_generic.seams import Reader, SharedSamples, Source
from loadgen_generic.tensors import SamplePlan

__all__ = ["Samples"]


class Samples:
    """A source's samples; those that are loaded lie in one contiguous array per input.

    Args:
        plan: what one sample is.
        source: where they come from.
        per_query: samples that LoadGen issues together.
        shared: keep the loaded samples where other processes can read them.
        resident: how many may be in memory at once; 0 for all of them.
    """

    def __init__(
        self,
        plan: SamplePlan,
        source: Source,
        per_query: int = 1,
        shared: bool = False,
        resident: int = 0,
    ) -> None:
        self._plan = plan
        self.source = source
        self._resident = min(resident or source.count(), source.count())
        self._slots = slots = (
            self._resident + per_query - 1
        )  # LoadGen loads the first twice for MultiStream
        self._shared: SharedArrays | None = None
        if shared:
            self._shared = SharedArrays([(p.dtype, (slots, *p.shape)) for p in plan.inputs])
            arrays = self._shared.arrays
        else:
            arrays = tuple(np.empty((slots, *each.shape), each.dtype) for each in plan.inputs)
        self.pool = Pool(plan, arrays, source.count())

    def count(self) -> int:
        return self.source.count()

    def resident(self) -> int:
        return self._resident

    def shapes(self) -> Sequence[int] | None:
        return None

    def nbytes(self) -> int:
        return self._resident * self._plan.bytes_per_sample

    def load(self, indices: Sequence[int]) -> None:
        self.source.read(indices, self.pool.arrays)
        self.pool.load(indices)

    def unload(self, indices: Sequence[int]) -> None:
        self.pool.load([])

    def place(self) -> None:
        self.pool.placed = True

    def reader(self, batch_size: int) -> Reader:
        return PoolReader(self.pool, batch_size)

    def slots(self, indices: Sequence[int]) -> Sequence[int]:
        first = self.pool.first_slot(indices)
        return range(first, first + len(indices)) if first >= 0 else self.pool.slots(indices)

    def share(self) -> SharedSamples:
        assert self._shared is not None
        return SharedPool(self._plan, self._shared.layout, self._slots)
