"""Where the limit is: which load to try next, from the trials so far and nothing else.

Pure, so that a search that was killed goes on exactly where it was. Short trials bracket the
limit, bisection in log space narrows the bracket, and tests of full length decide: one at the
highest load that passed, one just above it. Only these make the answer.

A disturbance makes a test slower, never faster. So a pass stands, also at a load above one that
failed; a failure in a short trial is put to the test once more, at full length; and so is the
failure that bounds the answer, if the machine was disturbed meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = [
    "MOST_TRIALS",
    "PRECISION",
    "Bracket",
    "Step",
    "Trial",
    "bracket",
    "next_step",
    "settled",
    "short_step",
    "untried",
]

MOST_TRIALS = 12
# The bracket is narrow enough at this ratio of its ends.
PRECISION = 1.04
# Trials kept for tests of full length: two for the answer, two for a short trial that misled.
_KEPT = 4
# From one load that passed (or failed) to the next while there is nothing on the other side:
# twice, four times, then eight times as far. The first guess may be far off, and a test that
# is overloaded k-fold takes k times as long.
_GROWTH, _MOST_DOUBLINGS = 2.0, 3
# Of the most that was completed: what misses its bound at so little load misses it at any, and
# few queries a second take long to show it.
_LEAST_SHARE = 1 / 64
# Tests of full length that fail after short trials passed: so much less each time, the last again
# and again. A machine that became busy meanwhile may bear half of what it bore; a step that is too
# large leaves too much between the answer and what failed.
_BACK = (0.03, 0.09, 0.27)


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished test.

    Attributes:
        load: what it was loaded with, in the unit of the search.
        full: of the length that the answer needs, rather than a short one.
        passed: the load can be borne.
        sustained: what was completed at most, in the unit of the load, where the test was
            overloaded; 0 where it was not.
        hopeless: no load can pass, since a query on its own does not.
        doubtful: the machine was disturbed meanwhile.
    """

    load: float
    full: bool
    passed: bool
    sustained: float = 0.0
    hopeless: bool = False
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    load: float
    full: bool


@dataclass(frozen=True, slots=True)
class Bracket:
    """Highest load that passed and lowest above it that did not; None where there is none."""

    low: float | None
    high: float | None

    def narrow(self, precision: float) -> bool:
        return self.low is not None and self.high is not None and self.high <= self.low * precision


def settled(trials: Sequence[Trial]) -> Bracket:
    """What the tests of full length say."""
    return bracket([trial for trial in trials if trial.full])


def next_step(
    trials: Sequence[Trial],
    round_load: Callable[[float], float],
    least: float = 0.0,
    most_trials: int = MOST_TRIALS,
) -> Step | None:
    """The next trial; None when the search is over.

    Args:
        trials: at least the first.
        round_load: to what can be asked for. Two loads that round alike are one.
        least: no load is smaller.
    """
    if len(trials) >= most_trials or any(trial.hopeless for trial in trials):
        return None
    if not any(trial.passed for trial in trials):
        most = max(trial.sustained for trial in trials) or trials[0].load
        least = max(least, most * _LEAST_SHARE)
        if min(trial.load for trial in trials) <= round_load(least):
            return None
    again = _second_look(trials)
    if again is not None:
        return Step(again, True)
    done = {(trial.load, trial.full) for trial in trials}
    short = short_step(trials, round_load, least)
    started_full = any(trial.full for trial in trials)
    if short is not None and not started_full and len(trials) < most_trials - _KEPT:
        return Step(short, False)
    load = _full_step(trials, round_load, least)
    return None if load is None or (load, True) in done else Step(load, True)


def _second_look(trials: Sequence[Trial]) -> float | None:
    """The load above the answer, if it failed once and the machine was disturbed meanwhile."""
    known = settled(trials)
    if not known.narrow(PRECISION):
        return None
    failed = [trial for trial in trials if trial.full and trial.load == known.high]
    return known.high if len(failed) == 1 and failed[0].doubtful else None


def bracket(trials: Sequence[Trial]) -> Bracket:
    """What all tests say."""
    low = max((trial.load for trial in trials if trial.passed), default=None)
    above = [t.load for t in trials if not t.passed and (low is None or t.load > low)]
    return Bracket(low, min(above, default=None))


def untried(known: Bracket, round_load: Callable[[float], float]) -> float | None:
    """The load in the middle of a bracket with both ends that is wide; None if there is none."""
    if known.low is None or known.high is None or known.narrow(PRECISION):
        return None
    load = round_load(math.sqrt(known.low * known.high))
    # Whole numbers side by side: there is nothing between them.
    return load if known.low < load < known.high else None


def short_step(
    trials: Sequence[Trial], round_load: Callable[[float], float], least: float
) -> float | None:
    """The next load to narrow the bracket with; None if it is narrow."""
    known = bracket(trials)
    if known.narrow(PRECISION):
        return None
    if known.high is None:
        passes = sum(trial.passed for trial in trials)
        load = _of(known.low) * _GROWTH ** min(passes, _MOST_DOUBLINGS)
    elif known.low is None:
        fails = sum(not trial.passed for trial in trials)
        load = known.high / _GROWTH ** min(fails, _MOST_DOUBLINGS)
        if sustained := trials[-1].sustained:
            # What an overloaded system completes is near its limit, and above it.
            load = max(load, min(0.8 * sustained, known.high / 1.2))
    else:
        load = math.sqrt(known.low * known.high)
    load = round_load(max(load, least))
    return None if load in {trial.load for trial in trials} else load


def _full_step(
    trials: Sequence[Trial], round_load: Callable[[float], float], least: float
) -> float | None:
    """The next load for a test of full length; None if the answer is settled."""
    known = settled(trials)
    if known.narrow(PRECISION):
        return None
    everything = bracket(trials)
    if known.low is None and known.high is None:
        lowest = min(trial.load for trial in trials)
        return everything.low if everything.low is not None else max(lowest, least)
    if known.low is None:
        full = [trial for trial in trials if trial.full]
        down = _of(known.high) * (1 - _BACK[min(len(full), len(_BACK)) - 1])
        if sustained := min((trial.sustained for trial in full if trial.sustained), default=0.0):
            # What an overloaded system completes is above its limit.
            down = min(down, sustained * (1 - _BACK[0]))
        down = round_load(down)
        if down >= _of(known.high):  # a whole number that rounds back to itself
            down = round_load(_of(known.high) - 1)
        return down if down >= least and down > 0 else None
    if known.high is not None:
        return untried(known, round_load)
    doubted = [t.load for t in trials if not t.full and not t.passed and t.load > known.low]
    if doubted:
        nearest = min(doubted)
        near = nearest <= known.low * PRECISION**2
        load = nearest if near else math.sqrt(known.low * nearest)
    else:
        passes = sum(trial.full and trial.passed for trial in trials)
        load = known.low * PRECISION**2 ** (passes - 1)
    up = round_load(load)
    return up if up > known.low else round_load(known.low + 1)


def _of(load: float | None) -> float:
    assert load is not None
    return load
