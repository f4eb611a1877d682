"""The tests of full length that decide: who takes part, in which order, and who wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.campaigns.lengths import full_seconds
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Tried

__all__ = [
    "Verdict",
    "choose_finalists",
    "decide",
    "finals_s",
    "latecomer",
    "next_finalist",
    "reserve_s",
    "still_in",
]

_FEWEST_FINALISTS, _MOST_FINALISTS, _MOST_WITH_LATE = 2, 4, 6
_FEWEST_ROUNDS, _USUAL_ROUNDS, _MOST_ROUNDS = 2, 3, 5
# A runner-up that is further behind in short trials would have to be very unlucky in them.
_NEAR = 0.93
# Further ahead by its short tests than this, a setting that was left out may yet be the best.
_OVERTAKES = 1.05
# Where so many trials were disturbed, short ones say less of who is near.
_DISTURBED_SHARE, _NEAR_IF_DISTURBED = 0.25, 0.8


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    winner: the default, or what beat it by more than the noise.
    best: the fastest that is right, also within the noise; None where no test passed.
    gain: of ``best``, how many times as fast as the default; None where that has no value.
    noise, spread: see :class:`~loadgen_generic.results.tuning.Tuning`.
    """

    winner: Tried
    best: Tried | None
    gain: float | None
    noise: float
    spread: float


def reserve_s(story: Story) -> float:
    """What the search leaves of the budget for the finals, in s: what they usually take, but
    half of the budget only for the least that still says something."""
    least = finals_s(story, _FEWEST_FINALISTS, _FEWEST_ROUNDS)
    usual = finals_s(story, _MOST_FINALISTS, _USUAL_ROUNDS)
    return min(usual, max(least, story.budget_s / 2))


def finals_s(story: Story, finalists: int, rounds: int) -> float:
    """How long the finals take, in s, by what a run took so far."""
    one = full_seconds(story.config) + story.overhead_s
    return finalists * story.objective.tests_needed(rounds) * one


def choose_finalists(story: Story, after_s: float) -> tuple[list[Tried], int]:
    """Who takes part, the default first, and how many rounds there are.

    The best, the next best that is not far behind, and, if the best has less precision than
    the default, the best of the default's precision: what precision brings has to be known.

    Args:
        after_s: of the budget, for what comes after.
    """
    default, ranked = story.tried[0], story.ranked(story.tried)
    chosen = [default]
    near = _NEAR_IF_DISTURBED if _disturbed(story) else _NEAR
    best = ranked[0]
    alike = story.families[default.setting.family].precision
    for each in (best, *(e for e in ranked if story.families[e.setting.family].precision == alike)):
        if each not in chosen:
            chosen.append(each)
        if len(chosen) == 3 or story.families[best.setting.family].precision == alike:
            break
    top = story.value(best) or 0.0
    for each in ranked:
        if len(chosen) == _MOST_FINALISTS:
            break
        if each not in chosen and story.times(story.value(each) or 0.0, top) >= near:
            chosen.append(each)
    left = story.budget_s - story.used_s - after_s
    rounds = _MOST_ROUNDS
    while rounds > _FEWEST_ROUNDS and finals_s(story, len(chosen), rounds) > left:
        rounds -= 1
    while len(chosen) > _FEWEST_FINALISTS and finals_s(story, len(chosen), rounds) > left:
        chosen.pop()
    return chosen, rounds


def latecomer(story: Story) -> Tried | None:
    """Who else takes part once the others are through, and None if there is nobody: a setting that
    short tests put ahead of what the best turned out to bear at full length.

    Short tests with a load flatter a setting that bears it for a while, some more than others. Where
    one test is the value this does not happen, and rounds are to be run in turn.
    """
    finalists = story.finalists
    late = finals_s(story, 1, _FEWEST_ROUNDS)
    if not story.objective.varies_load or len(finalists) >= _MOST_WITH_LATE:
        return None
    if story.used_s + late > story.budget_s:
        return None
    others = [each for each in story.tried if each not in finalists and not each.broke]
    nearest = next(iter(story.ranked(others)), None)
    best = next(iter(story.ranked(still_in(finalists), full=True)), None)
    if nearest is None or best is None:
        return nearest
    ahead = story.times(story.value(nearest) or 0.0, story.value(best, full=True) or 0.0)
    return nearest if ahead > _OVERTAKES else None


def _disturbed(story: Story) -> bool:
    runs = [each for each in story.runs if each["phase"] != "check"]
    return sum(bool(each["doubts"]) for each in runs) > _DISTURBED_SHARE * len(runs)


def still_in(finalists: Sequence[Tried]) -> list[Tried]:
    """Those of which no final test broke or was found wrong."""
    return [
        each
        for each in finalists
        if not any(entry.get("broken") or entry.get("wrong") for entry in each.of("final"))
    ]


def next_finalist(finalists: Sequence[Tried], unsettled: Sequence[Tried]) -> Tried:
    """Whose turn it is: everybody once a round, and every other round backwards, so that a
    machine that slows down does not choose the winner.

    Args:
        unsettled: those of the finalists whose value is not confirmed yet.
    """
    fewest = min(len(each.of("final")) for each in unsettled)
    waiting = [each for each in unsettled if len(each.of("final")) == fewest]
    order = list(finalists) if fewest % 2 == 0 else list(finalists)[::-1]
    return min(waiting, key=order.index)


def decide(story: Story, finalists: Sequence[Tried]) -> Verdict:
    """Who wins; all finals are over."""
    default, objective = finalists[0], story.objective
    ranked = story.ranked(still_in(finalists), full=True)
    if not ranked:
        return Verdict(default, None, None, 0.0, 0.0)
    best = ranked[0]
    spread = max(objective.spread(each.of("final")) for each in (best, default))
    if story.value(default, full=True) is None:
        return Verdict(best, best, None, spread, spread)
    gain, noise = objective.ahead(best.of("final"), default.of("final"))
    winner = best if gain > 1 + noise else default
    return Verdict(winner, best, gain, noise, spread)
