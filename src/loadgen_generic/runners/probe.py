"""A short timed probe of a runner, from which the size of the LoadGen test follows."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, islice

from loadgen_generic.config import ONE_AT_A_TIME
from loadgen_generic.runners.layout import Layout
from loadgen_generic.seams import Complete, Estimate, Runner, SampleLibrary
from loadgen_generic.tensors import Array

__all__ = ["PROBE_SEC", "measure_burst", "measure_stream", "probe"]

PROBE_SEC = 0.6
_SLICES = 3
# What completing a sample costs in LoadGen, with the interpreter's lock held: the least that
# was measured, since a probe that thinks the model slower than it is makes the test too short.
LOADGEN_SEC_PER_SAMPLE = 200e-9


class _Countdown:
    """Counts answered samples down to zero and lets the prober wait for it.

    Stands in for LoadGen, and takes as long over each sample.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._left = 0
        self._done = threading.Condition()
        self._error: BaseException | None = None

    def expect(self, samples: int) -> None:
        with self._done:
            self._left += samples

    def make_complete(self) -> Complete:
        def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
            end = time.perf_counter() + LOADGEN_SEC_PER_SAMPLE * len(ids)
            while time.perf_counter() < end:
                pass
            self._beat()
            with self._done:
                self._left -= len(ids)
                if self._left <= 0:
                    self._done.notify()

        return complete

    def fail(self, error: BaseException) -> None:
        with self._done:
            self._error = error
            self._done.notify()

    def wait(self) -> None:
        with self._done:
            self._done.wait_for(lambda: self._left <= 0 or self._error is not None)
            if self._error is not None:
                raise self._error


def probe(
    runner: Runner,
    samples: SampleLibrary,
    layout: Layout,
    scenario: str,
    per_query: int,
    beat: Callable[[], None],
) -> Estimate:
    """What has to be known before a test of the scenario can be sized.

    Args:
        runner: of the layout.
        per_query: samples that LoadGen issues together; Offline's single query apart.
        beat: called after each inference.
    """
    indices = range(samples.resident())
    if scenario in ONE_AT_A_TIME:
        return measure_stream(runner, indices, per_query, beat)
    throughput = measure_burst(runner, indices, layout, scenario, beat)
    if scenario == "Offline":
        return throughput
    alone = measure_stream(runner, indices, 1, beat)
    return Estimate(throughput.samples_per_sec, alone.latency_sec)


def measure_stream(
    runner: Runner,
    indices: Sequence[int],
    samples_per_query: int,
    beat: Callable[[], None],
    seconds: float = PROBE_SEC,
) -> Estimate:
    """Time queries that are issued one at a time.

    The latency is the 10th percentile, since LoadGen prepares queries for twice the duration
    that the expectation promises: too low an expectation only costs memory, too high a one
    leaves the test short of queries.

    Args:
        indices: the loaded samples, in loaded order.
        samples_per_query: samples that are issued together.
        beat: called after each inference.
        seconds: about how long it may take.
    """
    tracker = _Countdown(beat)
    runner.start(tracker.make_complete, tracker.fail)
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    for query in _windows(indices, samples_per_query):
        tracker.expect(samples_per_query)
        begin = time.perf_counter()
        runner.issue(list(range(samples_per_query)), query)
        runner.flush()
        tracker.wait()
        now = time.perf_counter()
        latencies.append(now - begin)
        if now >= end:
            break
    low = statistics.quantiles(latencies, n=10)[0] if len(latencies) > 10 else min(latencies)
    return Estimate(samples_per_query / statistics.fmean(latencies), low)


def measure_burst(
    runner: Runner,
    indices: Sequence[int],
    layout: Layout,
    scenario: str,
    beat: Callable[[], None],
    seconds: float = PROBE_SEC,
) -> Estimate:
    """Time bursts of samples that keep every worker busy.

    A burst is one query, as in Offline; for Server it is one query a sample, unless the runner
    answers on LoadGen's own thread: to that one LoadGen hands together what came due meanwhile.

    Bursts grow until one takes a good part of the probe's time; the fastest of a few of that
    size counts, because whatever disturbs a probe makes it slower and never faster.

    Args:
        indices: the loaded samples, in loaded order.
        layout: of the runner; the first burst is a batch for each of its workers.
        beat: called after each inference.
        seconds: about how long it may take.
    """
    tracker = _Countdown(beat)
    runner.start(tracker.make_complete, tracker.fail)
    source = cycle(indices)
    together = scenario == "Offline" or layout.runner == "inline"
    size = smallest = layout.workers * layout.batch_size
    while True:
        elapsed = _burst(runner, tracker, list(islice(source, size)), together)
        if elapsed >= seconds / (2 * _SLICES):
            break
        growth = min(seconds / _SLICES / max(elapsed, 1e-6), 16)
        size = max(size + smallest, int(size * growth) // smallest * smallest)
    best = elapsed
    if elapsed < seconds:
        for _ in range(_SLICES - 1):
            best = min(best, _burst(runner, tracker, list(islice(source, size)), together))
    return Estimate(size / best, 0.0)


def _burst(runner: Runner, tracker: _Countdown, indices: list[int], together: bool) -> float:
    tracker.expect(len(indices))
    ids = list(range(len(indices)))
    begin = time.perf_counter()
    if together:
        runner.issue(ids, indices)
    else:
        for position in ids:
            runner.issue([position], [indices[position]])
    runner.flush()
    tracker.wait()
    return time.perf_counter() - begin


def _windows(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    last = max(len(indices) - size, 0)
    for step in count():
        first = (step * size) % (last + 1)
        window = list(indices[first : first + size])
        yield window if len(window) == size else list(islice(cycle(indices), size))
