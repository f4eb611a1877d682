"""N threads take batches from one queue; they share a session, or each has its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loadgen_generic.runners.batching import WorkQueue
from loadgen_generic.runners.setup import RunnerSetup, cores_of_worker, pin_this_thread
from loadgen_generic.runners.shapes import ShapedWorkQueue
from loadgen_generic.seams import Complete, Reader, Worker

__all__ = ["ReplicatedThreadPoolRunner", "ThreadPoolRunner"]


class ThreadPoolRunner:
    """The workers share one session."""

    def __init__(self, setup: RunnerSetup) -> None:
        self._setup = setup
        self._queue = _queue_of(setup)
        self._threads: list[threading.Thread] = []
        self._completes: list[Complete] = []
        self._on_close: list[Callable[[], None]] = []
        self._broken: BaseException | None = None
        self._lost = False
        self._bring_up()

    def _make_worker(self, number: int) -> tuple[Worker, Reader]:
        return self._setup.shared_worker(number), self._setup.reader()

    def _pin(self, number: int) -> None:
        pin_this_thread(cores_of_worker(number, self._setup.workers))

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._completes = [make_complete() for _ in range(self._setup.workers)]
        self._fail = fail
        self._lost = False
        if not self._threads:
            self._bring_up()

    def _bring_up(self) -> None:
        """Start the workers and wait until each has warmed up."""
        ready = threading.Barrier(self._setup.workers + 1)
        self._threads = [
            threading.Thread(
                target=self._serve, args=(number, ready), name=f"worker-{number}", daemon=True
            )
            for number in range(self._setup.workers)
        ]
        for thread in self._threads:
            thread.start()
        ready.wait()
        if self._broken is not None:
            self.close()  # the workers that did come up
            raise self._broken

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        self._queue.put(ids, indices)

    def enter(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        for _ in self._threads:
            self._queue.close()
        for thread in self._threads:
            thread.join()
        self._threads = []
        while self._on_close:
            self._on_close.pop()()

    def _serve(self, number: int, ready: threading.Barrier) -> None:
        setup = self._setup
        try:
            if setup.pin:
                self._pin(number)
            worker, reader = self._make_worker(number)
            setup.warm_up(worker, reader)
        except BaseException as error:  # noqa: BLE001 - start() raises it
            self._broken = setup.blamed(number, error)
            ready.wait()
            return
        ready.wait()
        take, batch = self._queue.take, reader.batch
        infer, outputs = worker.infer, worker.outputs
        while (work := take()) is not None:
            if self._lost:
                continue
            ids, indices = work
            try:
                infer(batch(indices))
                self._completes[number](ids, outputs)
            except BaseException as error:  # noqa: BLE001 - nobody above would see it
                self._lost = True
                self._fail(setup.blamed(number, error))


def _queue_of(setup: RunnerSetup) -> WorkQueue | ShapedWorkQueue:
    how = setup.batch_size, setup.batch_timeout_sec, setup.workers
    shapes = setup.samples.shapes()
    return WorkQueue(*how) if shapes is None else ShapedWorkQueue(*how, shapes)


class ReplicatedThreadPoolRunner(ThreadPoolRunner):
    """Each worker has a session of its own."""

    def _make_worker(self, number: int) -> tuple[Worker, Reader]:
        return self._setup.replicated_worker(number), self._setup.reader()
