"""Requests under way: each sample is answered once, whoever is slow, and no more are sent than may be."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import Recorder

from loadgen_generic.errors import RunError
from loadgen_generic.runners.batching import WorkQueue
from loadgen_generic.runners.inflight import InFlightRunner
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.runners.shapes import ShapedWorkQueue
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Batch, Worker
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

POOL = 12
PLAN = SamplePlan((InputPlan("x", np.dtype(np.float32), (2,)),), batched=True)


@dataclass
class Elsewhere:
    """Answers on a thread of its own, in the order in which it was asked or in the opposite one.

    Attributes:
        most: requests that were under way at once.
        warmed: batches that everybody answered.
    """

    backwards: bool = False
    fail_at: int = 0
    asked: queue.SimpleQueue[Callable[[], None]] = field(default_factory=queue.SimpleQueue)
    under_way: int = 0
    most: int = 0
    sizes: list[int] = field(default_factory=list)
    warmed: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def worker(self) -> Worker:
        return Asker(self)

    def took(self, size: int) -> int:
        with self._lock:
            self.sizes.append(size)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            return len(self.sizes)

    def gave(self) -> None:
        with self._lock:
            self.under_way -= 1

    def _work(self) -> None:
        while True:
            waiting = [self.asked.get()]
            while not self.asked.empty():
                waiting.append(self.asked.get())
            for answer in reversed(waiting) if self.backwards else waiting:
                answer()


class Asker:
    def __init__(self, place: Elsewhere) -> None:
        self._place = place
        self._answer: list[Array] = []

    def infer(self, batch: Batch) -> None:
        raise AssertionError("nobody waits")

    def everywhere(self, batch: Batch) -> None:
        self._place.warmed += 1

    def send(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        number = self._place.took(batch.count)
        values = batch.arrays[0].copy()  # they may change once this returns

        def answer() -> None:
            self._answer = [values.sum(axis=1)]
            self._place.gave()
            done(RunError("it broke") if number == self._place.fail_at else None)

        self._place.asked.put(answer)

    def outputs(self) -> Sequence[Array]:
        return self._answer


def build(place: Any, batch_size: int, **options: Any) -> tuple[InFlightRunner, SyntheticSamples]:
    samples = SyntheticSamples(PLAN, POOL, seed=3)
    samples.load(range(POOL))
    setup = RunnerSetup(
        runner="inflight",
        batch_size=batch_size,
        pin=False,
        make_backends=[],
        backends=[place],
        samples=samples,
        beat=lambda: None,
        **{"workers": 2, "batch_timeout_sec": 0, "warmup_queries": 0, **options},
    )
    return InFlightRunner(setup), samples


QUERIES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    queries=QUERIES,
    batch_size=st.integers(1, 5),
    workers=st.integers(1, 3),
    in_flight=st.integers(1, 3),
    timeout=st.sampled_from([0, 1e-4]),
    backwards=st.booleans(),
)
def test_each_sample_is_answered_once(
    queries: list[int],
    batch_size: int,
    workers: int,
    in_flight: int,
    timeout: float,
    backwards: bool,
) -> None:
    place = Elsewhere(backwards)
    runner, samples = build(
        place,
        batch_size,
        workers=workers,
        in_flight=in_flight,
        batch_timeout_sec=timeout,
        warmup_queries=2,
    )
    assert place.warmed == 2
    recorder = Recorder()
    runner.start(recorder.make_complete, recorder.fail)
    first = 0
    for size in queries:
        ids = list(range(first, first + size))
        runner.issue(ids, [each % POOL for each in ids])
        first += size
    runner.flush()
    recorder.wait(first)
    runner.close()
    assert not recorder.errors
    expected = samples.pool.arrays[0].sum(axis=1)
    assert sorted(identity for identity, _ in recorder.answers) == list(range(first))
    for identity, (answer,) in recorder.answers:
        np.testing.assert_allclose(answer, expected[identity % POOL], rtol=1e-6)
    assert place.most <= workers * in_flight
    assert max(place.sizes) <= batch_size


def test_a_batch_that_fills_does_not_wait_for_its_time() -> None:
    place = Elsewhere()
    runner, _ = build(place, 4, batch_timeout_sec=3600)
    recorder = Recorder()
    runner.start(recorder.make_complete, recorder.fail)
    for identity in range(8):
        runner.issue([identity], [identity])
    recorder.wait(8)
    assert place.sizes == [4, 4]
    runner.close()


def test_the_first_error_is_told_and_the_rest_is_dropped() -> None:
    place = Elsewhere(fail_at=3)
    runner, _ = build(place, 1)
    recorder = Recorder()
    runner.start(recorder.make_complete, recorder.fail)
    runner.issue(list(range(200)), [0] * 200)
    recorder.wait(200)
    assert str(recorder.errors[0]) == "it broke"
    runner.close()
    assert len(place.sizes) < 200


def batches(waiting: WorkQueue | ShapedWorkQueue) -> Iterator[list[int]]:
    while (work := waiting.take_now()) is not None:
        ids, indices = work
        assert list(indices) == [each % POOL for each in ids]
        yield list(ids)


@given(queries=QUERIES, batch_size=st.integers(1, 5), shapes=st.booleans())
def test_what_is_there_now_is_taken(queries: list[int], batch_size: int, shapes: bool) -> None:
    shape_of = [each % 3 for each in range(POOL)]
    waiting = ShapedWorkQueue(batch_size, 0, 1, shape_of) if shapes else WorkQueue(batch_size, 0, 1)
    first = 0
    for size in queries:
        ids = list(range(first, first + size))
        waiting.put(ids, [each % POOL for each in ids])
        first += size
    found = list(batches(waiting))
    assert sorted(each for batch in found for each in batch) == list(range(first))
    assert all(1 <= len(batch) <= batch_size for batch in found)
    if shapes:
        assert all(len({shape_of[each % POOL] for each in batch}) == 1 for batch in found)
    else:
        assert [each for batch in found for each in batch] == list(range(first))
        assert all(len(batch) == batch_size for batch in found[:-1])
    assert waiting.due == 0


@pytest.mark.parametrize("shapes", [False, True])
def test_a_batch_that_waits_to_fill_says_until_when(shapes: bool) -> None:
    waiting = ShapedWorkQueue(3, 3600, 1, [0] * POOL) if shapes else WorkQueue(3, 3600, 1)
    waiting.put([0], [0])
    assert waiting.take_now() is None
    due = waiting.due
    assert due > 0
    waiting.put([1], [1])
    assert waiting.take_now() is None
    assert waiting.due == due, "it waits from its first sample on"
    waiting.put([2, 3], [2, 3])
    assert list(batches(waiting)) == [[0, 1, 2]]
