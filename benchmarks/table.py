"""From figures to verdicts: medians, spread, ratios, the terminal table and the JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab import Measured
from suite import Figure, Row

__all__ = ["Record", "Verdict", "judge", "render"]

_NO = "-"


@dataclass
class Record:
    """All that is known of a case: one measurement a round, or why there is none."""

    rounds: list[Measured] = field(default_factory=list)
    unavailable: str = ""
    dropped: bool = False

    def values(self, name: str) -> list[float]:
        return [found.figures[name] for found in self.rounds if name in found.figures]

    def median(self, name: str) -> float:
        """NaN where nothing was measured."""
        values = self.values(name)
        return statistics.median(values) if values else math.nan

    @classmethod
    def from_json(cls, known: dict[str, Any]) -> Record:
        """As :meth:`as_json` wrote it; what was not available then may be now."""
        rounds = [Measured(**found) for found in known["rounds"]]
        return cls(rounds, dropped=known["dropped_after_first_round"])

    def as_json(self) -> dict[str, Any]:
        return {
            "command": self.rounds[-1].command if self.rounds else "",
            "unavailable": self.unavailable,
            "dropped_after_first_round": self.dropped,
            "median": {name: self.median(name) for name in self.rounds[0].figures}
            if self.rounds
            else {},
            "rounds": [asdict(found) for found in self.rounds],
        }


@dataclass(frozen=True)
class Verdict:
    """One row with its numbers. ``reached`` is the ratio, the excess or the value itself;
    ``by_round`` is the same of each round in which both sides ran."""

    key: str
    unit: str
    judge: str
    ours: float
    ours_case: str
    other: float
    other_case: str
    reached: float
    by_round: list[float]
    wanted: float | None
    holds: bool | None
    spread_percent: float
    other_spread_percent: float
    note: str
    command: str
    other_command: str

    def as_json(self) -> dict[str, Any]:
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def judge(row: Row, records: dict[str, Record]) -> Verdict:
    """The best of ours against the best of the others, by medians over the rounds."""
    figure = _best((row.ours, *row.or_ours), row.lower, records) or row.ours
    mine = records[figure.case]
    ours = mine.median(figure.name)
    best = _best(row.against, row.lower, records)
    other = records[best.case].median(best.name) if best else math.nan
    theirs = records[best.case].values(best.name) if best else []
    by_round = [
        _reached(row, *pair) for pair in zip(mine.values(figure.name), theirs, strict=False)
    ]
    reached = statistics.median(by_round) if row.paired and by_round else _reached(row, ours, other)
    holds = None
    if row.wanted is not None and not math.isnan(reached):
        at_least = row.judge in ("ratio", "least")
        holds = reached >= row.wanted if at_least else reached <= row.wanted
    last = mine.rounds[-1] if mine.rounds else None
    return Verdict(
        key=row.key,
        unit=row.unit,
        judge=row.judge,
        ours=ours,
        ours_case=figure.case,
        other=other,
        other_case=best.case if best else "",
        reached=reached,
        by_round=by_round,
        wanted=row.wanted,
        holds=holds,
        spread_percent=_spread(mine.values(figure.name)),
        other_spread_percent=_spread(theirs),
        note=_note(row, records),
        command=last.command if last else "",
        other_command=records[best.case].rounds[-1].command if best else "",
    )


def _reached(row: Row, ours: float, other: float) -> float:
    if row.judge in ("value", "least"):
        return ours
    if row.judge == "excess":
        return ours - other
    return other / ours if row.lower else ours / other


def render(verdicts: Sequence[Verdict]) -> str:
    """The table, as lines of text."""
    header = ("row", "ours", "other", "unit", "reached", "wanted", "holds", "spread", "note")
    lines = [header, *(_cells(verdict) for verdict in verdicts)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header) - 1)]
    text = []
    for line in lines:
        padded = [
            cell.rjust(width) if 0 < column < 8 and column != 3 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        text.append("  ".join([*padded, line[-1]]).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def _best(figures: Sequence[Figure], lower: bool, records: dict[str, Record]) -> Figure | None:
    found = [f for f in figures if not math.isnan(records[f.case].median(f.name))]
    # One that went through all rounds, unless none did.
    found = [f for f in found if not records[f.case].dropped] or found
    pick = min if lower else max
    return pick(found, key=lambda f: records[f.case].median(f.name)) if found else None


def _spread(values: Sequence[float]) -> float:
    """Largest minus smallest, in percent of the median."""
    if not values or not statistics.median(values):
        return math.nan
    return 100 * (max(values) - min(values)) / statistics.median(values)


def _note(row: Row, records: dict[str, Record]) -> str:
    mine = records[row.ours.case]
    notes = [f"ours: {mine.unavailable}"] if mine.unavailable else []
    reasons = {f.case: records[f.case].unavailable for f in row.against}
    missing = [case for case, why in reasons.items() if why]
    if len(row.against) == 1:
        notes += [reasons[case] for case in missing]
        name = row.against[0].case
        rounds = records[name].rounds
        samples = rounds[-1].detail.get("samples") if rounds else None
        notes += [f"it ran {samples} samples"] if samples else []
    elif row.or_ours:
        sides = ((row.ours, *row.or_ours), row.against)
        best_of = [_best(side, row.lower, records) for side in sides]
        names = [f.case.rsplit("/", 1)[-1] if f else "none" for f in best_of]
        notes.append(f"ours {names[0]}, the other {names[1]}")
    elif row.against:
        best = _best(row.against, row.lower, records)
        if best:
            notes.append(f"best manual: {best.case.rsplit('/', 1)[-1]}")
        if best and records[best.case].rounds[-1].detail.get("at_most"):
            notes[-1] = "no manual setting holds more"
        if missing:
            notes.append(f"{len(missing)} of {len(reasons)} cannot run: {reasons[missing[0]]}")
    return "; ".join(_unique(notes))


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _cells(verdict: Verdict) -> tuple[str, ...]:
    sign = {"ratio": ">= {} x", "excess": "<= +{}", "value": "<= {}", "least": ">= {}"}[
        verdict.judge
    ]
    reached = _number(verdict.reached)
    if verdict.judge == "ratio" and reached != _NO:
        reached += " x"
    return (
        verdict.key,
        _number(verdict.ours),
        _number(verdict.other),
        verdict.unit,
        reached,
        sign.format(_number(verdict.wanted)) if verdict.wanted is not None else _NO,
        {True: "yes", False: "NO", None: _NO}[verdict.holds],
        _NO if math.isnan(verdict.spread_percent) else f"{verdict.spread_percent:.0f} %",
        verdict.note,
    )


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return _NO
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
