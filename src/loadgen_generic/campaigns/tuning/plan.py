"""The search for the fastest setting that gives the right answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loadgen_generic.campaigns.journal import Journal
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
from loadgen_generic.campaigns.tuning.objectives import objective_of
from loadgen_generic.campaigns.tuning.proposing import Proposer
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Tried
from loadgen_generic.campaigns.tuning.worth import rungs
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError, RunError
from loadgen_generic.quantization import quantized
from loadgen_generic.results.result import Result
from loadgen_generic.results.tuning import LeftOut

__all__ = ["TuneSearch"]

_MODELS, _STUDY = "models", "tune.db"
# Trials of the way from the default to the winner, at most as many as there are choices.
_WAY = 4
# What is further behind the best in a short trial is not looked at longer.
_WORTH_A_LOOK = 0.9


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
            attempt = self._short(story, runs, screen, others, "screen")
            if attempt is not None:
                return attempt
        return None

    def _short(
        self, story: Story, runs: Runs, each: Tried, others: list[Tried], phase: str
    ) -> Attempt | None:
        """The next short test of a setting, if it needs one; none after one that broke."""
        if each.broke:
            return None
        best = next(iter(story.ranked(others)), None) if phase != "worth" else None
        to_beat = story.value(best) if best is not None else None
        config = self._test(story, runs, each.setting)
        layout_open = phase == "screen" or each.second_chance
        short = self._objective.short(config, each.entries, to_beat or 0.0, layout_open)
        if short is None:
            return None
        about = {"phase": phase, "family": each.setting.family, "setting": each.setting.as_json()}
        return Attempt(short, full=False, may_fail=True, about=about)

    def _test(
        self, story: Story, runs: Runs, setting: Setting, verified: bool = False
    ) -> BenchmarkConfig:
        family = story.families[setting.family]
        threaded = story.facts(setting.family).threaded
        return runs.test(family, setting, threaded, story.bound, verified)

    def _search(self, journal: Journal, story: Story) -> Attempt | None:
        if "finalists" in journal.content or story.best is None:
            return None
        runs, last = self._runs(journal), story.tried[-1]
        if self._study is None:
            path = journal.directory / _STUDY
            self._study = Study(path, self._config.seed, self._objective.higher_is_better)
        proposer = Proposer(self._study, story, runs)
        if last.of("search") and not last.failed:
            others = [each for each in story.tried if each is not last]
            attempt = self._short(story, runs, last, others, "search")
            attempt = attempt or self._longer(journal, story, proposer, last)
            if attempt is not None:
                return attempt
        step_s = story.usual_s("search") or story.usual_s("screen")
        if story.used_s + step_s + reserve_s(story) + _WAY * step_s > story.budget_s:
            return None
        second = proposer.second_chance()
        setting = second or proposer.next()
        if setting is None:
            return None
        attempt = self._short(story, runs, Tried(0, setting), list(story.tried), "search")
        if second is not None and attempt is not None:
            attempt = replace(attempt, about={**attempt.about, "second": True})
        return attempt

    def _longer(
        self, journal: Journal, story: Story, proposer: Proposer, last: Tried
    ) -> Attempt | None:
        entry, value = last.of("search")[-1], story.value(last)
        if value is None or entry.get("followed") is False or last.of("longer"):
            return None
        config = self._test(story, self._runs(journal), last.setting)
        longer = self._objective.longer(config)
        if longer is None:
            return None
        if "followed" not in entry:
            best = story.best
            top = story.value(best) if best is not None else None
            near = top is None or story.times(value, top) >= _WORTH_A_LOOK
            entry["followed"] = near and proposer.promising(value)
            journal.save()
        if not entry["followed"]:
            return None
        about = {
            "phase": "longer",
            "family": last.setting.family,
            "setting": last.setting.as_json(),
        }
        return Attempt(longer, full=False, may_fail=True, about=about)

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
        tests: dict[int, tuple[BenchmarkConfig, bool]] = {}
        for each in still_in(finalists):
            verified = not any(entry["full"] for entry in each.of("final"))
            config = self._test(story, self._runs(journal), each.setting, verified)
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
        return Attempt(config, full=full, may_fail=turn is not finalists[0], about=about)

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
        runs = self._runs(journal)
        for rung in rungs(story, default.setting, winner.setting):
            at = story.setting(rung.setting.as_json()) or Tried(0, rung.setting)
            if at.setting == winner.setting or (at.entries and at.failed):
                continue
            attempt = self._short(story, runs, at, [], "worth")
            if attempt is not None:
                return attempt
        return None

    def fix(self, result: Result) -> dict[str, Any]:
        """Nothing: what the trials have in common is in their entries."""
        return {}

    def judge(self, result: Result, attempt: Attempt) -> dict[str, Any]:
        return judged(result, attempt, self._objective, self._families)

    def failed(self, attempt: Attempt, error: LoadgenGenericError) -> dict[str, Any]:
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
