"""The search for the layout with which a model is fastest: runner, workers, threads and batch.

Short trials look for it: first the layout that is chosen without a search, then those that the
rules name, then what optuna proposes. Tests of full length of the two best decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from loadgen_generic.campaigns.fixing import layout_of, one_run
from loadgen_generic.campaigns.grammar import LayoutGrammar
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.lengths import full_seconds, shortened
from loadgen_generic.campaigns.space import Facts, Space, facts_shown, layout_distance
from loadgen_generic.campaigns.strategy import Answer, Attempt, to_paste
from loadgen_generic.campaigns.study import Study, require_optuna
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.devices import cards_asked_for
from loadgen_generic.errors import LoadgenGenericError, RequestError
from loadgen_generic.machine import available_cores
from loadgen_generic.results.result import Result, Search
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import layout_by_rule, wish_of
from loadgen_generic.tensors import SamplePlan
from loadgen_generic.wording import format_measured

__all__ = ["LAYOUT_SCENARIOS", "MOST_SHORT", "LayoutSearch"]

# Whether large values of the metric are good ones.
_MAXIMIZE = {"Offline": True, "SingleStream": False}
LAYOUT_SCENARIOS = tuple(_MAXIMIZE)
MOST_SHORT = 20
# Proposals get near the best, and seldom to it: the last short trials are next to the best so far.
_LAST_NEAR_BEST = 10
_STUDY = "search.db"
_FINALISTS = 2
# Tests of full length that are no longer than this are done twice, in the order A B B A, so that
# a disturbance, or a machine that slows down, does not decide.
_CHEAP_SEC = 30.0

Run = Mapping[str, Any]


class LayoutSearch:
    """A :class:`~loadgen_generic.campaigns.strategy.Strategy`.

    Raises:
        RequestError: optuna is missing, or the options contradict each other.
    """

    columns: tuple[str, ...] = ("trial", "layout", "length", "value", "result")

    def __init__(self, config: BenchmarkConfig) -> None:
        if config.runner == "ray":
            raise RequestError(
                "--mode find_peak looks for the best layout of this machine, and not of a cluster.",
                flag="runner",
                value="ray",
                remedy="Leave it out, or search in Server or MultiStream.",
            )
        self._config = config
        self._maximize = _MAXIMIZE[config.scenario]
        # What depends on the model is among the facts that the first trial shows.
        self._wish = wish_of(
            config, SamplePlan((), batched=True), available_cores(), cards_asked_for(config)
        )
        layout_by_rule(self._wish)
        require_optuna(
            "find_peak",
            "leave --mode out: the layout is calibrated before the test.",
        )
        self._study: Study[Layout] | None = None

    def first(self) -> Attempt:
        return Attempt(self._trial({}, full=False), full=False)

    def _trial(self, layout: Mapping[str, Any], full: bool) -> BenchmarkConfig:
        options = one_run(self._config)
        if not full:
            options = shortened(options, self._config)
        return BenchmarkConfig.model_validate({**options, **layout})

    def fix(self, result: Result) -> dict[str, Any]:
        if not result.metric.value:
            raise RequestError(
                "the first trial was too short to give a number that layouts can be compared by: "
                f"{'; '.join(result.invalid_reasons)}.",
                flag="samples" if self._config.samples else "",
                value=self._config.samples,
                remedy="Ask for more, or leave --samples out.",
            )
        return asdict(facts_shown(result.config.effective))

    def next(self, journal: Journal) -> Attempt | None:
        if not journal.runs:
            return self.first()
        short, full = _by_length(journal.runs)
        if not full and len(short) < MOST_SHORT:
            layout = self._untried(journal, short)
            if layout is not None:
                options = _options(layout, journal.content["fixed"]["threaded"])
                return Attempt(self._trial(options, full=False), full=False, may_fail=True)
        order = self._best(short)[:_FINALISTS]
        if full_seconds(self._config) <= _CHEAP_SEC and len(order) > 1:
            order += order[::-1]
        if len(full) == len(order):
            return None
        return Attempt(self._trial(order[len(full)]["layout"], full=True), full=True)

    def _untried(self, journal: Journal, short: Sequence[Run]) -> Layout | None:
        """The layout to try next; None when all were."""
        tried = {_layout(run["layout"]): run["value"] for run in short}
        facts = Facts(**journal.content["fixed"])
        space = Space(replace(self._wish, cards=facts.cards), facts, tried)
        if self._study is None:
            path = journal.directory / _STUDY
            self._study = Study(path, self._config.seed, self._maximize)
        study, grammar = self._study, LayoutGrammar(space)
        study.follow(grammar, tried)
        lost = study.lost(grammar)
        left = [layout for layout in space if layout not in tried and layout not in lost]
        if not left:
            return None
        batch_size = _layout(short[0]["layout"]).batch_size
        ruled = next((each for each in space.by_rule(batch_size) if each in left), None)
        if ruled is not None:
            study.begin(grammar, ruled)
            return ruled
        if len(short) < MOST_SHORT - _LAST_NEAR_BEST:
            near = study.propose(grammar, tried)
            if near in left:
                return near
            study.follow(grammar, tried)
        else:
            near = _layout(self._best(short)[0]["layout"])
        nearest = min(left, key=lambda layout: layout_distance(layout, near))
        study.begin(grammar, nearest)
        return nearest

    def _best(self, runs: Sequence[Run]) -> list[Run]:
        """Those that were measured, the best first."""
        measured = [run for run in runs if run["passed"]]
        return sorted(measured, key=lambda run: run["value"], reverse=self._maximize)

    def judge(self, result: Result, attempt: Attempt) -> dict[str, Any]:
        full = attempt.full
        why = "" if result.metric.value > 0 else "nothing was measured"
        if full:
            why = why or "; ".join(result.invalid_reasons)
            if result.verification is not None and not result.verification.passed:
                why = why or result.verification.sentence
        return {
            "layout": layout_of(result),
            "full": full,
            "passed": not why,
            "why": why,
            "value": result.metric.value or None,
            "unit": result.metric.unit,
            "valid": result.valid,
            "duration_s": result.duration_s,
            "verdict": result.verdict,
            "doubts": result.doubts,
        }

    def failed(self, attempt: Attempt, error: LoadgenGenericError) -> dict[str, Any]:
        layout = {
            "runner": attempt.config.runner,
            "concurrency": attempt.config.concurrency,
            "batch_size": attempt.config.batch_size,
        }
        if attempt.config.intra_op_threads:
            layout["intra_op_threads"] = attempt.config.intra_op_threads
        return {
            "layout": layout,
            "full": attempt.full,
            "passed": False,
            "why": str(error),
            "value": None,
            "doubts": [],
        }

    def answer(self, journal: Journal) -> Answer:
        short, full = _by_length(journal.runs)
        ranked = self._best(full)
        chosen = ranked[0] if ranked else full[0]
        value = format_measured(chosen["value"], chosen["unit"]) if chosen["value"] else "no result"
        if ranked:
            sentence = (
                f"{_words(chosen['layout'])} is the best of {len(short)} layouts tried: {value} "
                f"in a test of full length ({len(journal.runs)} trials)."
            )
        else:
            sentence = (
                f"{_words(chosen['layout'])} was the best of {len(short)} layouts in short trials, "
                f"but no test of full length passed: {chosen['why']}."
            )
        winner = self._trial(chosen["layout"], full=True)
        found = Search(
            option="",
            unit=chosen["unit"],
            highest_valid=None,
            lowest_invalid=None,
            layout=chosen["layout"],
            trials=len(journal.runs),
            sentence=sentence,
            command=to_paste(winner) if ranked else "",
            file=str(journal.path),
        )
        better = "another layout may be as fast"
        return Answer(chosen, better, {"search": found}, found.model_dump())

    def keep(self, journal: Journal) -> None:
        """Nothing is known before the tests of full length."""

    def cells(self, runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return list(self._rows(runs))

    def _rows(self, runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
        short, _ = _by_length(runs)
        for run in runs:
            before = [other for other in short if other["number"] <= run["number"]]
            told = "" if run["passed"] else f"failed: {run['why']}"
            if not run["full"] and run["passed"] and self._best(before)[0] is run:
                told = "best so far"
            yield (
                str(run["number"]),
                _words(run["layout"]),
                "full" if run["full"] else "short",
                format_measured(run["value"], run["unit"]) if run["value"] else "-",
                told,
            )


def _by_length(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """The short trials, and those of full length."""
    return [run for run in runs if not run["full"]], [run for run in runs if run["full"]]


def _layout(options: Mapping[str, Any]) -> Layout:
    return Layout(
        options["runner"],
        options["concurrency"],
        options.get("intra_op_threads", 1),
        options["batch_size"],
        len(options["devices"].split(",")) if "devices" in options else 0,
    )


def _options(layout: Layout, threaded: bool) -> dict[str, Any]:
    options = {
        "runner": layout.runner,
        "concurrency": layout.workers,
        "batch_size": layout.batch_size,
    }
    return {**options, "intra_op_threads": layout.intra_op_threads} if threaded else options


def _words(options: Mapping[str, Any]) -> str:
    if "intra_op_threads" in options:
        return str(_layout(options))
    return f"{options['runner']}, {options['concurrency']} worker(s), batch {options['batch_size']}"
