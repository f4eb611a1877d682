"""Keeping samples of different shapes apart: only their like can share a batch."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from loadgen_generic.runners.batching import Work, cut

__all__ = ["ShapedWorkQueue", "by_shape"]


def by_shape(ids: Sequence[int], indices: Sequence[int], shapes: Sequence[int]) -> Iterator[Work]:
    """Cut a query by the shape of its samples; within a shape they stay in order.

    Args:
        shapes: number of the shape of each sample, by index.
    """
    if len(ids) == 1:
        yield ids, indices
        return
    of_each = np.asarray(shapes)[np.asarray(indices, np.intp)]
    order = np.argsort(of_each, kind="stable")
    borders = np.flatnonzero(np.diff(of_each[order])) + 1
    for positions in np.split(order, borders):
        chosen = positions.tolist()
        yield [ids[at] for at in chosen], [indices[at] for at in chosen]


class ShapedWorkQueue:
    """What waits to be answered, by shape; several workers take from it.

    As :class:`WorkQueue`, for samples of several shapes. The shapes take turns: one that has
    been served goes to the end of the row, so none waits for ever.

    Args:
        shapes: number of the shape of each sample, by index.
    """

    def __init__(
        self, batch_size: int, batch_timeout_sec: float, workers: int, shapes: Sequence[int]
    ) -> None:
        self._size, self._timeout, self._workers = batch_size, batch_timeout_sec, workers
        self._shapes = shapes
        self._waiting: dict[int, collections.deque[Work]] = {}  # in the order of their turns
        self._to_close = 0
        self._begun: tuple[int, list[int], list[int]] | None = None
        self.due = 0.0
        self._changed = threading.Condition()

    def put(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        """Hand a query over, in batches of one shape."""
        groups = list(by_shape(ids, indices, self._shapes))
        with self._changed:
            for number, (its_ids, its_indices) in enumerate(groups, 1):
                # Shares for every worker only at the very end: elsewhere there is more to do.
                workers = self._workers if number == len(groups) else 1
                row = self._waiting.setdefault(self._shapes[its_indices[0]], collections.deque())
                for first, end in cut(len(its_ids), self._size, workers):
                    row.append((its_ids[first:end], its_indices[first:end]))
            self._changed.notify_all()

    def close(self) -> None:
        """End the work of one worker, once what was put before is done."""
        with self._changed:
            self._to_close += 1
            self._changed.notify_all()

    def take(self) -> Work | None:
        """The next batch; None when the queue is closed for this worker."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._to_close)
            if not self._waiting:
                self._to_close -= 1
                return None
            shape = next(iter(self._waiting))
            row = self._waiting.pop(shape)
            ids, indices = row.popleft()
            if len(ids) < self._size:
                ids, indices = list(ids), list(indices)
                self._join(ids, indices, row)
                if self._timeout:
                    row = self._wait_for_more(ids, indices, row, shape)
            if row:
                self._waiting[shape] = row
            return ids, indices

    def take_now(self) -> Work | None:
        """As that of :class:`WorkQueue`."""
        with self._changed:
            if self._begun is None:
                if not self._waiting:
                    return None
                shape = next(iter(self._waiting))
                self._begun = shape, [], []
                self.due = time.perf_counter() + self._timeout
            shape, ids, indices = self._begun
            row = self._waiting.pop(shape, collections.deque())
            self._join(ids, indices, row)
            if row:
                self._waiting[shape] = row
            if len(ids) < self._size and time.perf_counter() < self.due:
                return None
            self._begun, self.due = None, 0.0
            return ids, indices

    def _join(self, ids: list[int], indices: list[int], row: collections.deque[Work]) -> None:
        while row and len(ids) < self._size:
            more_ids, more_indices = row.popleft()
            fits = self._size - len(ids)
            ids += more_ids[:fits]
            indices += more_indices[:fits]
            if fits < len(more_ids):
                row.appendleft((more_ids[fits:], more_indices[fits:]))

    def _wait_for_more(
        self, ids: list[int], indices: list[int], row: collections.deque[Work], shape: int
    ) -> collections.deque[Work]:
        deadline = time.perf_counter() + self._timeout
        while len(ids) < self._size and not self._to_close:
            left = deadline - time.perf_counter()
            if left <= 0 or not self._changed.wait_for(
                lambda: shape in self._waiting or bool(self._to_close), left
            ):
                break
            row = self._waiting.pop(shape, row)
            self._join(ids, indices, row)
        return row
