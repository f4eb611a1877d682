"""Counts instead of values: bins of latencies, and stretches of time that widen as it goes on.

Latencies fall into bins of 1/64 octave, so that a percentile read from them, as the geometric
middle of its bin, is within 0.6 % of the exact one. However long the input, memory is fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen_generic.report.reading.figures import Histogram, OverTime

__all__ = [
    "BINS",
    "Integers",
    "Stretches",
    "bin_of",
    "histogram_of",
    "over_time_of",
    "percentile_of",
]

Integers = NDArray[np.int64]
_PER_OCTAVE = 64
BINS = 44 * _PER_OCTAVE  # 2**44 ns are almost five hours; longer ones count as that
_NS = 1e9
_PERCENTILES = (0.50, 0.90, 0.99)
# A stretch with fewer latencies on average than this says little about their percentiles.
_ENOUGH = 20
_FEWEST_STRETCHES = 20


def bin_of(latency_ns: Integers) -> Integers:
    """The bin of each latency, int64; what is not over 1 ns is in bin 0."""
    octaves = np.log2(np.maximum(latency_ns, 1).astype(np.float64))
    return np.minimum((octaves * _PER_OCTAVE).astype(np.int64), BINS - 1)


def histogram_of(counts: Integers) -> Histogram:
    """Counts of all bins, shape (BINS,), without the empty ones at both ends."""
    filled = np.flatnonzero(counts)
    first, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
    return Histogram(_edges(np.arange(first, end + 1)), counts[first:end])


def percentile_of(counts: Integers, share: float) -> float:
    """A percentile in ns by LoadGen's convention: of the element at ``int(count * share)``."""
    above = np.cumsum(counts)
    at = min(int(above[-1] * share), int(above[-1]) - 1)
    return float(np.exp2((int(np.searchsorted(above, at, side="right")) + 0.5) / _PER_OCTAVE))


class Stretches:
    """Counts over time, in a fixed number of stretches.

    Where a time lies outside, the stretches move or become twice as wide.

    Attributes:
        width_ns: of a stretch; a power of two times the width at first.
        counts: shape (most, columns), int64.
        first: number of the first stretch, counted from time 0.
    """

    def __init__(self, columns: int, most: int = 400, width_ns: int = 100_000) -> None:
        self.width_ns = width_ns
        self.counts = np.zeros((most, columns), np.int64)
        self.first: int | None = None

    def add(self, at_ns: Integers, columns: Integers | int = 0, weight: int = 1) -> None:
        """Count one for each time, in its column."""
        if not len(at_ns):
            return
        first = self._cover(int(at_ns.min()), int(at_ns.max()))
        rows = at_ns // self.width_ns - first
        np.add.at(self.counts.reshape(-1), rows * self.counts.shape[1] + columns, weight)

    def begin_s(self, origin_ns: int) -> float:
        """The begin of the first stretch, in seconds after a moment."""
        return ((self.first or 0) * self.width_ns - origin_ns) / _NS

    def middles_s(self, origin_ns: int) -> NDArray[np.float64]:
        """The middle of each stretch, in seconds after a moment."""
        numbers: NDArray[np.float64] = np.arange(len(self.counts), dtype=np.float64) + 0.5
        return self.begin_s(origin_ns) + numbers * self.width_ns / _NS

    def coarsen(self) -> None:
        """Widen until the stretches hold enough to speak of percentiles, or are few."""
        while (used := int(np.count_nonzero(self.counts.any(axis=1)))) > _FEWEST_STRETCHES:
            if self.counts.sum() >= _ENOUGH * used:
                return
            self._widen()

    def _cover(self, low_ns: int, high_ns: int) -> int:
        """Move and widen so that both are inside; returns the number of the first stretch."""
        if self.first is None:
            self.first = low_ns // self.width_ns
        while True:
            low, high = low_ns // self.width_ns, high_ns // self.width_ns
            filled = np.flatnonzero(self.counts.any(axis=1))
            if len(filled):
                low = min(low, self.first + int(filled[0]))
                high = max(high, self.first + int(filled[-1]))
            if high - low < len(self.counts):
                break
            self._widen()
        if not self.first <= low <= high < self.first + len(self.counts):
            # What is filled fits behind the new first stretch, so nothing comes round the end.
            self.counts = np.roll(self.counts, self.first - low, axis=0)
            self.first = low
        return self.first

    def _widen(self) -> None:
        most, columns = self.counts.shape
        odd = (self.first or 0) % 2  # pairs begin at even numbers
        padded = np.zeros((most + 2, columns), np.int64)
        padded[odd : odd + most] = self.counts
        pairs = padded[: (most + 2) // 2 * 2].reshape(-1, 2, columns).sum(axis=1)
        self.counts = np.zeros((most, columns), np.int64)
        self.counts[: len(pairs)] = pairs
        self.first = (self.first or 0) // 2
        self.width_ns *= 2


def over_time_of(stretches: Stretches, origin_ns: int) -> OverTime:
    """Percentiles of the latencies in each stretch, whose columns are the bins."""
    stretches.coarsen()
    counts = stretches.counts
    filled = np.flatnonzero(counts.any(axis=1))
    found = [[percentile_of(row, share) for share in _PERCENTILES] for row in counts[filled]]
    table = np.array(found, np.float64).reshape(-1, len(_PERCENTILES))
    last = BINS - 1 - np.argmax(counts[filled, ::-1] > 0, axis=1)
    return OverTime(
        at_s=stretches.middles_s(origin_ns)[filled],
        width_s=stretches.width_ns / _NS,
        count=counts[filled].sum(axis=1),
        p50=table[:, 0],
        p90=table[:, 1],
        p99=table[:, 2],
        most=_middles(last),
    )


def _edges(numbers: NDArray[Any]) -> NDArray[np.float64]:
    edges: NDArray[np.float64] = np.exp2(numbers / _PER_OCTAVE)
    return edges


def _middles(numbers: NDArray[Any]) -> NDArray[np.float64]:
    return _edges(numbers + 0.5)
