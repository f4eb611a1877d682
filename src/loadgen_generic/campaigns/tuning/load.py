"""Tuning for the highest load within a bound of latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadgen_generic.campaigns.bisection import (
    PRECISION,
    Bracket,
    Step,
    Trial,
    bracket,
    next_step,
    settled,
    short_step,
)
from loadgen_generic.campaigns.questions import Question, question_of, trials_of
from loadgen_generic.campaigns.tuning.trial import Entry
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result

__all__ = ["Load"]

# A challenger begins this much above the best load so far: less would not make it the best.
_AHEAD = 1.03
# A challenger whose layout was not searched for yet begins below it.
_BEHIND = 0.8
# The limit of an automatic layout need not be known so well, since others are tried yet.
_NEAR_ENOUGH = 1.12
# One that is ahead goes on by this, since it is hardly far ahead.
_FURTHER = 1.2
_MOST_SHORT = 8
# So few late queries in a short test may be one hiccup of the machine; too much load makes more.
_HICCUP = 0.05


class Load:
    """An :class:`~loadgen_generic.campaigns.tuning.objective.Objective`: the highest load within the
    bound."""

    higher_is_better = True
    varies_load = True

    def __init__(self, config: BenchmarkConfig) -> None:
        question = question_of(config)
        self._config, self.unit = config, question.unit

    def words(self, fixed: Mapping[str, Any]) -> str:
        bound = question_of(self._config).bound_in_words(fixed)
        return f"{self.unit} in {self._config.scenario} within {bound}"

    def bound(self, effective: Mapping[str, Any]) -> dict[str, Any]:
        # In MultiStream it is the search's alone: LoadGen knows of none there.
        names = ("target_latency_ms", "target_latency_percentile")
        return {name: getattr(self._config, name) or effective[name] for name in names}

    def short(
        self, config: BenchmarkConfig, entries: Sequence[Entry], to_beat: float, layout_open: bool
    ) -> BenchmarkConfig | None:
        question, trials = question_of(config), trials_of(entries)
        if len(trials) >= _MOST_SHORT or any(trial.hopeless for trial in trials):
            return None
        if _may_be_a_hiccup(entries):
            return question.trial(Step(trials[-1].load, full=False), {})
        load: float | None
        if not trials:
            # A test without a layout finds its own load: half of what a probe measures.
            load = 0.0 if config.runner == "auto" else question.first_load()
            load = load if config.runner == "auto" or not to_beat else _AHEAD * to_beat
        else:
            load = self._next(trials, question, to_beat, layout_open)
            if load is None:
                return None
        load = question.round_load(load) if load else 0.0
        if load and load in {trial.load for trial in trials}:
            return None
        return question.trial(Step(load, full=False), {})

    def _next(
        self, trials: Sequence[Trial], question: Question, to_beat: float, layout_open: bool
    ) -> float | None:
        known = bracket(trials)
        low = known.low or 0.0
        ahead = max(_AHEAD * to_beat, to_beat + question.least)
        if to_beat and low < to_beat:
            # Rounded, or one that passed there would count as below it and never go on.
            behind = question.round_load(_BEHIND * to_beat)
            load = behind if layout_open and low < behind else ahead
            return load if known.high is None or load < known.high / 1.001 else None
        if layout_open and known.narrow(_NEAR_ENOUGH):
            return None
        if to_beat and known.high is None:
            return max(_FURTHER * low, low + question.least)
        return short_step(trials, question.round_load, question.least)

    def longer(self, config: BenchmarkConfig) -> BenchmarkConfig | None:
        return None

    def full(
        self, config: BenchmarkConfig, entries: Sequence[Entry], rounds: int
    ) -> tuple[BenchmarkConfig, bool] | None:
        question, trials = question_of(config), trials_of(entries)
        most = _MOST_SHORT + self.tests_needed(rounds)
        step = next_step(trials, question.round_load, question.least, most)
        return (question.trial(step, {}), step.full) if step is not None else None

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        # By what was asked for: a short test is held to what a full one has to meet.
        return question_of(self._config).judge(result, full)

    def value(self, entries: Sequence[Entry], full: bool) -> float | None:
        return self._bracket(entries, full).low

    def at_most(self, entries: Sequence[Entry]) -> float | None:
        # What an overloaded system completes is above its limit, as a load is that it failed.
        failed = [each for each in trials_of(entries) if not each.passed]
        return min((each.sustained or each.load for each in failed), default=None)

    def limits(self, entries: Sequence[Entry]) -> tuple[float | None, float | None]:
        known = self._bracket(entries, full=True)
        return known.low, known.high

    def spread(self, entries: Sequence[Entry]) -> float:
        known = self._bracket(entries, full=True)
        apart = known.high / known.low if known.low and known.high else PRECISION
        return max(apart, PRECISION) - 1  # a load that passes once may not the next time

    def ahead(self, entries: Sequence[Entry], of: Sequence[Entry]) -> tuple[float, float]:
        ours, theirs = self._bracket(entries, full=True), self._bracket(of, full=True)
        noise = max(self.spread(entries), self.spread(of))
        return (ours.low or 0.0) / (theirs.low or 1.0), noise

    def tests_needed(self, rounds: int) -> int:
        return 2 + rounds

    def at(self, config: BenchmarkConfig, value: float) -> BenchmarkConfig:
        return question_of(config).trial(Step(value, full=True), {})

    def _bracket(self, entries: Sequence[Entry], full: bool) -> Bracket:
        trials = trials_of(entries)
        return settled(trials) if full or any(t.full for t in trials) else bracket(trials)


def _may_be_a_hiccup(entries: Sequence[Entry]) -> bool:
    """Whether the last test missed its bound narrowly, for the first time at its load."""
    loads = [each["load"] for each in entries if "load" in each]
    if not loads or loads.count(loads[-1]) > 1:
        return False
    last = entries[-1]
    kept_up = not last["full"] and not last["sustained"]
    return kept_up and not last["passed"] and 0 < (last["over_share"] or 0.0) <= _HICCUP
