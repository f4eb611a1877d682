"""Timed queries as they come in: kept, counted by size, and thinned if there are too many."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from loadgen_generic.pulse import Row
from loadgen_generic.results.telemetry import TimedQueries

if TYPE_CHECKING:
    from loadgen_generic.telemetry.schedule import Schedule

__all__ = ["Latencies", "Timed"]

_MOST_ROWS = 100_000
_FIELDS = 5  # of a row
# The first query comes in some 50 us late: the measured process was never in this code before.
_MOST_EARLY_NS = 5_000_000
_BINS_PER_E = 100  # each 1 % wide, as far apart as two runs of a test


class Latencies:
    """How many latencies of each size there were; bins 1 % wide."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self.count = 0

    def add(self, latency_ns: int) -> None:
        self._bins[int(_BINS_PER_E * math.log(max(latency_ns, 1)))] += 1
        self.count += 1

    def percentile_ns(self, percent: float) -> float | None:
        """By nearest rank; None while there are too few to tell it from the largest."""
        rank = math.ceil(self.count * percent / 100)
        if rank >= self.count:
            return None
        for number in sorted(self._bins):
            rank -= self._bins[number]
            if rank <= 0:
                return math.exp((number + 0.5) / _BINS_PER_E)
        return None


class Timed:
    """The rows of a pulse.

    Args:
        every: one query in so many is timed by the measured process.
        begin_ns: when the first query was issued.
        schedule: of the queries in Server; None elsewhere.
        known_late: whether it is known at the end only when the queries were due.
    """

    def __init__(
        self,
        every: int,
        begin_ns: int = 0,
        schedule: Schedule | None = None,
        known_late: bool = False,
    ) -> None:
        self.every = every
        self._known_late = known_late
        self.latencies = Latencies()
        self._begin_ns, self._schedule = begin_ns, schedule
        self._early_ns = 0  # how much earlier than due the earliest seems to be issued
        self._kept = array("q")  # row after row
        self._stride = 1  # timed queries to one that is kept

    def add(self, rows: Iterable[Row]) -> None:
        schedule, spacing = self._schedule, self.every * self._stride
        for row in rows:
            number, issued_ns, latency_ns, _, _ = row
            if schedule is not None:
                late_ns = issued_ns - self._begin_ns - schedule.due_ns(number)
                self._early_ns = min(self._early_ns, late_ns)
                latency_ns += late_ns - self._early_ns
            if not self._known_late:
                self.latencies.add(latency_ns)
            if number % spacing == 0:
                self._kept.extend(row)
        # A test can turn out far longer than was expected.
        while len(self._kept) > _MOST_ROWS * _FIELDS:
            self._thin()

    def record(self, issued: int, lost: int, schedule: Schedule | None) -> TimedQueries | None:
        """
        Args:
            issued: queries of the test.
            lost: rows that were not fetched in time.
            schedule: that LoadGen says it had, in Server.

        Returns:
            None if LoadGen issued queries before they were due by this schedule: then it is not
            the one that LoadGen had.
        """
        kept = [self._kept[field::_FIELDS] for field in range(_FIELDS)]
        order = sorted(range(len(kept[0])), key=kept[0].__getitem__)
        number, at, latency, waiting, batch = ([column[row] for row in order] for column in kept)
        after = [issued_ns - self._begin_ns for issued_ns in at]
        if schedule is not None:
            late = [at - schedule.due_ns(which) for at, which in zip(after, number, strict=True)]
            # None is issued before it is due, but the first, from which all are counted, late.
            early = min(late, default=0)
            if early < -_MOST_EARLY_NS:
                return None
            latency = [taken + by - early for taken, by in zip(latency, late, strict=True)]
        return TimedQueries(
            every=self.every * self._stride,
            issued=issued,
            lost=lost,
            at_s=[round(ns / 1e9, 6) for ns in after],
            latency_ns=latency,
            waiting=waiting,
            batch=batch,
        )

    def _thin(self) -> None:
        self._stride *= 2
        spacing = self.every * self._stride
        kept = array("q")
        for at in range(0, len(self._kept), _FIELDS):
            if self._kept[at] % spacing == 0:
                kept.extend(self._kept[at : at + _FIELDS])
        self._kept = kept
