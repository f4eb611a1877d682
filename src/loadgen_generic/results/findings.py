"""What is wrong with a finished test: each finding is one reason and the flags that mend it.

LoadGen says which condition was missed; why it was missed, and therefore what helps, follows
from the other figures in its log.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadgen_generic.early_stopping import min_queries
from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.wording import digits, format_measured, format_value

__all__ = ["Finding", "findings", "percent", "too_long"]

# How much further the next attempt goes than the arithmetic asks for.
_MARGIN = 1.2
# Less of the arrival rate than this shows under load already; less than the second, and with a queue that grows: the system does not keep up.
_NEARLY = 0.95
_KEEPS_UP = 0.8
_QUEUE_GROWS = 4.0
# Within this of the fastest query another one has not waited.
_DID_NOT_WAIT = 1.5
# Bound over the latency of a lone query, as in a Server test without a bound of the user's.
_ROOM_FOR_BURSTS = 10
# A test this many times as long as it has to be is worth a word.
_TOO_LONG = 3.0
# More queries than this many times those that were run: asking for more of them is no way out.
_MOST_TIMES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Attributes:
    reason: what is wrong and why, a sentence without its full stop.
    flags: to add or change for a valid result; an empty value takes a flag away.
    """

    reason: str
    flags: Mapping[str, str]


def findings(log: DetailLog) -> list[Finding]:
    """Each way in which a test fell short, in the order of LoadGen's own conditions."""
    return [
        found
        for look in (_too_short, _too_few, _over_bound, _uncertain, _behind, _cut_off)
        for found in look(log)
    ]


def too_long(log: DetailLog) -> str:
    """A sentence on a test that took far longer than it had to, since less speed was reached
    than was expected; empty if it did not."""
    needed = _setting(log, "min_duration_ms") / 1000
    if log.scenario != "Offline" or not needed or log.duration_sec < _TOO_LONG * needed:
        return ""
    reached, expected = log.samples / log.duration_sec, _setting(log, "target_qps")
    if expected < 2 * reached:  # a count of samples made it long
        return ""
    return (
        f"It took {log.duration_sec:.3g} s where {needed:g} s are enough, since "
        f"{digits(expected, 4)} samples/s were expected; "
        f"--loadgen_expected_qps {digits(reached, 3)} is nearer"
    )


def _too_short(log: DetailLog) -> Iterator[Finding]:
    if log.values.get("result_min_duration_met", True):
        return
    needed = _setting(log, "min_duration_ms") / 1000
    reason = f"the test took {log.duration_sec:.3g} s and a valid one takes at least {needed:g} s"
    if stopped := _stopped(log):
        yield Finding(*_with(reason, stopped))
    elif log.scenario == "Server" or not log.duration_sec:
        yield Finding(reason, {"loadgen_duration_sec": f"{needed * _MARGIN:g}"})
    else:
        rate = log.samples / log.duration_sec
        per_query = _setting(log, "samples_per_query") if log.scenario == "MultiStream" else 1
        expected = _setting(log, "target_qps") * per_query
        if rate > expected:
            reason += (
                f", since {digits(expected, 4)} samples/s were expected and "
                f"{digits(rate, 4)} were reached"
            )
        yield Finding(reason, {"loadgen_expected_qps": digits(rate * _MARGIN, 4)})


def _too_few(log: DetailLog) -> Iterator[Finding]:
    if log.values.get("result_min_queries_met", True):
        return
    fewest = int(_setting(log, "min_query_count"))
    reason = f"{log.queries} queries were run and {fewest} are the fewest allowed"
    reason, flags = _with(reason, _stopped(log) or ("", {}))
    yield Finding(reason, {"min_query_count": str(fewest), **flags})


def _over_bound(log: DetailLog) -> Iterator[Finding]:
    """Server: more queries over the bound than the percentile allows."""
    if log.values.get("result_perf_constraints_met", True):
        return
    share, bound = percent(log), _setting(log, "target_latency_ns")
    latency = log.latency_ns()
    fastest = latency["min"]
    reason = (
        f"{int(log.values.get('result_overlatency_query_count', 0))} of {log.queries} queries "
        f"took longer than {format_value(bound, 'ns')}, more than {100 - share:g} %"
    )
    flags = {}
    arrived, completed = _rates(log)
    if fastest > bound:
        reason += (
            f"; even the fastest took {format_measured(fastest, 'ns')}, so no rate can meet it"
        )
        flags["target_latency_ms"] = digits(_ROOM_FOR_BURSTS * fastest / 1e6, 2)
    elif _nobody_waited(latency):
        reason += (
            f"; nine in ten took at most {format_measured(latency['p90'], 'ns')} and did not wait, "
            "so these are slow by themselves and no rate can meet it"
        )
        flags["target_latency_ms"] = digits(latency["max"] * _MARGIN / 1e6, 3)
    if completed < _NEARLY * arrived and not _nobody_waited(latency):
        reason += f"; they came at {_rate(arrived)} and were answered at {_rate(completed)}"
        flags["target_qps"] = digits(completed / _MARGIN, 3)
    elif not flags:
        reason += "; with fewer queries a second, fewer wait"
        flags["target_qps"] = digits(_setting(log, "target_qps") / _MARGIN**2, 3)
    yield Finding(reason, flags)


def _uncertain(log: DetailLog) -> Iterator[Finding]:
    """Early stopping: too few queries for a statement on the percentile."""
    share = percent(log)
    bounded = log.values.get("result_perf_constraints_met", True)
    if log.values.get("early_stopping_met", True) or not bounded:
        return
    over = int(log.values.get("result_overlatency_query_count", 1))
    needed = min_queries(share / 100, over)
    reason = f"{log.queries} queries are too few to be sure of the {share:g}th percentile"
    reason += (
        f"; with {over} over the bound it takes {needed}"
        if log.scenario == "Server"
        else f", which takes {needed}"
    )
    enough = _enough(share / 100, over, log) if log.scenario == "Server" else needed
    if not enough:
        latency = log.latency_ns()
        yield Finding(
            f"{reason}, and as many more would be over it in a longer test",
            {"target_latency_ms": digits(latency["max"] * _MARGIN / 1e6, 3)}
            if _nobody_waited(latency)
            else {"target_qps": digits(_setting(log, "target_qps") / _MARGIN, 3)},
        )
        return
    flags = {"samples": "", "min_query_count": str(math.ceil(enough * _MARGIN))}
    if 0 < _setting(log, "max_query_count") < enough * _MARGIN:
        flags["max_query_count"] = ""
    yield Finding(reason, flags)


def _enough(share: float, over: int, log: DetailLog) -> int:
    """Queries that are enough if as large a part of them is over the bound; 0 if too many."""
    queries = log.queries
    for _ in range(64):
        needed = min_queries(share, math.ceil(over * queries / max(1, log.queries)))
        if needed <= queries:
            return needed
        queries = needed
        if queries > _MOST_TIMES * log.queries and over:
            break
    return 0


def _behind(log: DetailLog) -> Iterator[Finding]:
    """Server: the bound is met, but only since the test ended before the queue was too long."""
    if log.scenario != "Server" or not log.values.get("result_perf_constraints_met", True):
        return
    arrived, completed = _rates(log)
    latency = log.latency_ns()
    if completed < _KEEPS_UP * arrived and latency["p50"] > _QUEUE_GROWS * latency["min"]:
        yield Finding(
            f"the target was not reached: queries came at {_rate(arrived)} and were answered at "
            f"{_rate(completed)}, so that the queue grew until the test ended",
            {"target_qps": digits(completed / _MARGIN, 3)},
        )


def _cut_off(log: DetailLog) -> Iterator[Finding]:
    """Server: LoadGen takes a largest count of queries for an error even where it is enough."""
    if log.scenario == "Server" and log.valid and (stopped := _stopped(log)):
        yield Finding(
            f"{stopped[0]}, which LoadGen logs as an error in Server",
            {"min_query_count": str(log.queries), **stopped[1]},
        )


def _stopped(log: DetailLog) -> tuple[str, dict[str, str]] | None:
    """What ended the test before its time, and the flags against it."""
    most = int(_setting(log, "max_query_count"))
    if most and log.queries >= most and log.scenario != "Offline":
        flags = "--max_query_count" + (" or --samples" if log.scenario != "Server" else "")
        return f"it was stopped after {most} queries ({flags})", {"max_query_count": ""}
    longest = _setting(log, "max_duration_ms") / 1000
    if longest and log.duration_sec >= longest:
        return f"it was stopped by a max_duration of {longest:g} s", {}
    return None


def _with(reason: str, cause: tuple[str, dict[str, str]]) -> tuple[str, dict[str, str]]:
    return (f"{reason}, since {cause[0]}" if cause[0] else reason), cause[1]


def _nobody_waited(latency: Mapping[str, int]) -> bool:
    """Whether nine in ten queries took about as long as the fastest: no queue made them slow."""
    return latency["p90"] < _DID_NOT_WAIT * latency["min"]


def _rates(log: DetailLog) -> tuple[float, float]:
    """Queries a second as they came and as they were answered; LoadGen leaves both out for a
    single query."""
    found = (
        float(log.values.get(f"result_{name}_samples_per_sec", 0))
        for name in ("scheduled", "completed")
    )
    return next(found), next(found)


def percent(log: DetailLog) -> float:
    """The percentile of latency that is reported or bounded, in percent."""
    return round(100 * float(log.values.get("effective_target_latency_percentile", 0.99)), 9)


def _setting(log: DetailLog, name: str) -> float:
    return float(log.values.get(f"effective_{name}", 0))


def _rate(value: float) -> str:
    return format_measured(value, "queries/s")
