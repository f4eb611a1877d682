"""What can be said of a test that is still running."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen_generic.progress import Phase
from loadgen_generic.telemetry.queries import Latencies
from loadgen_generic.wording import format_value

__all__ = ["Glance", "Live"]

_RECENT_SEC = 2.0


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at a run.

    Attributes:
        phase_sec: since the phase began.
        answered: queries, or in Offline samples; 0 before the test.
        unit: ``queries`` or ``samples``.
        rate: of answers/s, over the last two seconds; None before any.
        percentile: that the scenario reports or bounds, such as ``p99``; empty in Offline.
        latency_ns: at this percentile, of the queries that were timed so far; None if none or
            too few were.
        verdict: as it looks so far, in a few words; empty if nothing can be said.
    """

    phase: Phase
    phase_sec: float = 0.0
    answered: int = 0
    unit: str = "samples"
    rate: float | None = None
    percentile: str = ""
    latency_ns: float | None = None
    verdict: str = ""


class Live:
    """Follows one run from look to look."""

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._began = 0.0
        self._recent: deque[tuple[float, int]] = deque()

    def glance(
        self,
        now: float,
        phase: Phase,
        samples: int,
        effective: Mapping[str, Any],
        latencies: Latencies | None,
    ) -> Glance:
        """
        Args:
            now: seconds of any clock.
            samples: answered in the test so far.
            effective: the configuration in force; empty before it is known.
            latencies: of queries that were timed; None if none are.
        """
        if phase is not self._phase:
            self._phase, self._began = phase, now
        if phase is not Phase.TESTING or not effective:
            return Glance(phase, now - self._began)
        offline = effective["scenario"] == "Offline"
        answered = samples // effective["samples_per_query"]
        elapsed = now - self._began
        percent = effective["target_latency_percentile"]
        latency = latencies.percentile_ns(percent) if latencies is not None else None
        return Glance(
            phase,
            elapsed,
            answered,
            "samples" if offline else "queries",
            self._rate(now, answered),
            "" if offline else f"p{percent:g}",
            None if offline else latency,
            _verdict(effective, answered, elapsed, latency),
        )

    def _rate(self, now: float, answered: int) -> float | None:
        recent = self._recent
        recent.append((now, answered))
        while len(recent) > 2 and now - recent[1][0] >= _RECENT_SEC:
            recent.popleft()
        (before, had), span = recent[0], now - recent[0][0]
        return (answered - had) / span if before < now and answered else None


def _verdict(
    effective: Mapping[str, Any], answered: int, elapsed: float, latency_ns: float | None
) -> str:
    if effective["mode"] == "accuracy":
        return ""
    if effective["scenario"] == "Server":
        bound_ns = effective["target_latency_ms"] * 1e6
        if latency_ns is None:
            return ""
        bound = format_value(bound_ns, "ns")
        return f"within {bound} so far" if latency_ns <= bound_ns else f"over the bound of {bound}"
    needed, shortest = effective["min_query_count"], effective["min_duration_ms"] / 1000
    if effective["scenario"] != "Offline" and answered < needed:
        return f"{answered:,} of {needed:,} queries needed"
    if elapsed < shortest:
        return f"{elapsed:.0f} of {shortest:g} s needed"
    return "long enough"
