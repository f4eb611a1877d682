"""A bounded number of requests under way at once, sent by one thread and completed by another.

For backends that only wait for others. A thread for each request would cost the interpreter more
than the requests do, most where they are large.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from loadgen_generic.runners.batching import WorkQueue
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.runners.shapes import ShapedWorkQueue
from loadgen_generic.seams import Complete, Sender

__all__ = ["InFlightRunner"]

_Ended = tuple[int, Sequence[int], BaseException | None]  # worker, ids, what went wrong


class InFlightRunner:
    """Each worker is room for one request; whoever is free takes the next batch.

    One worker warms up for all: what they share is what is slow at first.
    """

    def __init__(self, setup: RunnerSetup) -> None:
        shapes = setup.samples.shapes()
        how = setup.batch_size, setup.batch_timeout_sec, setup.workers
        self._queue = WorkQueue(*how) if shapes is None else ShapedWorkQueue(*how, shapes)
        self._workers = [
            cast(Sender, setup.shared_worker(number)) for number in range(setup.workers)
        ]
        self._reader = setup.reader()
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(setup.workers):
            self._free.put(number)
        self._ended: queue.SimpleQueue[_Ended | None] = queue.SimpleQueue()
        self._completes: list[Complete] = []
        self._threads: list[threading.Thread] = []
        self._lost = False
        setup.warm_up(self._workers[0], self._reader)

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._completes = [make_complete() for _ in self._workers]
        self._fail = fail
        self._lost = False
        if not self._threads:
            for work in (self._dispatch, self._complete):
                self._threads.append(threading.Thread(target=work, name="inflight", daemon=True))
                self._threads[-1].start()

    def enter(self) -> None:
        pass

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        self._queue.put(ids, indices)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self._threads:
            return
        dispatcher, completer = self._threads
        self._queue.close()
        dispatcher.join()
        # What is under way ends by its own time-out at the latest.
        for number in [self._free.get() for _ in self._workers]:
            self._free.put(number)
        self._ended.put(None)
        completer.join()
        self._threads = []

    def _dispatch(self) -> None:
        take, batch = self._queue.take, self._reader.batch
        while True:
            # Room first: what comes in while there is none can share a batch.
            number = self._free.get()
            work = take()
            if work is None:
                self._free.put(number)
                return
            if self._lost:
                self._free.put(number)
                continue
            ids, indices = work
            try:
                # The request is encoded before this returns, so the reader may go on.
                self._workers[number].send(batch(indices), partial(self._answered, number, ids))
            except BaseException as error:  # noqa: BLE001 - nobody above would see it
                self._give_up(error)
                self._free.put(number)

    def _answered(self, number: int, ids: Sequence[int], error: BaseException | None) -> None:
        self._ended.put((number, ids, error))

    def _complete(self) -> None:
        """In a thread that stays: LoadGen keeps a log for each that completes samples, and crashes
        over those of threads that are gone, as gRPC's are when nothing is under way."""
        while (ended := self._ended.get()) is not None:
            number, ids, error = ended
            try:
                if error is not None:
                    raise error
                self._completes[number](ids, self._workers[number].outputs)
            except BaseException as failure:  # noqa: BLE001 - nobody above would see it
                self._give_up(failure)
            self._free.put(number)

    def _give_up(self, error: BaseException) -> None:
        self._lost = True
        self._fail(error)
