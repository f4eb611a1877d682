"""What was seen of a run from outside while it was measured: ``telemetry.json``.

All times are seconds since LoadGen's first query, so that they can be laid over LoadGen's own.
Format history of the file: 1 first version.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadgen_generic.results.record import Record

__all__ = [
    "TELEMETRY_FILE",
    "TELEMETRY_VERSION",
    "GpuEnergy",
    "GpuProcess",
    "GpuSummary",
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


class GpuProcess(Record):
    """A process that computed on a GPU.

    Attributes:
        name: of its program; empty where the system does not tell.
        memory_bytes: the most that it had there; null where the driver does not tell.
    """

    pid: int
    name: str
    memory_bytes: int | None


class GpuSummary(Record):
    """Means of what was read of one GPU, null where the driver does not tell.

    Attributes:
        name: with the driver's number, which need not be CUDA's.
        held_back_by: what held its clock back at any time; null if nothing.
        used: whether the run computed on it; null where that is not known.
        energy_j: during the test.
        held_back_shares: of the looks, by what held it back (0 to 1).
        other_processes: that computed there meanwhile.
        unnamed_processes: how many more there were at least, of which only that is known.
        lost: why it stopped answering, in the driver's words; null if it did not.
    """

    name: str
    utilisation_percent: float | None
    memory_bytes: float | None
    power_w: float | None
    clock_mhz: float | None
    temperature_c: float | None
    held_back_by: str | None
    number: int | None = None
    used: bool | None = None
    energy_j: float | None = None
    held_back_shares: dict[str, float] = Field(default_factory=dict)
    other_processes: list[GpuProcess] = Field(default_factory=list)
    unnamed_processes: int = 0
    lost: str | None = None


class GpuEnergy(Record):
    """What the GPUs that the run computed on took during the test, whole cards, J.

    Attributes:
        gpus: the driver's numbers of them.
        source: ``counter`` for the cards' own count, ``power`` for a sum over the power that was
            read, ``both`` where the cards differ in that.
    """

    gpus: list[int]
    energy_j: float
    per_sample_j: float
    source: Literal["counter", "power", "both"]


class TelemetrySummary(Record):
    """What a result says of its telemetry.

    Attributes:
        file: path of ``telemetry.json``.
        peak_memory_bytes: largest resident memory of the measured process and its children.
        mean_cpu_share: of all processors that the test could use (0 to 1); null if too short.
        context_switches_per_s: of the measured process and its children; null if not known.
        gpus: of the machine; empty without one.
        gpu_energy: null where no GPU was used, or its energy is not known.
    """

    file: str
    interval_s: float
    own_cpu_share: float
    peak_memory_bytes: int | None
    mean_cpu_share: float | None
    context_switches_per_s: float | None
    gpus: list[GpuSummary]
    gpu_energy: GpuEnergy | None = None
