"""What the queries tell that the harness timed itself: one in ``every``, from ``telemetry.json``."""

from __future__ import annotations

import numpy as np

from loadgen_generic.report.reading.bins import (
    BINS,
    Stretches,
    bin_of,
    histogram_of,
    over_time_of,
)
from loadgen_generic.report.reading.figures import Histogram, Latencies, OverTime
from loadgen_generic.results.telemetry import TimedQueries

__all__ = ["timed_batches", "timed_latencies", "timed_waiting"]

_SHARES = (0.5, 0.9, 0.99)
_MOST, _ENOUGH, _FEWEST = 400, 20, 20


def timed_latencies(timed: TimedQueries, total: int) -> Latencies:
    """Latencies of single queries; ``total`` is how many LoadGen counted."""
    at_ns = np.round(np.array(timed.at_s) * 1e9).astype(np.int64)
    bins = bin_of(np.array(timed.latency_ns, np.int64))
    stretches = Stretches(BINS)
    stretches.add(at_ns, bins)
    histogram = histogram_of(stretches.counts.sum(axis=0))
    over_time = over_time_of(stretches, 0)
    return Latencies("timed", "query", len(at_ns), total, histogram, over_time)


def timed_waiting(timed: TimedQueries) -> OverTime:
    """Samples waiting as each timed query came."""
    at_s = np.array(timed.at_s, np.float64)
    waiting = np.array(timed.waiting, np.int64)
    begin, end = float(at_s.min()), float(at_s.max())
    stretches = max(1, min(_MOST, max(_FEWEST, len(at_s) // _ENOUGH)))
    width = (end - begin) / stretches or 1.0
    rows = np.minimum((at_s - begin) // width, stretches - 1).astype(np.int64)
    order = np.lexsort((waiting, rows))
    numbers, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
    ascending = waiting[order]
    p50, p90, p99 = (ascending[starts + (counts * share).astype(np.int64)] for share in _SHARES)
    return OverTime(
        at_s=begin + (numbers + 0.5) * width,
        width_s=width,
        count=counts,
        p50=p50,
        p90=p90,
        p99=p99,
        most=ascending[starts + counts - 1],
    )


def timed_batches(timed: TimedQueries) -> Histogram:
    """The timed queries by the samples in the batch that they were answered in."""
    counts = np.bincount(np.maximum(np.array(timed.batch, np.int64), 1))[1:]
    return Histogram(np.arange(1, len(counts) + 2), counts)
