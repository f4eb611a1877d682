"""What several runs for one question found, as part of a result."""

from __future__ import annotations

from typing import Any

from loadgen_generic.results.record import Record

__all__ = ["Repetition", "Search"]


class Repetition(Record):
    """What several runs of the same test found.

    Attributes:
        runs: how many.
        values: of the metric, in the order of the runs.
        median: of the values; the result is the run nearest to it.
        spread: (largest - smallest) / median.
        interval: of the median, at ``confidence``, by bootstrap.
        file: path of ``repeat.json``.
    """

    runs: int
    values: list[float]
    median: float
    spread: float
    confidence: float
    interval: tuple[float, float]
    file: str


class Search(Record):
    """What a search for a peak found.

    Attributes:
        option: the load that was varied, as an option; empty where the layout was varied.
        unit: of the load, or of the metric that is best in the best layout.
        highest_valid: the answer, by a test of full length; null if nothing passed, and where
            the layout was varied.
        lowest_invalid: the lowest load above it that failed at full length; null if none did.
        layout: the best one, as options; null where the load was varied.
        command: repeats the test of the answer; empty without one.
        file: path of ``search.json``.
    """

    option: str
    unit: str
    highest_valid: float | None
    lowest_invalid: float | None
    layout: dict[str, Any] | None = None
    trials: int
    sentence: str
    command: str
    file: str
