"""What was seen of a run from outside while it was measured: ``telemetry.json``.

All times are seconds since LoadGen's first query, so that they can be laid over LoadGen's own.
Format history of the file: 1 first version.
"""

from __future__ import annotations

from loadgen_generic.results.record import Record

__all__ = [
    "TELEMETRY_FILE",
    "TELEMETRY_VERSION",
    "Series",
    "Telemetry",
    "TelemetrySummary",
    "TimedQueries",
    "Timeline",
]

TELEMETRY_FILE = "telemetry.json"
TELEMETRY_VERSION = 1


class Series(Record):
    """One quantity over time.

    Attributes:
        name: what is drawn in the legend, such as ``core 0`` or ``resident memory``.
        unit: of the values, such as ``%``, ``bytes``, ``MHz``, ``1/s``, ``W``, ``samples/s``.
        values: one for each time of the timeline, over the interval that ends there where it is
            a rate or a share; null where it was not read.
    """

    name: str
    unit: str
    values: list[float | None]


class Timeline(Record):
    """Quantities that share their times and belong on one chart.

    Attributes:
        title: of the chart, such as ``CPU by core`` or ``Throughput``.
        at_s: seconds since the first query.
    """

    title: str
    at_s: list[float]
    series: list[Series]


class TimedQueries(Record):
    """Single queries that the harness timed itself; one row for each, in columns.

    Attributes:
        every: one query in this many was timed; 1 means all of them.
        issued: queries that were issued while this was kept.
        lost: timed queries that are missing here, since they were not fetched in time.
        at_s: when each was issued.
        latency_ns: from when LoadGen issued it, or in Server from when it was due, until its
            last sample was answered.
        waiting: samples that were issued and not answered at that moment, the query's included.
        batch: samples in the batch that its last sample was answered in.
    """

    every: int
    issued: int
    lost: int
    at_s: list[float]
    latency_ns: list[int]
    waiting: list[int]
    batch: list[int]


class Telemetry(Record):
    """The file.

    Attributes:
        interval_s: between two looks at the machine.
        own_cpu_share: processor time that looking took, as a share of one core (0 to 1).
        begin: wall clock at the first query, ISO 8601 with milliseconds.
        throughput: samples/s, from the workers' own counters.
        machine: processors, memory, GPUs.
        queries: null in Offline, which is one query.
    """

    schema_version: int = TELEMETRY_VERSION
    interval_s: float
    own_cpu_share: float
    begin: str
    throughput: Timeline
    machine: list[Timeline]
    queries: TimedQueries | None


class TelemetrySummary(Record):
    """What a result says of its telemetry.

    Attributes:
        file: path of ``telemetry.json``.
        peak_memory_bytes: largest resident memory of the measured process and its children.
        mean_cpu_share: of all processors that the test could use (0 to 1); null if too short.
        context_switches_per_s: of the measured process and its children; null if not known.
        gpus: name, and means of what was read, for each GPU; empty without one.
    """

    file: str
    interval_s: float
    own_cpu_share: float
    peak_memory_bytes: int | None
    mean_cpu_share: float | None
    context_switches_per_s: float | None
    gpus: list[dict[str, str | float | None]]
