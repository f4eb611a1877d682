"""Tuning for the metric of a test: the most samples/s, or the lowest latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from loadgen_generic.campaigns.lengths import of_short_length
from loadgen_generic.campaigns.tuning.trial import Entry
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.result import Result

__all__ = ["Metric"]

# A longer trial is so many times as long as a short one.
_LONGER = 3.0


class Metric:
    """An :class:`~loadgen_generic.campaigns.tuning.objective.Objective`: the metric of a test."""

    varies_load = False

    def __init__(self, config: BenchmarkConfig) -> None:
        self._scenario = config.scenario
        self.higher_is_better = config.scenario == "Offline"
        self.unit = HEADLINES[config.scenario].unit

    def words(self, fixed: Mapping[str, Any]) -> str:
        what = "samples/s" if self.higher_is_better else "latency of a query"
        return f"{what} in {self._scenario}"

    def bound(self, effective: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def short(
        self, config: BenchmarkConfig, entries: Sequence[Entry], to_beat: float, layout_open: bool
    ) -> BenchmarkConfig | None:
        return None if entries else of_short_length(config)

    def longer(self, config: BenchmarkConfig) -> BenchmarkConfig | None:
        return of_short_length(config, _LONGER)

    def full(
        self, config: BenchmarkConfig, entries: Sequence[Entry], rounds: int
    ) -> tuple[BenchmarkConfig, bool] | None:
        return None if sum(each["full"] for each in entries) >= rounds else (config, True)

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        why = "" if result.metric.value > 0 else "nothing was measured"
        if full:
            why = why or "; ".join(result.invalid_reasons)
        return {"passed": not why, "why": why, "value": result.metric.value or None}

    def value(self, entries: Sequence[Entry], full: bool) -> float | None:
        passed = [each for each in entries if each["passed"] and each.get("value")]
        of_full = [each["value"] for each in passed if each["full"]]
        if full or of_full:
            return median(of_full) if of_full else None
        # The longest test of a search says most.
        longest = max((each["duration_s"] for each in passed), default=0.0)
        values = [each["value"] for each in passed if each["duration_s"] >= longest / 2]
        return median(values) if values else None

    def at_most(self, entries: Sequence[Entry]) -> float | None:
        return None

    def limits(self, entries: Sequence[Entry]) -> tuple[float | None, float | None]:
        values = self._full(entries)
        return (min(values), max(values)) if values else (None, None)

    def spread(self, entries: Sequence[Entry]) -> float:
        values = self._full(entries)
        return (max(values) - min(values)) / median(values) if values else 0.0

    def ahead(self, entries: Sequence[Entry], of: Sequence[Entry]) -> tuple[float, float]:
        # Round by round, so that a machine that slows down between them cancels out.
        pairs = zip(self._full(entries), self._full(of), strict=False)
        ratios = [a / b if self.higher_is_better else b / a for a, b in pairs]
        middle = median(ratios)
        apart = sorted(abs(ratio / middle - 1) for ratio in ratios)
        # One disturbed round of many says nothing of the others.
        return middle, apart[-2] if len(apart) > 4 else apart[-1]

    def tests_needed(self, rounds: int) -> int:
        return rounds

    def at(self, config: BenchmarkConfig, _: float) -> BenchmarkConfig:
        return config

    def _full(self, entries: Sequence[Entry]) -> list[float]:
        return [each["value"] for each in entries if each["full"] and each["passed"]]
