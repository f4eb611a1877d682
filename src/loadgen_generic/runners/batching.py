"""Cutting queries into batches, and gathering what waits into one."""

from __future__ import annotations

import collections
import queue
import time
from collections.abc import Iterator, Sequence

__all__ = ["Work", "WorkQueue", "cut"]

Work = tuple[Sequence[int], Sequence[int]]  # ids, sample indices
_SHORTEST_WAIT_SEC = 1e-6


def cut(ids: Sequence[int], indices: Sequence[int], size: int, workers: int) -> Iterator[Work]:
    """Cut a query into batches of ``size``, and what is left at the end into equal shares.

    Without the shares one worker would run the last full batch while the others have nothing
    to do: on a slow model a good part of a test.
    """
    total = len(ids)
    rest = total % (size * workers) if total > size * workers else total
    at = 0
    while at < total - rest:
        yield ids[at : at + size], indices[at : at + size]
        at += size
    for left in range(min(workers, rest), 0, -1):
        end = at + -(-(total - at) // left)
        yield ids[at:end], indices[at:end]
        at = end


class WorkQueue:
    """What waits to be answered; several workers take from it.

    Args:
        batch_size: most samples that :meth:`take` joins.
        batch_timeout_sec: how long to wait for a batch to fill; 0 takes what is there.
    """

    def __init__(self, batch_size: int, batch_timeout_sec: float) -> None:
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._left_over: collections.deque[Work] = collections.deque()
        self._size = batch_size
        self._timeout = batch_timeout_sec
        self.put = self._queue.put

    def take(self) -> Work | None:
        """The next batch; None when the queue is closed for this worker."""
        work = self._next_left_over() or self._queue.get()
        if work is None or len(work[0]) >= self._size:
            return work
        if not self._timeout and self._queue.empty():
            return work
        return self._join(work)

    def _next_left_over(self) -> Work | None:
        try:
            return self._left_over.popleft() if self._left_over else None
        except IndexError:  # another worker was faster
            return None

    def _join(self, work: Work) -> Work:
        ids, indices = list(work[0]), list(work[1])
        deadline = time.perf_counter() + self._timeout if self._timeout else 0.0
        while (room := self._size - len(ids)) > 0:
            try:
                if not deadline:
                    more = self._queue.get_nowait()
                else:
                    left = deadline - time.perf_counter()
                    more = self._queue.get(timeout=max(left, _SHORTEST_WAIT_SEC))
            except queue.Empty:
                break
            if more is None:  # this worker's, or another's, sign to end: it stays the last
                self._queue.put(None)
                break
            ids += more[0][:room]
            indices += more[1][:room]
            if len(more[0]) > room:
                self._left_over.append((more[0][room:], more[1][room:]))
        return ids, indices
