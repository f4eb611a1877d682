"""Faster, slower, no difference, or no telling.

A verdict needs an interval that excludes no change, and a change of :data:`LEAST_PERCENT`: two
series of runs follow each other in time, and what the machine does in between moves a whole
series, which no interval from the runs within it can know.
"""

from __future__ import annotations

import math
import statistics
import string
from collections.abc import Sequence

from loadgen_generic.errors import RequestError
from loadgen_generic.results.bootstrap import CONFIDENCE, spread
from loadgen_generic.results.build import command_line
from loadgen_generic.results.comparison.interval import dropped_pairs, ratio
from loadgen_generic.results.comparison.likeness import (
    check_comparable,
    differences,
    warnings_about,
)
from loadgen_generic.results.comparison.records import (
    Against,
    Change,
    Comparison,
    Side,
    Verdict,
)
from loadgen_generic.results.comparison.subjects import PERCENTILES, Subject
from loadgen_generic.results.comparison.wording import change_in_words, interval_in_words

__all__ = ["LEAST_PERCENT", "compare"]

LEAST_PERCENT = 1.0
_ENOUGH_RUNS = 5
_WIDE_PERCENT = 3.0  # an interval that reaches so far leaves room for a change that matters
_SAME_RATE = 1e-3
_SAME_LOAD = (
    "Give both the same --target_qps, or compare the highest load that each can carry: "
    "--mode find_peak."
)


def compare(subjects: Sequence[Subject]) -> Comparison:
    """Compare each subject with the first.

    Raises:
        RequestError: they have no common measure, or there are too few or too many.
    """
    if not 2 <= len(subjects) <= len(string.ascii_uppercase):
        raise RequestError(
            f"{len(subjects)} result(s) to compare.",
            remedy=f"Give 2 to {len(string.ascii_uppercase)}, the baseline first.",
        )
    first = subjects[0]
    for other in subjects[1:]:
        check_comparable(first, other)
    return Comparison(
        scenario=first.result.scenario,
        measure=first.measure,
        confidence=CONFIDENCE,
        least_percent=LEAST_PERCENT,
        sides=[_side(letter, each) for letter, each in _lettered(subjects)],
        against=[_against(letter, first, each) for letter, each in _lettered(subjects)[1:]],
        differences=differences(subjects),
    )


def _lettered(subjects: Sequence[Subject]) -> list[tuple[str, Subject]]:
    return list(zip(string.ascii_uppercase, subjects, strict=False))


def _side(letter: str, subject: Subject) -> Side:
    result, values = subject.result, subject.values
    latency = {name: subject.latencies(name) for name in PERCENTILES}
    return Side(
        letter=letter,
        path=subject.path,
        started_at=result.started_at,
        model=subject.model,
        computed_on=str(subject.computation),
        valid=result.valid,
        invalid_reasons=result.invalid_reasons,
        doubts=result.doubts,
        values=values,
        median=statistics.median(values) if values else None,
        spread=spread(values) if len(values) > 1 else None,
        latency_ns={name: found for name, found in latency.items() if found},
    )


def _against(letter: str, first: Subject, other: Subject) -> Against:
    latencies = {}
    if first.result.scenario != "Offline":  # there, it is the time since the test began
        for name in PERCENTILES:
            pair = first.latencies(name), other.latencies(name)
            if all(pair):
                latencies[name] = _change(*pair, higher_is_better=False)
    verdict, change, why, remedy = _judge(letter, first, other)
    return Against(
        letter=letter,
        verdict=verdict,
        change=change,
        latencies=latencies,
        why=why,
        remedy=remedy,
        doubtful=any(each.result.doubts or each.result.valid is False for each in (first, other)),
        warnings=warnings_about(("A", letter), first, other),
    )


def _judge(letter: str, first: Subject, other: Subject) -> tuple[Verdict, Change | None, str, str]:
    """The verdict, the change, the sentence, and the remedy."""
    nothing = [name for name, each in (("A", first), (letter, other)) if not each.values]
    if nothing:
        return "cannot say", None, f"{' and '.join(nothing)} measured nothing", ""
    if not _same_load(first, other):
        rates = [each.result.config.effective["target_qps"] for each in (first, other)]
        why = (
            f"the latency follows the load, and A got {rates[0]:.6g} queries/s, {letter} "
            f"{rates[1]:.6g}"
        )
        return "cannot say", None, why, _SAME_LOAD
    counts = len(first.values), len(other.values)
    change = _change(first.values, other.values, first.measure.higher_is_better)
    if change.interval is None:
        words = change_in_words(change.percent, None)
        why = (
            f"{words} by {counts[0]} run(s) of A and {counts[1]} of {letter}, too few for an "
            "interval"
        )
        return "cannot say", change, why, _more_runs(letter, first, other)
    sure = change.interval[0] > 0 or change.interval[1] < 0
    measured = (
        f"{change_in_words(change.percent, change.interval)} ({100 * CONFIDENCE:g} % interval "
        f"{interval_in_words(change.interval)})"
    )
    if sure and abs(change.percent) >= LEAST_PERCENT:
        return ("faster" if change.percent > 0 else "slower"), change, measured, ""
    if sure:
        less = f"less than the {LEAST_PERCENT:g} % by which series of runs differ anyway"
        return "no difference", change, f"{measured}, {less}", ""
    wide = max(map(abs, change.interval)) >= _WIDE_PERCENT
    remedy = f"More runs narrow the interval: --repeat {2 * max(counts)}." if wide else ""
    return "no difference", change, measured, remedy


def _same_load(first: Subject, other: Subject) -> bool:
    """Server alone has a load that the measure depends on; a search has found its own."""
    if first.result.scenario != "Server" or first.result.search is not None:
        return True
    rates = [float(each.result.config.effective["target_qps"]) for each in (first, other)]
    return math.isclose(*rates, rel_tol=_SAME_RATE)


def _change(first: Sequence[float], other: Sequence[float], higher_is_better: bool) -> Change:
    found = ratio(first, other, CONFIDENCE)
    sign = 1 if higher_is_better else -1
    interval = None
    if found.interval is not None:
        low, high = sorted(100 * sign * (end - 1) for end in found.interval)
        interval = (low, high)
    return Change(percent=100 * sign * (found.value - 1), interval=interval)


def _more_runs(letter: str, first: Subject, other: Subject) -> str:
    """The commands that give enough runs for an interval."""
    if first.result.search is not None and first.result.search.layout is None:
        return "A search finds one value; repeat the test of each answer at a common load."
    missing = [
        (name, each)
        for name, each in (("A", first), (letter, other))
        if not dropped_pairs(len(each.values), _ENOUGH_RUNS, CONFIDENCE)
    ] or [(letter, other)]
    commands = []
    for name, each in missing:
        if each.runs_missing:
            commands.append(f"{name}: give the directory of the repetition, with its runs inside")
            continue
        changes = {"repeat": str(_ENOUGH_RUNS), "output_dir": "", "mode": ""}
        requested = each.result.config.requested
        commands.append(f"{name}: {command_line(requested, changes)}")
    return "Repeat the test. " + "; ".join(commands)
