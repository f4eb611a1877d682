"""The search for the highest load that stays VALID under a latency bound.

In Server the load is the rate of queries, in MultiStream the samples in each query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen_generic.campaigns.bisection import Bracket, Step, next_step, settled, untried
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.overload import overloaded
from loadgen_generic.campaigns.questions import question_of, trials_of
from loadgen_generic.campaigns.spreading.foresight import foresee
from loadgen_generic.campaigns.strategy import Answer, Attempt, to_paste
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError, OverloadedError
from loadgen_generic.results.result import Result, Search, read_result
from loadgen_generic.wording import format_measured

__all__ = ["LoadSearch"]


class LoadSearch:
    """A :class:`~loadgen_generic.campaigns.strategy.Strategy`, and ``Foreseeing``.

    Raises:
        RequestError: a needed option is missing.
    """

    columns: tuple[str, ...] = ("trial", "load", "length", "percentile", "result")

    def __init__(self, config: BenchmarkConfig) -> None:
        self._question = question_of(config)

    def first(self) -> Attempt:
        step = Step(self._question.first_load(), full=False)
        return Attempt(self._question.trial(step, {}), step.full)

    def next(self, journal: Journal) -> Attempt | None:
        if not journal.runs:
            return self.first()
        question = self._question
        step = next_step(trials_of(journal.runs), question.round_load, question.least)
        if step is None:
            return None
        return self._later(step, journal.content["fixed"])

    def _later(self, step: Step, fixed: Mapping[str, Any]) -> Attempt:
        """All but the first, which settles what they have in common."""
        config = self._question.trial(step, fixed)
        return Attempt(config, step.full, may_fail=True, stoppable=True)

    def foreseen(self, journal: Journal, count: int) -> list[Attempt]:
        if not journal.runs:
            return [self.first()]
        question, fixed = self._question, journal.content["fixed"]
        steps = foresee(trials_of(journal.runs), question.round_load, question.least, count)
        return [self._later(step, fixed) for step in steps]

    def fix(self, result: Result) -> dict[str, Any]:
        return self._question.fix(result)

    def judge(self, result: Result, attempt: Attempt) -> dict[str, Any]:
        return self._question.judge(result, attempt.full)

    def failed(self, attempt: Attempt, error: LoadgenGenericError) -> dict[str, Any]:
        if not isinstance(error, OverloadedError):
            raise error  # a test that fails says nothing of its load
        return overloaded(attempt.config, attempt.full, error)

    def answer(self, journal: Journal) -> Answer:
        question, fixed = self._question, journal.content["fixed"]
        bracket = settled(trials_of(journal.runs))
        best = next(
            (e for e in journal.runs if e["full"] and e["passed"] and e["load"] == bracket.low),
            None,
        )
        chosen = best or _last_failure([e for e in journal.runs if not e.get("stopped")])
        sentence = self._sentence(journal, bracket)
        changes: dict[str, Any] = {"valid": True, "invalid_reasons": [], "next_command": ""}
        if best is None:
            result = read_result(journal.directory / chosen["directory"])
            changes = {
                "valid": False,
                "invalid_reasons": [sentence],
                "verdict": f"INVALID: {sentence}",
                "next_command": question.easier(result),
            }
        winner = question.trial(Step(chosen["load"], full=True), fixed)
        found = Search(
            option=question.flag,
            unit=question.unit,
            highest_valid=bracket.low,
            lowest_invalid=bracket.high,
            trials=len(journal.runs),
            sentence=sentence,
            command=to_paste(winner) if best else "",
            file=str(journal.path),
        )
        changes["search"] = found
        return Answer(chosen, "the peak may be higher", changes, found.model_dump())

    def keep(self, journal: Journal) -> None:
        """Nothing is known before the tests of full length."""

    def _sentence(self, journal: Journal, found: Bracket) -> str:
        question, count = self._question, len(journal.runs)
        low, high = found.low, found.high
        bound = question.bound_in_words(journal.content["fixed"])
        if low is None:
            last = _last_failure(journal.runs)
            tried = f"{min(each['load'] for each in journal.runs):.4g} {question.unit}"
            return (
                f"no load stays within {bound}: the least of {count} tried was {tried}, and "
                f"{last['why']}."
            )
        text = f"{low:.12g} {question.unit} is the highest load found that stays within {bound}"
        text += (
            f"; {high:.12g} does not" if high is not None else "; how much more would is not known"
        )
        if untried(found, question.round_load) is not None:
            text += ", and nothing between the two was tried at full length"
        return f"{text} ({count} trials)."

    def cells(self, runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [self._cells(run) for run in runs]

    def _cells(self, run: Mapping[str, Any]) -> tuple[str, ...]:
        latency = format_measured(run["percentile_ns"], "ns") if run["percentile_ns"] else "-"
        return (
            str(run["number"]),
            f"{run['load']:.4g} {self._question.unit}",
            "full" if run["full"] else "short",
            latency,
            "passed" if run["passed"] else f"failed: {run['why']}",
        )


def _last_failure(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Where nothing passed at full length, the one that says why. Tests that ran at once end in any
    order."""
    return next((run for run in reversed(runs) if not run["passed"]), runs[-1])
