"""The search for the fastest setting that gives the right answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.overload import overloaded
from loadgen_generic.campaigns.strategy import Answer, Attempt
from loadgen_generic.campaigns.study import Study
from loadgen_generic.campaigns.tuning.answer import answer, columns, keep, rows
from loadgen_generic.campaigns.tuning.families import find_families
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.finals import (
    choose_finalists,
    decide,
    finals_s,
    latecomer,
    next_finalist,
    reserve_s,
    still_in,
)
from loadgen_generic.campaigns.tuning.judging import judged
from loadgen_generic.campaigns.tuning.objective import objective_of
from loadgen_generic.campaigns.tuning.proposing import Proposer
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.timing import Timing
from loadgen_generic.campaigns.tuning.trial import Tried
from loadgen_generic.campaigns.tuning.worth import rungs
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError, OverloadedError, RunError
from loadgen_generic.quantization import quantized
from loadgen_generic.results.result import Result
from loadgen_generic.results.tuning import LeftOut

__all__ = ["TuneSearch"]

_MODELS, _STUDY = "models", "tune.db"
# Trials of the way from the default to the winner, at most as many as there are choices.
_WAY = 4


class TuneSearch:
    """A :class:`~loadgen_generic.campaigns.strategy.Strategy`. Its phases: ``check`` the answers
    of each family, ``screen`` each with an automatic layout, ``search`` settings (and look
    ``longer`` at good ones), ``final`` tests of full length, and what each choice is ``worth``.

    Args:
        tell: told what takes a while, beside the trials.
    """

    columns = columns

    def __init__(
        self, config: BenchmarkConfig, model_path: str, tell: Callable[[str], None]
    ) -> None:
        self._config, self._model_path, self._tell = config, model_path, tell
        self._objective = objective_of(config)
        self._families: dict[str, Family] = {}
        self._study: Study[Setting] | None = None

    def next(self, journal: Journal) -> Attempt | None:
        if "space" not in journal.content:
            families, left_out = find_families(self._config, self._model_path, self._tell)
            journal.content["space"] = {
                "families": [each.as_json() for each in families],
                "left_out": [each.model_dump() for each in left_out],
            }
            journal.save()
        space = journal.content["space"]
        self._families = {each["name"]: Family.of(each) for each in space["families"]}
        for phase in (self._check, self._screen, self._search, self._final, self._worth):
            attempt = phase(journal, Story(self._config, journal, self._objective))
            if attempt is not None:
                return attempt
        return None

    def _runs(self, journal: Journal) -> Runs:
        return Runs(self._config, self._model_path, journal.content.get("quantized", ""))

    def _check(self, journal: Journal, story: Story) -> Attempt | None:
        if self._config.backend == "fake":
            return None  # it has no answers
        for name, family in story.families.items():
            if name in story.checks:
                continue
            if family.quantized and not self._quantize(journal):
                return self._check(journal, Story(self._config, journal, self._objective))
            config = self._runs(journal).check(family)
            first = family == story.default_family
            about = {"phase": "check", "family": name}
            return Attempt(config, full=False, may_fail=not first, about=about)
        return None

    def _quantize(self, journal: Journal) -> bool:
        """Make the model in int8; where that fails its families are left out."""
        if journal.content.get("quantized"):
            return True
        try:
            directory = journal.directory / _MODELS
            made = quantized(self._config, self._model_path, directory, self._tell)
        except RunError as error:
            space = journal.content["space"]
            for each in [each for each in space["families"] if each["quantized"]]:
                space["families"].remove(each)
                space["left_out"].append(LeftOut(what=each["name"], why=str(error)).model_dump())
            journal.save()
            return False
        journal.content["quantized"] = str(made.path)
        journal.save()
        return True

    def _screen(self, journal: Journal, story: Story) -> Attempt | None:
        if any(each["phase"] in ("search", "final") for each in journal.runs):
            return None  # what the best has reached since is no reason to look again
        runs = self._runs(journal)
        timing = Timing(story, runs)
        for family in story.right:
            about = {"phase": "screen", "family": family.name}
            screen, first = story.screen(family.name), family == story.default_family
            if screen is None:
                if family.name in story.broken:
                    continue
                config = self._objective.short(runs.screen(family, story.bound), [], 0.0, True)
                assert config is not None
                return Attempt(config, full=False, may_fail=not first, about=about)
            others = [each for each in story.tried if each.setting.family != family.name]
            attempt = timing.short(screen, others, "screen")
            if attempt is not None:
                return attempt
        return None

    def _search(self, journal: Journal, story: Story) -> Attempt | None:
        if "finalists" in journal.content or story.best is None:
            return None
        runs, last = self._runs(journal), story.tried[-1]
        timing = Timing(story, runs)
        if self._study is None:
            path = journal.directory / _STUDY
            self._study = Study(path, self._config.seed, self._objective.higher_is_better)
        proposer = Proposer(self._study, story, runs)
        if last.of("search") and not last.failed:
            others = [each for each in story.tried if each is not last]
            attempt = timing.short(last, others, "search") or timing.longer(last, proposer)
            if attempt is not None:
                return attempt
        step_s = story.usual_s("search") or story.usual_s("screen")
        if story.used_s + step_s + reserve_s(story) + _WAY * step_s > story.budget_s:
            return None
        second = proposer.second_chance()
        setting = second or proposer.next()
        if setting is None:
            return None
        attempt = timing.short(Tried(0, setting), story.tried, "search")
        if second is not None and attempt is not None:
            attempt = replace(attempt, about={**attempt.about, "second": True})
        return attempt

    def _final(self, journal: Journal, story: Story) -> Attempt | None:
        if not story.tried or story.best is None:
            return None
        if "finalists" not in journal.content:
            reserve = _WAY * (story.usual_s("search") or story.usual_s("screen"))
            chosen, rounds = choose_finalists(story, reserve)
            journal.content["finalists"] = [each.setting.as_json() for each in chosen]
            journal.content["rounds"] = rounds
            journal.save()
            self._tell_if_late(story, len(chosen), rounds)
        finalists, rounds = story.finalists, journal.content["rounds"]
        timing = Timing(story, self._runs(journal))
        tests: dict[int, tuple[BenchmarkConfig, bool]] = {}
        for each in still_in(finalists):
            verified = not any(e["full"] and not e.get("stopped") for e in each.of("final"))
            config = timing.test(each.setting, verified)
            test = self._objective.full(config, each.entries, rounds)
            if test is not None:
                tests[each.number] = test
        if not tests:
            if (late := latecomer(story)) is None:
                return None
            journal.content["finalists"].append(late.setting.as_json())
            journal.save()
            return self._final(journal, story)
        turn = next_finalist(finalists, [each for each in finalists if each.number in tests])
        config, full = tests[turn.number]
        about = {
            "phase": "final",
            "family": turn.setting.family,
            "setting": turn.setting.as_json(),
        }
        # The default stands for the answer where nothing passes, so it needs a result.
        other = turn is not finalists[0]
        return Attempt(config, full=full, may_fail=other, stoppable=other, about=about)

    def _tell_if_late(self, story: Story, finalists: int, rounds: int) -> None:
        late = story.used_s + finals_s(story, finalists, rounds) - story.budget_s
        if late > 0:
            self._tell(
                f"the budget of {story.budget_s:.0f} s is too small: the tests of full length that "
                f"decide will take it some {late:.0f} s beyond"
            )

    def _worth(self, journal: Journal, story: Story) -> Attempt | None:
        finalists = story.finalists
        if not finalists:
            return None
        winner, default = decide(story, finalists).winner, finalists[0]
        step_s = story.usual_s("search") or story.usual_s("screen")
        if self._objective.varies_load and story.used_s + step_s > story.budget_s:
            return None
        timing = Timing(story, self._runs(journal))
        for rung in rungs(story, default.setting, winner.setting):
            at = story.setting(rung.setting.as_json()) or Tried(0, rung.setting)
            if at.setting == winner.setting or (at.entries and at.failed):
                continue
            attempt = timing.short(at, [], "worth")
            if attempt is not None:
                return attempt
        return None

    def fix(self, result: Result) -> dict[str, Any]:
        """Nothing: what the trials have in common is in their entries."""
        return {}

    def judge(self, result: Result, attempt: Attempt) -> dict[str, Any]:
        return judged(result, attempt, self._objective, self._families)

    def failed(self, attempt: Attempt, error: LoadgenGenericError) -> dict[str, Any]:
        if isinstance(error, OverloadedError):
            rate = {"unit": self._objective.unit, "rate": error.answered_per_sec}
            return {**attempt.about, **overloaded(attempt.config, attempt.full, error), **rate}
        return {
            **attempt.about,
            "full": attempt.full,
            "passed": False,
            "broken": True,
            "why": str(error),
            "doubts": [],
        }

    def cells(self, runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return rows(runs, self._objective)

    def keep(self, journal: Journal) -> None:
        keep(Story(self._config, journal, self._objective), journal, self._runs(journal))

    def answer(self, journal: Journal) -> Answer:
        story = Story(self._config, journal, self._objective)
        return answer(story, journal, self._runs(journal))
