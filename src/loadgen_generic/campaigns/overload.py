"""Ends a test in Server once it cannot pass: with k times the load that it bears, it would take k
times as long to say so."""

from __future__ import annotations

from typing import Any

from loadgen_generic.campaigns.lengths import queries_at
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import OverloadedError

__all__ = ["Overload", "lookout_for", "overloaded"]

# What is answered has to be this far behind what arrives: nearer to the limit a whole test says more.
_OVERLOADED = 0.75
# Late for sure, beyond the share that may be: arrivals are random, and times are looked at from
# outside.
_BEYOND_DOUBT = 0.1
# Half of a test that keeps up, and at least so long, or a hiccup of the machine would decide.
_SHARE, _LEAST_SEC = 0.5, 1.0


def lookout_for(config: BenchmarkConfig) -> Overload | None:
    """Whoever ends this test; None where too much load cannot be seen before it is over, or the
    load and its bound are not given."""
    rate, bound_ms = config.target_qps, config.target_latency_ms
    percent = config.target_latency_percentile
    if config.scenario != "Server" or not rate or not bound_ms or not percent:
        return None
    queries = queries_at(config, rate, percent / 100)
    return Overload(rate, bound_ms / 1000, queries, 1 - percent / 100)


class Overload:
    """A :data:`~loadgen_generic.child.Lookout`.

    Args:
        rate: queries/s that arrive.
        bound_s: of latency.
        queries: that will arrive.
        may_be_late: share of them.
    """

    def __init__(self, rate: float, bound_s: float, queries: float, may_be_late: float) -> None:
        self._rate, self._bound_s = rate, bound_s
        self._most_late = (may_be_late + _BEYOND_DOUBT) * queries
        self._every_s = max(_LEAST_SEC, _SHARE * queries / rate)
        self._begin_s: float | None = None
        self._mark = (0.0, 0)

    def __call__(self, now_s: float, answered: int) -> None:
        """Look at how many queries are answered.

        Raises:
            OverloadedError: so many are late already that the test fails however it goes on.
        """
        if not answered:
            return
        if self._begin_s is None:
            self._begin_s, self._mark = now_s, (now_s, answered)
        since_s, before = self._mark
        if now_s - since_s < self._every_s:
            return
        per_sec = (answered - before) / (now_s - since_s)
        lasted_s = now_s - self._begin_s
        late = self._rate * (lasted_s - self._bound_s) - answered
        if per_sec < _OVERLOADED * self._rate and late > self._most_late:
            raise OverloadedError(per_sec, lasted_s)
        self._mark = (now_s, answered)


def overloaded(config: BenchmarkConfig, full: bool, error: OverloadedError) -> dict[str, Any]:
    """What the journal says of such a test, as of others of its load."""
    why = str(error)
    return {
        "load": config.target_qps,
        "full": full,
        "passed": False,
        "why": why,
        "hopeless": False,
        "valid": False,
        "completed_per_sec": error.answered_per_sec,
        "percentile_ns": 0,
        "duration_s": error.lasted_s,
        "verdict": f"INVALID: {why}",
        "doubts": [],
        "over_share": None,
        "sustained": error.answered_per_sec,
        "stopped": True,
    }
