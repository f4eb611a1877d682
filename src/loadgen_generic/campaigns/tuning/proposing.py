"""Which setting is tried next: proposals of optuna among what families and layouts leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadgen_generic.campaigns.space import Space, layout_distance
from loadgen_generic.campaigns.study import Study
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.campaigns.tuning.setting import Setting, SettingGrammar
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.devices import cards_asked_for
from loadgen_generic.machine import available_cores
from loadgen_generic.runners.auto import LONGEST_BATCH_SEC
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import wish_of
from loadgen_generic.tensors import SamplePlan

__all__ = ["Proposer"]

# The search is over when so many settings in a row brought less than the least gain.
_PATIENCE, _LEAST_GAIN = 10, 1.01
_MOST = 40
# Every third setting is next to the best so far: proposals get near it, and seldom to it.
_NEAR_BEST = 3
# An inference may take this share of Server's bound: a query may wait for one before its own.
_SHARE_OF_BOUND = 0.5


class Proposer:
    """Proposes settings, and has optuna judge which of them deserve a longer test."""

    def __init__(self, study: Study[Setting], story: Story, runs: Runs) -> None:
        self._study, self._story = study, story
        # Also one whose automatic layout passed with no load at all: another may be fast.
        screens = [(each, story.screen(each.name)) for each in story.right]
        ran = [each for each, screen in screens if screen is not None and not screen.failed]
        self._ran = {each.name: _space(story, runs, each) for each in ran}
        self._spaces = {n: space for n, space in self._ran.items() if not story.left_behind(n)}
        self._grammar = SettingGrammar(story.families, self._spaces)

    def second_chance(self) -> Setting | None:
        """The best layout of all, for a family that is behind with its own: what was chosen
        there in a moment may have been chosen badly."""
        best = self._story.best
        if best is None:
            return None
        for name in (each for each in self._ran if each not in self._spaces):
            of_family = self._story.of_family(name)
            layout = best.setting.layout
            if layout.runner not in self._ran[name].runners:
                layout = next(self._ran[name].by_rule(layout.batch_size))
            choices = ((c.option, c.values[0]) for c in self._story.families[name].choices)
            setting = Setting(name, layout, tuple(choices))
            given = any(each.of("search") for each in of_family)
            if not given and setting not in {each.setting for each in of_family}:
                return setting
        return None

    def next(self) -> Setting | None:
        """The setting to try next; None when no more is worth it."""
        story, study, grammar = self._story, self._study, self._grammar
        searched = [e for e in story.tried if e.of("search") and not e.second_chance]
        if len(searched) >= _MOST or _idle(story) >= _PATIENCE:
            return None
        tried = {each.setting for each in story.tried}
        self._follow()
        lost = study.lost(grammar)
        left = [each for each in grammar if each not in tried and each not in lost]
        best = story.best
        if not left or best is None:
            return None
        ruled = self._ruled(best.setting, left)
        if ruled is not None:
            study.begin(grammar, ruled)
            return ruled
        near = best.setting
        if len(searched) % _NEAR_BEST != _NEAR_BEST - 1 or near.family not in self._spaces:
            near = study.propose(grammar, tried)
            if near in left:
                return near
            self._follow()
        nearest = min(left, key=lambda each: _apart(each, near))
        study.begin(grammar, nearest)
        return nearest

    def promising(self, value: float) -> bool:
        self._follow()
        return self._study.promising(value)

    def _follow(self) -> None:
        measured: dict[Setting, float | None] = {}
        pruned: dict[Setting, float] = {}
        possible = set(self._grammar)
        for each in self._story.tried:
            if each.setting not in possible:
                continue
            value, most = self._story.value(each), self._story.objective.at_most(each.entries)
            if value is not None and any(entry.get("followed") is False for entry in each.entries):
                pruned[each.setting] = value
            elif value is None and most is not None:
                # optuna learns nothing from a failure, but of how little it would hold it does.
                pruned[each.setting] = most
            else:
                measured[each.setting] = value
        self._study.follow(self._grammar, measured, pruned)

    def _ruled(self, best: Setting, left: Sequence[Setting]) -> Setting | None:
        """What the rules would compare in the best family, first of all."""
        if best.family not in self._spaces:
            return None
        for layout in self._spaces[best.family].by_rule(best.layout.batch_size):
            setting = replace(best, layout=layout)
            if setting in left:
                return setting
        return None


def _space(story: Story, runs: Runs, family: Family) -> Space:
    config = runs.screen(family, story.bound)
    facts = story.facts(family.name)
    wish = wish_of(config, SamplePlan((), batched=True), available_cores(), cards_asked_for(config))
    bound_ms = story.bound.get("target_latency_ms")
    longest = _SHARE_OF_BOUND * bound_ms / 1000 if bound_ms else LONGEST_BATCH_SEC
    share = min(1.0, longest / LONGEST_BATCH_SEC)
    rates: dict[Layout, float | None] = {}
    for each in story.of_family(family.name):
        rate = max((entry.get("rate") or 0.0 for entry in each.entries), default=0.0)
        rates[each.setting.layout] = share * rate or None
    return Space(replace(wish, cards=facts.cards), facts, rates)


def _idle(story: Story) -> int:
    """How many settings in a row brought no gain to speak of, since the search began."""
    idle, best = 0, None
    for each in story.tried:
        value = story.value(each)
        if value is not None and (best is None or story.times(value, best) >= _LEAST_GAIN):
            best, idle = value, 0
        elif each.of("search") and not each.second_chance:
            idle += 1
    return idle


def _apart(one: Setting, other: Setting) -> tuple[float, float]:
    """How different two settings are; see :func:`~loadgen_generic.campaigns.space.layout_distance`."""
    apart, ties = layout_distance(one.layout, other.layout)
    chosen = sum(value not in other.choices for value in one.choices)
    return apart + chosen + 3 * (one.family != other.family), ties
