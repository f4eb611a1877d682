"""Workers behind a bounded queue; without a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from loadgen_generic.elements import ELEMENTS
from loadgen_generic.seams import Batch
from loadgen_generic.serving.workers import FailedError, FullError, Workers
from loadgen_generic.tensors import Array, TensorSpec

FLOAT = "tensor(float)"
WANTED = {0: TensorSpec("y", FLOAT, ELEMENTS[FLOAT].dtype, ("N",))}
_PATIENCE_SEC = 30.0


class Doubles:
    """Answers into one buffer, when it is let go."""

    def __init__(self, go: threading.Event, begun: threading.Semaphore) -> None:
        self._go, self._begun = go, begun
        self._buffer = np.zeros(1, np.float32)
        self.threads: set[int] = set()

    def infer(self, batch: Batch) -> None:
        self.threads.add(threading.get_ident())
        self._begun.release()
        assert self._go.wait(_PATIENCE_SEC)
        if batch.arrays[0][0] < 0:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : a negative number")
        np.multiply(batch.arrays[0], 2, out=self._buffer)

    def outputs(self) -> Sequence[Array]:
        return [self._buffer]


def batch(value: float) -> Batch:
    return Batch(1, (np.array([value], np.float32),))


def test_each_request_gets_its_own_answer_and_each_worker_one_thread() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)
    go.set()
    each = [Doubles(go, begun) for _ in range(3)]
    workers = Workers(each)

    async def ask() -> list[float]:
        answers = await asyncio.gather(*(workers.answer(batch(n), WANTED) for n in range(50)))
        assert all(answer.compute_ns > 0 and answer.queue_ns > 0 for answer in answers)
        return [float(answer.outputs[0][0]) for answer in answers]

    assert asyncio.run(ask()) == [2.0 * n for n in range(50)]
    workers.close()
    threads = [worker.threads for worker in each if worker.threads]
    assert all(len(own) == 1 for own in threads)
    assert len(set.union(*threads)) == len(threads)


def test_all_workers_are_busy_at_once_and_the_queue_has_an_end() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)
    workers = Workers([Doubles(go, begun) for _ in range(2)], most_waiting=3)

    async def ask() -> None:
        under_way = [asyncio.ensure_future(workers.answer(batch(n), WANTED)) for n in range(5)]
        for _ in range(2):
            await asyncio.to_thread(begun.acquire, timeout=_PATIENCE_SEC)
        try:
            with pytest.raises(FullError, match="5 requests are under way"):
                await workers.answer(batch(5), WANTED)
        finally:
            go.set()
        assert [float(each.outputs[0][0]) for each in await asyncio.gather(*under_way)] == [
            0, 2, 4, 6, 8,
        ]  # fmt: skip
        await workers.answer(batch(5), WANTED)

    asyncio.run(ask())
    workers.close()


def test_a_failure_is_told_and_leaves_the_worker_at_work() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)
    go.set()
    workers = Workers([Doubles(go, begun)])

    async def ask() -> float:
        with pytest.raises(FailedError, match=r"the inference failed: a negative number$"):
            await workers.answer(batch(-1), WANTED)
        return float((await workers.answer(batch(3), WANTED)).outputs[0][0])

    assert asyncio.run(ask()) == 6
    workers.close()
