"""A comparison on a terminal, and as plain lines in a log."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import TextIO

from loadgen_generic.report.tables import console_for, print_table, printable
from loadgen_generic.results.bootstrap import spread
from loadgen_generic.results.comparison import Against, Change, Comparison, Side
from loadgen_generic.results.comparison.wording import change_in_words, interval_in_words
from loadgen_generic.wording import digits, format_measured

__all__ = [
    "NUMBERS",
    "change_text",
    "interval_text",
    "latency_rows",
    "print_comparison",
    "side_rows",
    "verdict_sentence",
    "warnings",
]

_NONE = "-"
NUMBERS = "runs,spread"


def print_comparison(found: Comparison, stream: TextIO | None = None) -> None:
    """The verdicts, the figures behind them, and what is not alike."""
    console = console_for(stream or sys.stdout)

    def line(text: str) -> None:
        console.print(printable(text), markup=False, soft_wrap=True)

    for each in found.against:
        line(verdict_sentence(each))
        if each.remedy:
            line(f"  try next:  {each.remedy}")
    columns, rows = side_rows(found)
    print_table(console, columns, rows, NUMBERS)
    columns, rows = latency_rows(found)
    if rows:
        print_table(console, columns, rows)
    if found.differences:
        letters = [side.letter for side in found.sides]
        rows = [(each.group, each.name, *each.values) for each in found.differences]
        print_table(console, ("differs", "", *letters), rows)
    for text in warnings(found):
        line(f"  warning:   {text}")


def verdict_sentence(each: Against) -> str:
    verdict = {
        "faster": f"{each.letter} is faster than A",
        "slower": f"{each.letter} is slower than A",
        "no difference": f"{each.letter} and A: no difference seen",
        "cannot say": f"{each.letter} and A: cannot say",
    }[each.verdict]
    doubtful = " Doubtful: see the warnings." if each.doubtful else ""
    return f"{verdict}: {each.why}.{doubtful}"


def side_rows(found: Comparison) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns, and a row for each subject."""
    per_cent = f"{100 * found.confidence:g} % interval"
    columns: tuple[str, ...] = (
        "",
        "result",
        "model",
        "runs",
        _measure(found),
        "spread",
        "against A",
        per_cent,
    )
    changes: dict[str, Change | None] = {each.letter: each.change for each in found.against}
    computed = any(side.computed_on for side in found.sides)
    if computed:
        columns = (*columns[:3], "computed on", *columns[3:])
    rows: list[tuple[str, ...]] = []
    for side in found.sides:
        change = changes.get(side.letter)
        rows.append(
            (
                side.letter,
                side.path,
                side.model,
                *([side.computed_on or "CPU"] if computed else []),
                str(len(side.values)),
                _median(side, found.measure.unit),
                _NONE if side.spread is None else f"{digits(100 * side.spread, 2)} %",
                change_text(change) if side.letter != "A" else "baseline",
                interval_text(change),
            )
        )
    return columns, rows


def latency_rows(found: Comparison) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns, and a row for each percentile of each subject that has a change."""
    columns = ("latency", "", "A", "other", "against A", f"{100 * found.confidence:g} % interval")
    sides = {side.letter: side for side in found.sides}
    rows = []
    for each in found.against:
        for name, change in each.latencies.items():
            pair = [_latency(sides[letter], name) for letter in ("A", each.letter)]
            rows.append((name, each.letter, *pair, change_text(change), interval_text(change)))
    return columns, rows


def change_text(change: Change | None) -> str:
    return _NONE if change is None else change_in_words(change.percent, change.interval)


def interval_text(change: Change | None) -> str:
    return (
        _NONE if change is None or change.interval is None else interval_in_words(change.interval)
    )


def warnings(found: Comparison) -> list[str]:
    """Each once, in their order; what is said of A is said for every other subject."""
    return list(dict.fromkeys(text for each in found.against for text in each.warnings))


def _measure(found: Comparison) -> str:
    several = any(len(side.values) > 1 for side in found.sides)
    return found.measure.name + (", median" if several else "")


def _median(side: Side, unit: str) -> str:
    if side.median is None:
        return _NONE
    if side.spread is None:
        return format_measured(side.median, unit)
    return format_measured(side.median, unit, side.spread)


def _latency(side: Side, name: str) -> str:
    values = side.latency_ns[name]
    middle = statistics.median(values)
    if len(values) == 1:
        return format_measured(middle, "ns")
    return format_measured(middle, "ns", spread(values))
