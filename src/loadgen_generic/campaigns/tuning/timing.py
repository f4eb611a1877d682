"""The next test of one setting: short ones, and longer ones of those that deserve them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.campaigns.tuning.proposing import Proposer
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Tried
from loadgen_generic.config import BenchmarkConfig

__all__ = ["Timing"]

# What is further behind the best in a short trial is not looked at longer.
_WORTH_A_LOOK = 0.9


@dataclass(frozen=True, slots=True)
class Timing:
    """Each method gives None where no test is due."""

    story: Story
    runs: Runs

    def test(self, setting: Setting, verified: bool = False) -> BenchmarkConfig:
        """A test of full length."""
        story = self.story
        family, threaded = story.families[setting.family], story.facts(setting.family).threaded
        return self.runs.test(family, setting, threaded, story.bound, verified)

    def short(self, each: Tried, others: Sequence[Tried], phase: str) -> Attempt | None:
        """The next short test of a setting; none after one that broke."""
        if each.broke:
            return None
        to_beat = self._best_of(others) if phase != "worth" else 0.0
        layout_open = phase == "screen" or each.second_chance
        config = self.test(each.setting)
        short = self.story.objective.short(config, each.entries, to_beat, layout_open)
        return _attempt(short, phase, each)

    def longer(self, each: Tried, proposer: Proposer) -> Attempt | None:
        """A longer test of what was just searched, where it is promising; notes in its last entry
        whether it is."""
        entry, value = each.of("search")[-1], self.story.value(each)
        if value is None or entry.get("followed") is False or each.of("longer"):
            return None
        longer = self.story.objective.longer(self.test(each.setting))
        if longer is None:
            return None
        if "followed" not in entry:
            top = self._best_of(self.story.tried)
            near = not top or self.story.times(value, top) >= _WORTH_A_LOOK
            entry["followed"] = near and proposer.promising(value)
        return _attempt(longer, "longer", each) if entry["followed"] else None

    def _best_of(self, others: Sequence[Tried]) -> float:
        """The value of the best; 0 where there is none."""
        best = next(iter(self.story.ranked(others)), None)
        return (self.story.value(best) or 0.0) if best is not None else 0.0


def _attempt(config: BenchmarkConfig | None, phase: str, each: Tried) -> Attempt | None:
    if config is None:
        return None
    about = {"phase": phase, "family": each.setting.family, "setting": each.setting.as_json()}
    return Attempt(config, full=False, may_fail=True, stoppable=True, about=about)
