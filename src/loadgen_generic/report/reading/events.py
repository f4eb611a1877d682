"""What a trace tells: latencies, throughput, the queue and the batches, each binned."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadgen_generic.report.reading.bins import (
    BINS,
    Integers,
    Stretches,
    bin_of,
    histogram_of,
    over_time_of,
)
from loadgen_generic.report.reading.figures import Histogram, Latencies, OverTime
from loadgen_generic.report.reading.stream import Block, Told, read_blocks
from loadgen_generic.results.telemetry import Series, Timeline

__all__ = ["Events", "read_events"]

# The queue is looked at in up to so many moments, evenly over the test; 256 are one stretch.
_MOMENTS, _TOGETHER = 102_400, 256
_MOST, _FEWEST, _ENOUGH = 400, 20, 20  # stretches of throughput, and answers in each
# Threads write their lines to the file in turn: samples of one call may lie this far apart in it.
_APART_NS = 1_000_000_000


class Events:
    """Takes a trace in blocks, and keeps counts alone.

    Args:
        per_query: samples in a query whose slowest counts for it; 1 for latencies of samples.
        queue: whether samples wait and share batches: in Server.
    """

    def __init__(self, per_query: int, queue: bool) -> None:
        self._per_query, self._queue = per_query, queue
        self._latencies = Stretches(BINS)
        # The second column marks the first query, so that the stretches begin with it.
        self._answered = Stretches(2, _MOMENTS, 1_000)
        self._waiting = Stretches(1, _MOMENTS, 1_000)
        self._batches: Integers = np.zeros(1, np.int64)
        self._open_calls = _Open()
        self._open_queries = _Open()
        self._zero_ns: int | None = None  # of the trace's clock, where the first block begins
        self._origin_ns = 0  # the first query, from there
        self.samples = 0
        self.counted = 0

    def add(self, block: Block) -> None:
        self.samples += len(block.query)
        if self._zero_ns is None:
            self._zero_ns = int(block.due_ns.min())
        block = block.since(self._zero_ns)
        self._origin_ns = min(self._origin_ns, int(block.due_ns.min()))
        self._answered.add(block.due_ns.min(keepdims=True), 1)
        self._answered.add(block.completed_ns)
        if self._queue:
            self._waiting.add(block.issued_ns, weight=1)
            self._waiting.add(block.completed_ns, weight=-1)
            self._add_calls(block)
        if self._per_query == 1:
            self._add_latencies(block.due_ns, block.completed_ns)
        else:
            self._add_queries(block)

    def finish(self) -> None:
        """Count what was still expected to go on when the trace ended."""
        self._count_batches(self._open_calls.take_all()[1])
        _, _, due, completed = self._open_queries.take_all()
        self._add_latencies(due, completed)

    def latencies(self, total: int, unit: Literal["query", "sample"]) -> Latencies:
        """All of them; ``total`` is what LoadGen counted."""
        histogram = histogram_of(self._latencies.counts.sum(axis=0))
        over_time = over_time_of(self._latencies, self._origin_ns)
        return Latencies("trace", unit, self.counted, total, histogram, over_time)

    def throughput(self) -> Timeline:
        """Samples/s that were answered, in stretches of equal length from the first query on."""
        counts = self._answered.counts[:, 0]
        used = int(np.flatnonzero(counts)[-1]) + 1
        cell_s = self._answered.width_ns / 1e9
        stretches = max(_FEWEST, min(_MOST, self.samples // _ENOUGH))
        edges = np.unique(np.linspace(0, used, stretches + 1).astype(np.int64))
        summed = np.concatenate([[0], np.cumsum(counts)])
        rates = np.diff(summed[edges]) / (np.diff(edges) * cell_s)
        ends = self._answered.begin_s(self._origin_ns) + edges[1:] * cell_s
        return Timeline(
            title="Throughput",
            at_s=ends.tolist(),
            series=[Series(name="answered", unit="samples/s", values=rates.tolist())],
        )

    def waiting(self) -> OverTime:
        """Samples issued and not answered, in evenly spaced moments of each stretch."""
        changes = self._waiting.counts[:, 0]
        used = int(np.flatnonzero(changes)[-1]) + 1
        together = max(1, min(_TOGETHER, used // _FEWEST))
        stretches = -(-used // together)
        depth = np.zeros(stretches * together, np.int64)
        depth[:used] = np.cumsum(changes[:used])
        depth = np.sort(depth.reshape(stretches, together), axis=1)
        width_s = together * self._waiting.width_ns / 1e9
        begin_s = self._waiting.begin_s(self._origin_ns)
        at = [int(together * share) for share in (0.5, 0.9, 0.99)]
        return OverTime(
            at_s=begin_s + (np.arange(stretches) + 0.5) * width_s,
            width_s=width_s,
            count=np.full(stretches, together, np.int64),
            p50=depth[:, at[0]],
            p90=depth[:, at[1]],
            p99=depth[:, at[2]],
            most=depth[:, -1],
        )

    def batches(self) -> Histogram:
        """Samples by how many were answered in the same call."""
        counts = (np.arange(len(self._batches)) * self._batches)[1:]
        return Histogram(np.arange(1, len(counts) + 2), counts)

    def _add_latencies(self, due_ns: Integers, completed_ns: Integers) -> None:
        self.counted += len(due_ns)
        self._latencies.add(due_ns, bin_of(completed_ns - due_ns))

    def _add_calls(self, block: Block) -> None:
        """Samples with the same time of answer were answered together."""
        moments, sizes = np.unique(block.completed_ns, return_counts=True)
        self._open_calls.merge(moments, sizes, moments, moments)
        newest = int(moments[-1])
        _, sizes, _, _ = self._open_calls.take(self._open_calls.key < newest - _APART_NS)
        self._count_batches(sizes)

    def _count_batches(self, sizes: Integers) -> None:
        found = np.bincount(sizes, minlength=len(self._batches))
        found[: len(self._batches)] += self._batches
        self._batches = found

    def _add_queries(self, block: Block) -> None:
        query, at, sizes = np.unique(block.query, return_inverse=True, return_counts=True)
        due = np.full(len(query), np.iinfo(np.int64).max)
        np.minimum.at(due, at, block.due_ns)
        completed = np.zeros(len(query), np.int64)
        np.maximum.at(completed, at, block.completed_ns)
        self._open_queries.merge(query, sizes, due, completed)
        whole = self._open_queries.size >= self._per_query
        _, _, due, completed = self._open_queries.take(whole)
        self._add_latencies(due, completed)


class _Open:
    """Groups that may get more members: key, members so far, earliest begin, latest end."""

    def __init__(self) -> None:
        self.key: Integers = np.zeros(0, np.int64)
        self.size, self._begin, self._end = self.key, self.key, self.key

    def merge(self, key: Integers, size: Integers, begin: Integers, end: Integers) -> None:
        keys = np.concatenate([self.key, key])
        merged, at = np.unique(keys, return_inverse=True)
        sizes = np.zeros(len(merged), np.int64)
        np.add.at(sizes, at, np.concatenate([self.size, size]))
        begins = np.full(len(merged), np.iinfo(np.int64).max)
        np.minimum.at(begins, at, np.concatenate([self._begin, begin]))
        ends = np.full(len(merged), np.iinfo(np.int64).min)
        np.maximum.at(ends, at, np.concatenate([self._end, end]))
        self.key, self.size, self._begin, self._end = merged, sizes, begins, ends

    def take(self, chosen: NDArray[np.bool_]) -> tuple[Integers, Integers, Integers, Integers]:
        """Take groups out, by a mask."""
        columns = (self.key, self.size, self._begin, self._end)
        taken = tuple(column[chosen] for column in columns)
        self.key, self.size, self._begin, self._end = (column[~chosen] for column in columns)
        return taken[0], taken[1], taken[2], taken[3]

    def take_all(self) -> tuple[Integers, Integers, Integers, Integers]:
        return self.take(np.ones(len(self.key), bool))


def read_events(path: Path, per_query: int, queue: bool, told: Told) -> Events:
    """Count a whole trace.

    Raises:
        OSError: it cannot be read.
        ValueError: a sample's line is not LoadGen's.
    """
    events = Events(per_query, queue)
    for block in read_blocks(path, told):
        events.add(block)
    events.finish()
    return events
