"""A bounded number of requests under way at once, sent and completed by one thread.

For backends that only wait for others. A thread for each request would cost the interpreter more
than the requests do, most where they are large; and a thread for what is sent beside one for what is
answered costs it a change of threads more for each, most where they are small.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from loadgen_generic.runners.batching import Work, WorkQueue
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.runners.shapes import ShapedWorkQueue
from loadgen_generic.seams import Complete, Sender

__all__ = ["InFlightRunner"]

_Ended = tuple[int, Sequence[int], BaseException | None]  # worker, ids, what went wrong
_WORK, _CLOSE = "work", "close"


class InFlightRunner:
    """Each worker is room for one request; whoever is free takes the next batch.

    One worker warms up for all: it has whoever answers for them answer.
    """

    def __init__(self, setup: RunnerSetup) -> None:
        shapes, slots = setup.samples.shapes(), setup.workers * setup.in_flight
        how = setup.batch_size, setup.batch_timeout_sec, slots
        self._queue = WorkQueue(*how) if shapes is None else ShapedWorkQueue(*how, shapes)
        self._workers = [cast(Sender, setup.shared_worker(number)) for number in range(slots)]
        self._reader = setup.reader()
        # Whoever was free the longest is the next, so that work is spread where it is little.
        self._free = deque(range(slots))
        self._events: queue.SimpleQueue[_Ended | str] = queue.SimpleQueue()
        self._completes: list[Complete] = []
        self._thread: threading.Thread | None = None
        self._lost = False
        for batch in setup.warm_up_batches(self._reader):
            self._workers[0].everywhere(batch)
            setup.beat()

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._completes = [make_complete() for _ in self._workers]
        self._fail = fail
        self._lost = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="inflight", daemon=True)
            self._thread.start()

    def enter(self) -> None:
        pass

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        if len(ids) > 1:  # the first batches leave while the others are cut
            self._events.put(_WORK)
        self._queue.put(ids, indices)
        self._events.put(_WORK)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if self._thread is None:
            return
        self._events.put(_CLOSE)
        # What is under way ends by its own time-out at the latest.
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        """In a thread that stays: LoadGen keeps a log for each that completes samples, and crashes
        over those of threads that are gone, as gRPC's are when nothing is under way."""
        closing, busy = False, False
        while not closing or busy or self._queue.due or len(self._free) < len(self._workers):
            # All answers that are there come before the next batch: where this thread is the limit,
            # what arrives meanwhile makes batches larger instead of more of them.
            event = self._next_event(wait=not busy)
            if event is None:
                busy = self._send_one()
            elif isinstance(event, tuple):
                self._complete(*event)
                busy = True
            else:
                closing = closing or event == _CLOSE
                busy = True

    def _next_event(self, wait: bool) -> _Ended | str | None:
        """None where there is none now, or where a batch has waited to fill for long enough."""
        left = self._queue.due - time.perf_counter() if self._queue.due else None
        try:
            if not wait or (left is not None and left <= 0):
                return self._events.get_nowait()
            return self._events.get(timeout=left)
        except queue.Empty:
            return None

    def _send_one(self) -> bool:
        """Send the next batch, if there is one and room for it."""
        # Room first: what comes in while there is none can share a batch.
        work = self._queue.take_now() if self._free else None
        if work is not None and not self._lost:
            self._send(self._free.popleft(), work)
        return work is not None

    def _send(self, number: int, work: Work) -> None:
        ids, indices = work
        try:
            # The request is encoded before this returns, so the reader may go on.
            self._workers[number].send(
                self._reader.batch(indices), partial(self._answered, number, ids)
            )
        except BaseException as error:  # noqa: BLE001 - nobody above would see it
            self._give_up(error)
            self._free.append(number)

    def _answered(self, number: int, ids: Sequence[int], error: BaseException | None) -> None:
        self._events.put((number, ids, error))

    def _complete(self, number: int, ids: Sequence[int], error: BaseException | None) -> None:
        try:
            if error is not None:
                raise error
            self._completes[number](ids, self._workers[number].outputs)
        except BaseException as failure:  # noqa: BLE001 - nobody above would see it
            self._give_up(failure)
        self._free.append(number)

    def _give_up(self, error: BaseException) -> None:
        self._lost = True
        self._fail(error)
