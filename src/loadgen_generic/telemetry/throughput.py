"""Throughput over time, from the workers' own counters."""

from __future__ import annotations

from itertools import pairwise

from loadgen_generic.results.telemetry import Series, Timeline

__all__ = ["Throughput"]

_MOST_POINTS = 600
_SHORTEST_LAST_NS = 50_000_000


class Throughput:
    """Samples answered at one time after another.

    However long the test, no more than a number of points is kept: of counts that only rise
    every other one can go, and those left say the same of twice the time.
    """

    def __init__(self) -> None:
        self._points: list[tuple[int, int]] = []
        self._stride = 1
        self._looks = 0
        self._last, self._last_rise_ns = 0, 0

    def add(self, at_ns: int, answered: int) -> None:
        if answered != self._last:
            self._last, self._last_rise_ns = answered, at_ns
        if self._looks % self._stride == 0:
            self._points.append((at_ns, answered))
        self._looks += 1
        if len(self._points) > _MOST_POINTS:
            self._points = self._points[::2]
            self._stride *= 2

    def last_rise_ns(self) -> int:
        """When more samples were answered than at the look before, the last time; 0 if never."""
        return self._last_rise_ns

    def timeline(self, begin_ns: int, duration_ns: int, samples: int) -> Timeline:
        """
        Args:
            begin_ns: when the first query was issued.
            duration_ns: until the last answer.
            samples: answered in the test.
        """
        end = begin_ns + duration_ns
        between = [point for point in self._points if begin_ns < point[0] < end]
        points = [(begin_ns, 0), *between, (end, samples)]
        if len(points) > 2 and end - points[-2][0] < _SHORTEST_LAST_NS:
            # The end is known to a millisecond only, too little for a rate over so short a time.
            del points[-2]
        spans = [(b[0], (b[1] - a[1]) / (b[0] - a[0]) * 1e9) for a, b in pairwise(points)]
        return Timeline(
            title="Throughput",
            at_s=[round((at - begin_ns) / 1e9, 4) for at, _ in spans],
            series=[
                Series(name="throughput", unit="samples/s", values=[round(v, 3) for _, v in spans])
            ],
        )
