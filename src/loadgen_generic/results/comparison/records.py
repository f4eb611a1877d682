"""What a comparison says, as ``loadgen-generic compare --json`` prints it.

History of the format:

1  first version
"""

from __future__ import annotations

from typing import Literal

from loadgen_generic.results.record import Record

__all__ = ["Against", "Change", "Comparison", "Difference", "Measure", "Side", "Verdict"]

Verdict = Literal["faster", "slower", "no difference", "cannot say"]


class Measure(Record):
    """What is compared.

    Attributes:
        name: for people.
        unit: of the values; latencies are in ns.
    """

    name: str
    unit: str
    higher_is_better: bool


class Side(Record):
    """One of the subjects.

    Attributes:
        letter: ``A`` for the baseline, ``B`` and so on.
        path: as it was given.
        model: its file or name.
        computed_on: such as ``CUDA, 1 card, tf32``; empty for the CPU provider at the model's own
            precision.
        values: of the deciding measure, one for each run; empty where nothing was measured.
        median: of the values; null without any.
        spread: (largest - smallest) / median; null for one run.
        latency_ns: percentile such as ``p99`` to one latency for each run, in ns; of the run that
            stands for the others alone where the others' results are not there.
        invalid_reasons: as in the result.
    """

    letter: str
    path: str
    started_at: str
    model: str
    valid: bool | None
    invalid_reasons: list[str]
    doubts: list[str]
    values: list[float]
    median: float | None
    spread: float | None
    latency_ns: dict[str, list[float]]
    computed_on: str = ""


class Change(Record):
    """From the baseline to another subject, in percent of the baseline; above 0 is better.

    Attributes:
        percent: of a latency, by how much it is shorter.
        interval: null where there are too few runs for one.
    """

    percent: float
    interval: tuple[float, float] | None


class Against(Record):
    """One subject against the baseline.

    Attributes:
        change: of the deciding measure; null where the two cannot be compared.
        latencies: percentile to its change, without a verdict.
        why: what the verdict rests on, in one sentence.
        remedy: what to do for a surer answer; empty if there is nothing to do.
        doubtful: whether either side is INVALID, or something disturbed its runs.
        warnings: why the verdict may be about something else than speed, one sentence each.
    """

    letter: str
    verdict: Verdict
    change: Change | None
    latencies: dict[str, Change]
    why: str
    remedy: str
    doubtful: bool
    warnings: list[str]


class Difference(Record):
    """Something that is not the same in all subjects: one value for each, in their order."""

    group: str
    name: str
    values: list[str]


class Comparison(Record):
    """Subjects against the first of them.

    Attributes:
        confidence: of all intervals, a share; they hold the true change at least that often.
        least_percent: a smaller change counts as none, whatever its interval.
    """

    schema_version: int = 1
    scenario: str
    measure: Measure
    confidence: float
    least_percent: float
    sides: list[Side]
    against: list[Against]
    differences: list[Difference]
