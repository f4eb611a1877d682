"""What a report shows of one run, whatever it was read from: the seam between logs and pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loadgen_generic.results.result import LoadGenSetting, Metric, Result
from loadgen_generic.results.telemetry import Timeline
from loadgen_generic.tensors import Array

__all__ = ["Figures", "Histogram", "Latencies", "OverTime"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fell between edges.

    Attributes:
        edges: shape (n + 1,), ascending; of latencies in ns.
        counts: shape (n,), whole numbers.
    """

    edges: Array
    counts: Array


@dataclass(frozen=True, slots=True)
class OverTime:
    """The values of each stretch of time; stretches without values are left out.

    Attributes:
        at_s: the middle of each, in seconds since the first query.
        width_s: of each.
        count: values in it.
        p50, p90, p99, most: of them; of latencies in ns.
    """

    at_s: Array
    width_s: float
    count: Array
    p50: Array
    p90: Array
    p99: Array
    most: Array


@dataclass(frozen=True, slots=True)
class Latencies:
    """Single latencies, binned.

    Attributes:
        source: ``trace`` for all of them, as LoadGen took them; ``timed`` for those queries that
            the harness timed.
        unit: what each is of, ``query`` or ``sample``.
        counted: how many latencies are in the bins.
        total: how many there were in the test.
        histogram: of all that were counted, in ns.
        over_time: by the time at which they were issued, in ns.
    """

    source: Literal["trace", "timed"]
    unit: Literal["query", "sample"]
    counted: int
    total: int
    histogram: Histogram
    over_time: OverTime


@dataclass(frozen=True, slots=True)
class Figures:
    """One run.

    Attributes:
        directory: that was read.
        model: its name for people; empty where the logs do not tell.
        valid, verdict, reasons, next_command: as in :class:`Result`.
        latency_ns: LoadGen's own, by name, as in :class:`Result`; empty in accuracy mode.
        percentile: that the scenario reports or bounds, in %; None in Offline.
        bound_ns: of latency, in Server.
        latencies: None where neither a trace nor timed queries are there.
        throughput: samples/s over time; None where nothing tells.
        waiting: samples issued and not answered, over time; Server only.
        batches: queries by the samples in the batch that they were answered in; Server only. Edges
            are whole numbers from 1, the last one excluded.
        machine: processors, memory, GPUs.
        settings: LoadGen's.
        result: what the run itself wrote; None for logs of another program.
        missing: why a chart that one would expect is not there, one sentence each.
    """

    directory: Path
    model: str
    scenario: str
    mode: str
    started_at: str
    valid: bool | None
    verdict: str
    reasons: list[str]
    next_command: str
    metric: Metric
    latency_ns: dict[str, int]
    percentile: float | None
    bound_ns: int | None
    samples: int
    queries: int
    duration_s: float
    latencies: Latencies | None
    throughput: Timeline | None
    waiting: OverTime | None
    batches: Histogram | None
    machine: list[Timeline]
    settings: list[LoadGenSetting]
    result: Result | None
    missing: list[str] = field(default_factory=list)
