"""Energy over a stretch of time, from a GPU's counter or from the power that it drew."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["Points", "energy_between", "summed_power"]

# (s, J): energy since some moment, at ascending times.
Points = Sequence[tuple[float, float]]

# The counter moves on ten times a second or so.
_SHORTEST_SEC = 1.0
_LEAST_SEEN = 0.9  # of the stretch; the rest is taken to have been like it


def summed_power(looks: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points from (s, W) at ascending times, by the trapezoidal rule."""
    points = [(looks[0][0], 0.0)] if looks else []
    for (before, low), (now, high) in pairwise(looks):
        points.append((now, points[-1][1] + (low + high) / 2 * (now - before)))
    return points


def energy_between(points: Points, begin_s: float, end_s: float) -> float | None:
    """J; None if less than nine tenths of that time was seen, or less than a second."""
    if len(points) < 2:
        return None
    first, last = max(begin_s, points[0][0]), min(end_s, points[-1][0])
    seen = last - first
    if seen < _SHORTEST_SEC or seen < _LEAST_SEEN * (end_s - begin_s):
        return None
    return (_at(points, last) - _at(points, first)) * (end_s - begin_s) / seen


def _at(points: Points, time_s: float) -> float:
    """J at a time between the first and the last, along a straight line between neighbours."""
    after = max(1, bisect_left(points, time_s, key=lambda point: point[0]))
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (time_s - left) / (right - left) if right > left else high
