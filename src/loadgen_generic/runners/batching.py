"""Cutting queries into batches, and gathering what waits into one."""

from __future__ import annotations

import collections
import queue
import time
from collections.abc import Iterator, Sequence

__all__ = ["Work", "WorkQueue", "cut"]

Work = tuple[Sequence[int], Sequence[int]]  # ids, sample indices
_Share = tuple[Sequence[int], Sequence[int], int, int]  # of a query: ids, indices, from, to
_SHORTEST_WAIT_SEC = 1e-6


def cut(total: int, size: int, workers: int) -> Iterator[tuple[int, int]]:
    """Cut a query of ``total`` samples into batches of ``size``, and what is left at the end
    into equal shares; gives where each begins and ends.

    Without the shares one worker would run the last full batch while the others have nothing
    to do: on a slow model a good part of a test.
    """
    rest = total % (size * workers) if total > size * workers else total
    at = 0
    while at < total - rest:
        yield at, at + size
        at += size
    for left in range(min(workers, rest), 0, -1):
        end = at + -(-(total - at) // left)
        yield at, end
        at = end


class WorkQueue:
    """What waits to be answered; several workers take from it.

    Args:
        batch_size: most samples that :meth:`take` joins.
        batch_timeout_sec: how long to wait for a batch to fill; 0 takes what is there.
        workers: how many take from it.

    Attributes:
        due: when a batch that :meth:`take_now` began goes as it is, by ``time.perf_counter()``; 0
            where none waits.
    """

    def __init__(self, batch_size: int, batch_timeout_sec: float, workers: int) -> None:
        self._queue: queue.SimpleQueue[_Share | None] = queue.SimpleQueue()
        self._left_over: collections.deque[_Share] = collections.deque()
        self._size = batch_size
        self._timeout = batch_timeout_sec
        self._workers = workers
        self._begun: tuple[list[int], list[int], _Share | None] | None = None
        self.due = 0.0

    def put(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        """Hand a query over, in batches."""
        if len(ids) == 1:
            self._queue.put((ids, indices, 0, 1))
            return
        # The lists are sliced where the slices are used: for millions of samples, fetching
        # every number from memory twice costs more than all the rest of the dispatch.
        for first, end in cut(len(ids), self._size, self._workers):
            self._queue.put((ids, indices, first, end))

    def close(self) -> None:
        """End the work of one worker, once what was put before is done."""
        self._queue.put(None)

    def take(self) -> Work | None:
        """The next batch; None when the queue is closed for this worker."""
        share = self._next_left_over() or self._queue.get()
        if share is None:
            return None
        ids, indices, first, end = share
        if end - first < self._size and (self._timeout or not self._queue.empty()):
            return self._join(share)
        if end - first == len(ids):
            return ids, indices
        return ids[first:end], indices[first:end]

    def take_now(self) -> Work | None:
        """As :meth:`take`, for the only one who takes: None where nothing waits, or where a batch
        waits to fill, see :attr:`due`. It knows no end."""
        if self._begun is None:
            share = self._next_left_over() or self._get_nowait()
            if share is None:
                return None
            ids, indices, first, end = share
            if end - first == self._size or (not self._timeout and self._queue.empty()):
                return ids[first:end], indices[first:end]
            self._begun = [], [], share
            self.due = time.perf_counter() + self._timeout
        ids, indices, first_share = self._begun
        more = first_share or self._get_nowait()
        while more is not None:
            self._add(ids, indices, more)
            more = self._get_nowait() if len(ids) < self._size else None
        if len(ids) < self._size and time.perf_counter() < self.due:
            self._begun = ids, indices, None
            return None
        self._begun, self.due = None, 0.0
        return ids, indices

    def _get_nowait(self) -> _Share | None:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def _add(self, ids: list[int], indices: list[int], share: _Share) -> None:
        """As much of a share as fits into a batch; the rest is left over."""
        its_ids, its_indices, first, end = share
        fits = min(end, first + self._size - len(ids))
        ids += its_ids[first:fits]
        indices += its_indices[first:fits]
        if fits < end:
            self._left_over.append((its_ids, its_indices, fits, end))

    def _next_left_over(self) -> _Share | None:
        try:
            return self._left_over.popleft() if self._left_over else None
        except IndexError:  # another worker was faster
            return None

    def _join(self, share: _Share) -> Work:
        ids: list[int] = []
        indices: list[int] = []
        deadline = time.perf_counter() + self._timeout if self._timeout else 0.0
        more: _Share | None = share
        while more is not None:
            self._add(ids, indices, more)
            if len(ids) == self._size:
                break
            more = self._next(deadline)
        return ids, indices

    def _next(self, deadline: float) -> _Share | None:
        """What else waits; None if there is nothing in time."""
        try:
            if not deadline:
                more = self._queue.get_nowait()
            else:
                left = deadline - time.perf_counter()
                more = self._queue.get(timeout=max(left, _SHORTEST_WAIT_SEC))
        except queue.Empty:
            return None
        if more is None:  # this worker's, or another's, sign to end: it stays the last
            self._queue.put(None)
        return more
