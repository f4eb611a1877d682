"""One sentence about a result, and the command to try next where it is INVALID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadgen_generic.results.detail_log import HEADLINES, DetailLog
from loadgen_generic.results.findings import findings, percent, too_long
from loadgen_generic.results.result import Accuracy
from loadgen_generic.wording import format_beside, format_measured, format_value

__all__ = ["Verdict", "judge", "judge_accuracy"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    valid: LoadGen's own verdict, unless it logged errors, its figures do not follow from its
        trace, or a Server test did not keep up with its target; None where speed is not judged.
    reasons: why not, one sentence each; empty if valid.
    sentence: the result in plain words.
    next_flags: the flags to add or change for a valid result; empty if valid or unknown.
    """

    valid: bool | None
    reasons: tuple[str, ...]
    sentence: str
    next_flags: Mapping[str, str]


def judge(log: DetailLog, doubts: Sequence[str] = (), computed_on: str = "") -> Verdict:
    """Judge a finished test by its detail log.

    Args:
        doubts: figures in the log that are not what its trace gives.
        computed_on: what stands beside the number; empty if it goes without saying.
    """
    found = findings(log)
    reasons = [each.reason for each in found]
    flags: dict[str, str] = {}
    for each in found:
        flags |= each.flags
    reasons.extend(f"LoadGen reported: {text}" for text in log.errors if not found)
    reasons.extend(doubts)
    if not log.valid and not reasons:
        reasons.extend(filter(None, log.invalid_reasons))
        reasons = reasons or ["LoadGen gave no reason"]
    valid = log.valid and not reasons
    sentence = _sentence(log, valid, reasons, computed_on)
    if valid and (advice := too_long(log)):
        sentence += f" {advice}."
    return Verdict(valid, tuple(reasons), sentence, flags)


def judge_accuracy(accuracy: Accuracy, computed_on: str = "") -> Verdict:
    """What an accuracy run says: nothing about speed."""
    beside = f" ({computed_on})" if computed_on else ""
    if accuracy.top_1 is not None:
        sentence = (
            f"ACCURACY: top-1 {100 * accuracy.top_1:.4g} %, {accuracy.correct} of "
            f"{accuracy.judged} labelled samples{beside}."
        )
    else:
        why = (
            "no output looks like a classifier's, so labels cannot be counted"
            if accuracy.labelled
            else "no labels came with the data, so this run does not say whether they are right"
        )
        sentence = f"ACCURACY: all {accuracy.samples} samples were answered{beside}; {why}."
    return Verdict(None, (), sentence, {})


def _sentence(log: DetailLog, valid: bool, reasons: list[str], computed_on: str) -> str:
    headline = HEADLINES[log.scenario]
    value = format_measured(float(log.values.get(headline.key, 0)), headline.unit)
    at = f"{percent(log):g}th percentile of latency"
    if log.scenario == "Offline":
        what = f"{value} over {log.samples} samples in {log.duration_sec:.1f} s"
    elif log.scenario == "Server":
        bound = float(log.values["effective_target_latency_ns"])
        measured = log.latency_ns().get(f"p{percent(log):g}")
        reached = f" ({format_beside(measured, bound, 'ns')})" if measured else ""
        against = f"{'within' if valid else 'against'} {format_value(bound, 'ns')}"
        what = f"{value} with the {at}{reached} {against}"
    else:
        size = int(log.values.get("effective_samples_per_query", 1))
        query = f" for queries of {size} samples" if log.scenario == "MultiStream" else ""
        what = f"{value} at the {at}{query}"
        if log.values.get(headline.key, 0) in (0, None):
            what = f"no estimate of the {at}"
    if computed_on:
        what += f" ({computed_on})"
    if valid:
        return f"VALID: {log.scenario} {what}."
    return f"INVALID: {log.scenario} {what}, but {'; '.join(reasons)}."
