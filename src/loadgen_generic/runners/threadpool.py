"""N threads take work from one queue; the session is shared or each worker has its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from loadgen_generic.seams import Complete, SampleLibrary, Worker

__all__ = ["ThreadPoolRunner"]

_Work = tuple[Sequence[int], Sequence[int]]


class ThreadPoolRunner:
    """Args:
    workers: one for each thread.
    samples: where the batches come from.
    batch_size: most samples in one inference.
    """

    def __init__(self, workers: Sequence[Worker], samples: SampleLibrary, batch_size: int) -> None:
        self._workers = workers
        self._batch = samples.batch
        self._batch_size = batch_size
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lost = False

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._lost = False
        self._fail = fail
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(worker, make_complete()),
                name=f"worker-{number}",
                daemon=True,
            )
            for number, worker in enumerate(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        size, put = self._batch_size, self._queue.put
        if len(ids) <= size:
            put((ids, indices))
            return
        for at in range(0, len(ids), size):
            put((ids[at : at + size], indices[at : at + size]))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _serve(self, worker: Worker, complete: Complete) -> None:
        get, batch = self._queue.get, self._batch
        infer, outputs = worker.infer, worker.outputs
        while (work := get()) is not None:
            if self._lost:
                continue
            ids, indices = work
            try:
                infer(batch(indices))
                complete(ids, outputs)
            except BaseException as error:  # noqa: BLE001 - nobody above would see it
                self._lost = True
                self._fail(error)
