"""Which loads to try at once: the next one, and those that would follow from what it may say.

Pure, as the bisection is. Its way is the one that tests one after the other would take: of all that
were measured it heeds those that it asks for, in the order in which it asks. What was tried for
nothing so costs it no trial; but a pass stands, and one above the answer leads on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from loadgen_generic.campaigns.bisection import MOST_TRIALS, Step, Trial, next_step, settled

__all__ = ["ENOUGH", "follow", "foresee"]

# Trials, after which the answer is what is known: a machine whose passes mean nothing would lead on
# for ever.
ENOUGH = 5 * MOST_TRIALS

# Answers that are thought through for each step that is asked for; different ones often lead to
# the same step.
_THOUGHTS = 16


def follow(
    trials: Sequence[Trial], round_load: Callable[[float], float], least: float = 0.0
) -> Step | None:
    """The next step that has not been measured; None when the search is over.

    Args:
        trials: the first of the search, then any others in any order.
        round_load, least: as :func:`next_step` takes them.
    """
    way, beside = [trials[0]], list(trials[1:])
    most = MOST_TRIALS
    while True:
        step = next_step(way, round_load, least, most)
        if step is None:
            found = _pass_above(way, beside)
            most += 1  # it takes the place of none
        else:
            step = Step(round_load(step.load), step.full)
            found = next((each for each in beside if _is(each, step, round_load)), None)
        if found is None:
            return step
        beside.remove(found)
        way.append(found)


def foresee(
    trials: Sequence[Trial], round_load: Callable[[float], float], least: float, count: int
) -> list[Step]:
    """The next step and those after it, the nearest first.

    Args:
        count: how many at most.
    """
    steps: list[Step] = []
    if len(trials) >= ENOUGH:
        return steps
    ahead = deque([(tuple(trials), 0)])
    for _ in range(_THOUGHTS * count):
        if not ahead or len(steps) == count:
            break
        known, depth = ahead.popleft()
        step = follow(known, round_load, least)
        if step is None:
            continue
        if step not in steps:
            steps.append(step)
        for passed in (True, False):
            # While nothing has failed the loads grow fast, and a test that is overloaded k-fold
            # takes k times as long.
            if not (passed and depth and all(each.passed for each in known)):
                ahead.append(((*known, Trial(step.load, step.full, passed)), depth + 1))
    return steps


def _is(trial: Trial, step: Step, round_load: Callable[[float], float]) -> bool:
    return trial.full == step.full and round_load(trial.load) == step.load


def _pass_above(way: Sequence[Trial], beside: Sequence[Trial]) -> Trial | None:
    """The highest load beside the way that passed at full length, if it is above the answer."""
    low = settled(way).low or 0.0
    above = [each for each in beside if each.full and each.passed and each.load > low]
    return max(above, key=lambda each: each.load, default=None)
