"""What the journal of a tuning says of its trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.results.result import Result

__all__ = ["TIMED", "Entry", "Tried", "facts_of", "tried"]

Entry = dict[str, Any]
# Phases in which a setting is timed, in their order.
TIMED = ("screen", "search", "longer", "final", "worth")


@dataclass(slots=True)
class Tried:
    """One setting and its trials.

    Attributes:
        number: from 1, in the order in which settings were first timed.
    """

    number: int
    setting: Setting
    entries: list[Entry] = field(default_factory=list)

    @property
    def failed(self) -> str:
        """Why no trial of it could be carried out; empty if one was."""
        ran = [each for each in self.entries if not each.get("broken")]
        return "" if ran else str(self.entries[-1]["why"])

    @property
    def broke(self) -> bool:
        """Whether its last trial could not be carried out, so that no other is due."""
        return bool(self.entries) and bool(self.entries[-1].get("broken"))

    @property
    def second_chance(self) -> bool:
        """Tried since its family was behind with its automatic layout."""
        return any(each.get("second") for each in self.entries)

    def of(self, *phases: str) -> list[Entry]:
        return [each for each in self.entries if each["phase"] in phases]


def tried(runs: Sequence[Entry]) -> list[Tried]:
    """All settings that were timed, in order."""
    found: dict[Setting, Tried] = {}
    for entry in _timed(runs):
        setting = Setting.of(entry["setting"])
        known = found.setdefault(setting, Tried(len(found) + 1, setting))
        known.entries.append(entry)
    return list(found.values())


def _timed(runs: Sequence[Entry]) -> Iterator[Entry]:
    return (each for each in runs if each["phase"] in TIMED and each.get("setting"))


def facts_of(result: Result) -> dict[str, Any]:
    """What the journal keeps of any run, beyond how it was judged."""
    percentiles = result.latency_ns
    verification = result.verification
    return {
        "metric": result.metric.value,
        "p99_ns": percentiles.get("p99"),
        "memory_bytes": result.telemetry.peak_memory_bytes if result.telemetry else None,
        "load_s": result.load_s,
        "duration_s": result.duration_s,
        "doubts": result.doubts,
        "verdict": result.verdict,
        "verification": verification.model_dump() if verification is not None else None,
    }
