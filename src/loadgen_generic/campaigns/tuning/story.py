"""What is known so far of a tuning: the journal, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import median
from typing import Any

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.space import Facts
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.objective import Objective
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.trial import Entry, Tried, tried
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.tuning import LeftOut

__all__ = ["DEFAULT_BUDGET_SEC", "Story"]

DEFAULT_BUDGET_SEC = 600.0
# A family that reaches less than this share of the best is not searched.
_LEFT_BEHIND = 0.7
# The share of the reference's hits that a candidate has to reach, as in MLPerf's closed division.
_LEAST_ACCURACY = 0.99


class Story:
    """Read anew before each step, so that it holds nothing that the journal does not.

    Attributes:
        families: by name, the default's first.
        checks: the entry in which each family was verified.
        tried: the settings that were timed, the default first.
    """

    def __init__(self, config: BenchmarkConfig, journal: Journal, objective: Objective) -> None:
        self._journal, self.objective = journal, objective
        self.config = config
        space = journal.content["space"]
        self.families = {each["name"]: Family.of(each) for each in space["families"]}
        self.left_out = [LeftOut.model_validate(each) for each in space["left_out"]]
        self.checks: dict[str, Entry] = {
            each["family"]: each for each in journal.runs if each["phase"] == "check"
        }
        self.tried: Sequence[Tried] = tried(journal.runs)

    @property
    def runs(self) -> list[Entry]:
        return self._journal.runs

    @property
    def default_family(self) -> Family:
        return next(iter(self.families.values()))

    def refused(self, name: str) -> str:
        """Why a family is not timed; empty if its answers are right, or there are none."""
        check = self.checks.get(name)
        if check is None:
            return ""
        if not check["passed"]:
            return str(check["why"])
        right = self._accuracy(self.default_family.name)
        found = self._accuracy(name)
        if right and found is not None and found < _LEAST_ACCURACY * right:
            return (
                f"{100 * found:.3g} % of the labels are found, less than "
                f"{100 * _LEAST_ACCURACY:g} % of the {100 * right:.3g} % in "
                f"{self.default_family.name}"
            )
        return ""

    def _accuracy(self, name: str) -> float | None:
        verification = self.checks[name].get("verification") or {}
        accuracy: float | None = verification.get("accuracy")
        return accuracy

    @cached_property
    def right(self) -> list[Family]:
        """Families that may be timed."""
        return [each for name, each in self.families.items() if not self.refused(name)]

    @property
    def broken(self) -> dict[str, str]:
        """Families that did not run in their screen, and why."""
        return {
            each["family"]: str(each["why"])
            for each in self.runs
            if each["phase"] == "screen" and each.get("broken") and "setting" not in each
        }

    @property
    def finalists(self) -> list[Tried]:
        """The default first; empty before they were chosen."""
        settings = [Setting.of(each) for each in self._journal.content.get("finalists", [])]
        known = {each.setting: each for each in self.tried}
        return [known[each] for each in settings]

    def of_family(self, name: str) -> list[Tried]:
        return [each for each in self.tried if each.setting.family == name]

    def screen(self, name: str) -> Tried | None:
        """The setting that was chosen automatically in a family."""
        found = self.of_family(name)
        return next((each for each in found if each.of("screen")), None)

    def left_behind(self, name: str) -> bool:
        """Whether a family is too slow to search it, by its best setting before the search."""
        own = self.ranked([each for each in self.of_family(name) if self._first(each)])
        every = self.ranked([each for each in self.tried if each.of("screen")])
        top = self.value(every[0]) if every else None
        value = self.value(own[0]) if own else None
        return value is None or top is None or self.times(value, top) < _LEFT_BEHIND

    def _first(self, each: Tried) -> bool:
        """Whether it is the automatic layout of a family, or its second chance."""
        return bool(each.of("screen")) or each.second_chance

    def facts(self, name: str) -> Facts:
        screen = self.screen(name)
        assert screen is not None
        return Facts(**screen.of("screen")[0]["facts"])

    @property
    def bound(self) -> Mapping[str, Any]:
        """The latency bound as the default had it in force, as options; empty without one."""
        first = next((each for each in self.runs if each.get("bound")), None)
        return first["bound"] if first is not None else {}

    def value(self, each: Tried, full: bool = False) -> float | None:
        return self.objective.value(each.entries, full)

    def times(self, value: float, of: float) -> float:
        """How many times as fast one value is as another."""
        return value / of if self.objective.higher_is_better else of / value

    def ranked(self, candidates: Sequence[Tried], full: bool = False) -> list[Tried]:
        """Those with a value, the best first."""
        valued = [each for each in candidates if self.value(each, full) is not None]
        return sorted(
            valued,
            key=lambda each: self.value(each, full) or 0.0,
            reverse=self.objective.higher_is_better,
        )

    @property
    def best(self) -> Tried | None:
        return next(iter(self.ranked(self.tried)), None)

    @property
    def budget_s(self) -> float:
        return self.config.budget_sec or DEFAULT_BUDGET_SEC

    @property
    def used_s(self) -> float:
        return sum((float(each.get("took_s", 0.0)) for each in self.runs), 0.0)

    def usual_s(self, *phases: str) -> float:
        """What a trial of these phases took, and 0 if there was none."""
        took = [each["took_s"] for each in self.runs if each["phase"] in phases]
        return median(took) if took else 0.0

    @property
    def overhead_s(self) -> float:
        """What a run takes beside its test."""
        beside = [
            each["took_s"] - each["duration_s"]
            for each in self.runs
            if each["phase"] in ("search", "screen", "longer") and each.get("duration_s")
        ]
        return median(beside) if beside else 0.0

    def setting(self, content: Mapping[str, Any]) -> Tried | None:
        wanted = Setting.of(content)
        return next((each for each in self.tried if each.setting == wanted), None)
