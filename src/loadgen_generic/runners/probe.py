"""A short timed probe of a runner, from which the size of the LoadGen test follows."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, islice

from loadgen_generic.seams import Complete, Estimate, Runner
from loadgen_generic.tensors import Array

__all__ = ["measure_burst", "measure_stream"]

_PROBE_SEC = 0.6
_SLICES = 3


class _Countdown:
    """Counts answered samples down to zero and lets the prober wait for it."""

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


def measure_stream(
    runner: Runner,
    indices: Sequence[int],
    samples_per_query: int,
    beat: Callable[[], None] = lambda: None,
) -> Estimate:
    """Time queries that are issued one at a time.

    The latency is the 10th percentile, since LoadGen prepares queries for twice the duration
    that the expectation promises: too low an expectation only costs memory, too high a one
    leaves the test short of queries.

    Args:
        indices: the loaded samples, in loaded order.
        samples_per_query: samples that are issued together.
        beat: called after each inference.
    """
    tracker = _Countdown(beat)
    runner.start(tracker.make_complete, tracker.fail)
    latencies: list[float] = []
    try:
        end = time.perf_counter() + _PROBE_SEC
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
    finally:
        runner.close()
    low = statistics.quantiles(latencies, n=10)[0] if len(latencies) > 10 else min(latencies)
    return Estimate(samples_per_query / statistics.fmean(latencies), low, len(latencies))


def measure_burst(
    runner: Runner,
    indices: Sequence[int],
    workers: int,
    together: bool,
    beat: Callable[[], None] = lambda: None,
) -> Estimate:
    """Time bursts of samples that keep every worker busy.

    Bursts grow until one takes a good part of the probe's time; the fastest of a few of that
    size counts, because whatever disturbs a probe makes it slower and never faster.

    Args:
        indices: the loaded samples, in loaded order.
        workers: workers of the runner; the first burst has one sample for each.
        together: issue a burst as one query (Offline) instead of one query a sample (Server).
        beat: called after each inference.
    """
    tracker = _Countdown(beat)
    runner.start(tracker.make_complete, tracker.fail)
    source = cycle(indices)
    size = workers
    try:
        while True:
            elapsed = _burst(runner, tracker, list(islice(source, size)), together)
            if elapsed >= _PROBE_SEC / (2 * _SLICES):
                break
            growth = _PROBE_SEC / _SLICES / max(elapsed, 1e-6)
            size = max(size + 1, int(size * min(growth, 16)))
        best = elapsed
        if elapsed < _PROBE_SEC:
            for _ in range(_SLICES - 1):
                best = min(best, _burst(runner, tracker, list(islice(source, size)), together))
    finally:
        runner.close()
    return Estimate(size / best, 0.0, size)


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
