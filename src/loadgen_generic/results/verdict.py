"""One sentence about a result, and the command to try next where it is INVALID."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from loadgen_generic.early_stopping import min_queries
from loadgen_generic.results.detail_log import HEADLINES, DetailLog
from loadgen_generic.results.result import Accuracy

__all__ = ["Verdict", "format_value", "judge", "judge_accuracy"]

_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))
# How much further the next attempt goes than the arithmetic asks for.
_MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    valid: LoadGen's own verdict, unless it logged errors; None where speed is not judged.
    reasons: why not, one sentence each; empty if valid.
    sentence: the result in plain words.
    next_flags: the flags to add or change for a valid result; empty if valid or unknown.
    """

    valid: bool | None
    reasons: tuple[str, ...]
    sentence: str
    next_flags: Mapping[str, str]


def judge(log: DetailLog) -> Verdict:
    """Judge a finished test by its detail log."""
    reasons: list[str] = []
    flags: dict[str, str] = {}
    values = log.values
    duration = float(values.get("effective_min_duration_ms", 0)) / 1000
    percentile = 100 * float(values.get("effective_target_latency_percentile", 0.99))
    if not values.get("result_min_duration_met", True):
        reasons.append(
            f"the test took {log.duration_sec:.3g} s and a valid one takes at least {duration:g} s"
        )
        flags |= _more_queries(log, duration)
    if not values.get("result_min_queries_met", True):
        fewest = int(values.get("effective_min_query_count", 0))
        reasons.append(f"{log.queries} queries were run and {fewest} are the fewest allowed")
        flags |= {"max_query_count": "", "min_query_count": str(fewest)}
    if not values.get("result_perf_constraints_met", True):
        bound = float(values.get("effective_target_latency_ns", 0))
        over = int(values.get("result_overlatency_query_count", 0))
        reasons.append(
            f"{over} of {log.queries} queries took longer than {format_value(bound, 'ns')}, "
            f"more than {100 - percentile:g} %"
        )
        rate = float(values.get("effective_target_qps", 0)) / _MARGIN**2
        flags["target_qps"] = _digits(rate, 3)
    elif not values.get("early_stopping_met", True):
        over = int(values.get("result_overlatency_query_count", 1))
        needed = min_queries(percentile / 100, over)
        reasons.append(
            f"{log.queries} queries are too few to be sure of the {percentile:g}th percentile; "
            f"with {over} over the bound it takes {needed}"
            if log.scenario == "Server"
            else f"{log.queries} queries are too few to be sure of the {percentile:g}th "
            f"percentile, which takes {needed}"
        )
        flags |= {"samples": "", "min_query_count": str(math.ceil(needed * _MARGIN))}
    reasons.extend(f"LoadGen reported: {text}" for text in log.errors if not reasons)
    if not log.valid and not reasons:
        reasons.extend(log.invalid_reasons or ("LoadGen gave no reason",))
    valid = log.valid and not reasons
    return Verdict(valid, tuple(reasons), _sentence(log, valid, reasons, percentile), flags)


def judge_accuracy(accuracy: Accuracy) -> Verdict:
    """What an accuracy run says: nothing about speed."""
    if accuracy.top_1 is not None:
        sentence = (
            f"ACCURACY: top-1 {100 * accuracy.top_1:.4g} %, {accuracy.correct} of "
            f"{accuracy.judged} labelled samples."
        )
    else:
        why = (
            "no output looks like a classifier's, so labels cannot be counted"
            if accuracy.labelled
            else "no labels came with the data, so this run does not say whether they are right"
        )
        sentence = f"ACCURACY: all {accuracy.samples} samples were answered; {why}."
    return Verdict(None, (), sentence, {})


def _more_queries(log: DetailLog, duration: float) -> dict[str, str]:
    """The flags that make the test long enough, from the rate that was reached."""
    if log.values.get("effective_max_query_count"):
        return {"max_query_count": ""}
    if log.scenario == "Server" or not log.duration_sec:
        return {"loadgen_duration_sec": f"{duration * _MARGIN:g}"}
    rate = log.samples / log.duration_sec
    return {"loadgen_expected_qps": _digits(rate * _MARGIN, 4)}


def _digits(value: float, significant: int) -> str:
    """Rounded, and without an exponent up to any rate that a machine reaches."""
    return f"{float(f'{value:.{significant}g}'):.12g}"


def _sentence(log: DetailLog, valid: bool, reasons: list[str], percentile: float) -> str:
    headline = HEADLINES[log.scenario]
    value = format_value(float(log.values.get(headline.key, 0)), headline.unit)
    if log.scenario == "Offline":
        what = f"{value} over {log.samples} samples in {log.duration_sec:.1f} s"
    elif log.scenario == "Server":
        bound = format_value(float(log.values["effective_target_latency_ns"]), "ns")
        measured = log.latency_ns().get(f"p{percentile:g}")
        reached = f" ({format_value(measured, 'ns')})" if measured else ""
        what = (
            f"{value} with the {percentile:g}th percentile of latency{reached} "
            f"{'within' if valid else 'against'} {bound}"
        )
    else:
        size = int(log.values.get("effective_samples_per_query", 1))
        query = f" for queries of {size} samples" if log.scenario == "MultiStream" else ""
        what = f"{value} at the {percentile:g}th percentile of latency{query}"
        if log.values.get(headline.key, 0) in (0, None):
            what = f"no estimate of the {percentile:g}th percentile of latency"
    if valid:
        return f"VALID: {log.scenario} {what}."
    return f"INVALID: {log.scenario} {what}, but {'; '.join(reasons)}."


def format_value(value: float, unit: str) -> str:
    """A value for people: four digits, and the unit that makes it readable."""
    if unit == "ns":
        for factor, name in _UNITS:
            if value >= factor:
                return f"{value / factor:.4g} {name}"
        return f"{value:.0f} ns"
    if value >= 1000:
        return f"{value:,.0f} {unit}"
    return f"{value:.4g} {unit}"
