"""The highest valid arrival rate, found the same way for every contender."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import Lab, UnavailableError

__all__ = ["Found", "Probe", "highest_valid"]

_FIRST_RATE = 100.0
_LOWEST_RATE, _HIGHEST_RATE = 0.1, 1e8
# A later round starts where the one before ended and takes smaller steps.
_FIRST_STEP, _LATER_STEP = 2.0, 1.15
_TRIES = 3


@dataclass(frozen=True)
class Probe:
    valid: bool
    p99_ns: float
    why: str = ""


@dataclass(frozen=True)
class Found:
    rate: float
    probes: list[dict[str, Any]]


def highest_valid(probe: Callable[[float], Probe], lab: Lab, key: str, start: str = "") -> Found:
    """Double (or halve) until the verdict turns, then bisect in equal ratios.

    One disturbance in a short run breaks a 99th percentile, so a rate counts as failed only
    after ``_TRIES`` failures, and on the way up only if the rate beyond it fails as well.

    Args:
        probe: one short run at a rate.
        key: where the lab remembers the answer, for the next round's start.
        start: where the lab remembers a throughput to start from in the first round.
    """
    probes: list[dict[str, Any]] = []
    precision = 1.10 if lab.quick else 1.03

    def holds(rate: float) -> bool:
        for _ in range(_TRIES):
            found = probe(rate)
            probes.append(
                {"qps": rate, "valid": found.valid, "p99_ns": found.p99_ns, "why": found.why}
            )
            if found.valid:
                return True
        return False

    known = lab.memory.get(key)
    step = _LATER_STEP if known else _FIRST_STEP
    rate = known or 0.5 * lab.memory.get(start, 2 * _FIRST_RATE)
    if holds(rate):
        low = rate
        high = rate * step
        while holds(high) or holds(high := high * step):
            low, high = high, high * step
            if low > _HIGHEST_RATE:
                raise UnavailableError("valid at every rate tried")
        high = low * step
    else:
        high = rate
        while not holds(low := high / step):
            high = low
            step = max(step, _FIRST_STEP)
            if high < _LOWEST_RATE:
                raise UnavailableError(f"not valid at any rate: {probes[-1]['why']}")
    while high / low > precision:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    lab.memory[key] = low
    return Found(low, probes)
