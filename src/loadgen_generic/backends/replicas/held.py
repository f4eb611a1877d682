"""Loaded samples on a node, in memory that its replicas share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array

__all__ = ["HeldPool"]


class HeldPool:
    """A pool of samples as it was sent, read by slot.

    Args:
        arrays: one per input, shape (slots, *sample); they may not be writable.
        batched: whether the model's inputs have a batch dimension.
    """

    def __init__(self, arrays: Sequence[Array], batched: bool) -> None:
        self._arrays, self._batched = arrays, batched
        # Kept, since the backend keeps its own form of the arrays with a batch.
        self._views: dict[tuple[int, int, int], Batch] = {}

    def batch(self, count: int, slots: Sequence[int]) -> Batch:
        """The samples in these slots, of which ``count`` were asked for; a view where they lie side
        by side."""
        if not self._batched:
            return self._view(count, slots[0], 1)
        if isinstance(slots, range):
            return self._view(count, slots[0], len(slots))
        return Batch(count, tuple(np.take(each, slots, axis=0) for each in self._arrays))

    def _view(self, count: int, first: int, rows: int) -> Batch:
        found = self._views.get((first, rows, count))
        if found is None:
            if self._batched:
                arrays = tuple(each[first : first + rows] for each in self._arrays)
            else:
                arrays = tuple(each[first, ...] for each in self._arrays)
            found = self._views[first, rows, count] = Batch(count, arrays)
        return found
