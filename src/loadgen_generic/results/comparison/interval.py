"""How far two sets of runs lie apart, and how sure that is.

The values are compared by their logarithms, so that the answer is a ratio. The estimate is the
median of the ratios of all pairs, the interval holds those ratios that the rank-sum test does
not reject. Sources: the distribution of the rank sum, Annals of Mathematical Statistics 18
(1947), pages 50 to 60; estimate and interval of the shift, the same journal 34 (1963), pages 598
to 611.

Why ranks: a busy machine makes some runs slower, a few of them much slower, and none faster. One
such run of five widens an interval of Student's kind beyond use, and the bootstrap's is too
narrow for five values. This one is exact for few values of any distribution, as long as both
sides have the same one, shifted; it needs four runs on each side, or three against five.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Ratio", "dropped_pairs", "ratio"]

# Beyond this many runs on both sides together the normal distribution stands for the exact one.
_MOST_EXACT = 50


@dataclass(frozen=True, slots=True)
class Ratio:
    """The second set over the first.

    Attributes:
        value: the estimate.
        interval: that holds the true ratio with at least the confidence asked for; None where
            there are too few values for that.
    """

    value: float
    interval: tuple[float, float] | None


def ratio(first: Sequence[float], second: Sequence[float], confidence: float) -> Ratio:
    """Compare two sets of values, all above 0.

    Args:
        confidence: of the interval, a share, 0 to 1.
    """
    logs = [np.log(np.asarray(values, np.float64)) for values in (first, second)]
    apart = np.sort((logs[1][:, None] - logs[0][None, :]).ravel())
    dropped = dropped_pairs(len(first), len(second), confidence)
    interval = None
    if dropped:
        low, high = apart[dropped - 1], apart[-dropped]
        interval = (math.exp(low), math.exp(high))
    return Ratio(math.exp(float(np.median(apart))), interval)


def dropped_pairs(first: int, second: int, confidence: float) -> int:
    """Which of the ordered differences between all pairs bounds the interval.

    Args:
        first, second: how many values there are on each side.

    Returns:
        The rank from either end, counted from 1; 0 where even all of them do not suffice.
    """
    tail = (1 - confidence) / 2
    pairs = first * second
    if first + second > _MOST_EXACT:
        deviation = math.sqrt(pairs * (first + second + 1) / 12)
        return int(pairs / 2 + statistics.NormalDist().inv_cdf(tail) * deviation)
    arrangements = math.comb(first + second, first)
    below = 0
    for rank, count in enumerate(_rank_sums(first, second)):
        below += count
        if below > tail * arrangements:
            return rank
    raise AssertionError("unreachable")


def _rank_sums(first: int, second: int) -> list[int]:
    """Of all orders of the values, in how many 0, 1, 2 ... pairs have the second below the first.

    The coefficients of the Gaussian binomial: prod (1 - q^(second + i)) / (1 - q^i).
    """
    pairs = first * second
    counts = [1] + [0] * pairs
    for i in range(1, first + 1):
        for at in range(pairs, second + i - 1, -1):
            counts[at] -= counts[at - second - i]
        for at in range(i, pairs + 1):
            counts[at] += counts[at - i]
    return counts
