"""Who answers: workers with a thread each, and a bounded queue before them."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from loadgen_generic.errors import plain_words
from loadgen_generic.seams import Batch, Worker
from loadgen_generic.serving.requests import as_sent
from loadgen_generic.tensors import Array, TensorSpec

__all__ = ["MOST_WAITING", "Answer", "FailedError", "FullError", "Workers"]

MOST_WAITING = 1024


class FullError(Exception):
    """Too many requests wait already; the client reads the message."""


class FailedError(Exception):
    """The inference failed; the client reads the message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a batch.

    Attributes:
        outputs: those that were wanted, by position; the caller's own.
        queue_ns: from the request to its worker.
        compute_ns: of the inference itself.
    """

    outputs: Mapping[int, Array]
    queue_ns: int
    compute_ns: int


class Workers:
    """Answers one batch per worker at a time; called from one event loop."""

    def __init__(self, workers: Sequence[Worker], most_waiting: int = MOST_WAITING) -> None:
        self._most = len(workers) + most_waiting
        self._under_way = 0
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in workers:
            self._free.put(worker)
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(len(workers), "worker", self._take_worker)

    def _take_worker(self) -> None:
        """One worker for each thread, for good."""
        self._own.worker = self._free.get_nowait()

    async def answer(self, batch: Batch, wanted: Mapping[int, TensorSpec]) -> Answer:
        """Have a batch answered.

        Args:
            wanted: outputs by position.

        Raises:
            FullError: the queue is full.
            FailedError: the inference failed.
        """
        if self._under_way >= self._most:
            raise FullError(
                f"{self._under_way} requests are under way, which is the most that this server "
                "takes; send fewer at once"
            )
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._infer, batch, wanted, time.perf_counter_ns()
            )
        finally:
            self._under_way -= 1

    def _infer(self, batch: Batch, wanted: Mapping[int, TensorSpec], came: int) -> Answer:
        worker: Worker = self._own.worker
        started = time.perf_counter_ns()
        try:
            worker.infer(batch)
            ended = time.perf_counter_ns()
            outputs = worker.outputs()
        except Exception as error:
            text = plain_words(str(error)) or type(error).__name__
            raise FailedError(f"the inference failed: {text}") from error
        # Here, since the next inference of this worker overwrites them.
        kept = {position: as_sent(outputs[position]) for position in wanted}
        return Answer(kept, started - came, ended - started)

    def close(self) -> None:
        """Begin nothing more; what is under way is not waited for, since it may never end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
