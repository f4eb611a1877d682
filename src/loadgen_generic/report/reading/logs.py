"""LoadGen's detail log, also of other programs and of versions that logged less."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.detail_log import (
    ACCURACY_MODE,
    HEADLINES,
    DetailLog,
    read_detail_log,
)
from loadgen_generic.results.findings import percent

__all__ = ["bound_ns", "latencies_of", "read_log", "started_at"]

_NEEDED = ("effective_scenario", "effective_test_mode")
_OLD_SERVER = "result_scheduled_samples_per_sec"


def read_log(logs: Path) -> tuple[DetailLog, list[str]]:
    """Read it, and say in sentences what it lacks.

    Raises:
        RequestError: it is not of a test that finished.
    """
    path = logs / LOADGEN_LOGS["detail"]
    try:
        log = read_detail_log(path)
        log.duration_sec  # noqa: B018 - whether the times in it can be read
    except RunError as error:
        text = str(error).partition(" If the disk is full")[0]
        raise _no_report(path, text) from None
    except (KeyError, TypeError, ValueError) as error:
        raise _no_report(path, f"{path} is damaged: {error!r}.") from None
    if lacking := [key for key in _NEEDED if key not in log.values]:
        raise _no_report(path, f"{path} does not say {' and '.join(lacking)}.")
    if log.scenario not in HEADLINES:
        raise _no_report(path, f"{path} is of the scenario {log.scenario}.")
    return _completed(log)


def _completed(log: DetailLog) -> tuple[DetailLog, list[str]]:
    """With the headline that an older LoadGen logs under another key."""
    headline = HEADLINES[log.scenario]
    if log.mode == ACCURACY_MODE or headline.key in log.values:
        return log, []
    per = "per_query_" if log.scenario == "MultiStream" else ""
    other = f"result_{percent(log):.2f}_percentile_{per}latency_ns"
    if log.scenario == "Server":
        other = _OLD_SERVER
    if other not in log.values:
        return log, [f"The headline: LoadGen logged no {headline.key}."]
    told = (
        f"LoadGen logged no {headline.key}, as its older versions do not; the headline is {other}."
    )
    return replace(log, values={**log.values, headline.key: log.values[other]}), [told]


def latencies_of(log: DetailLog) -> tuple[dict[str, int], list[str]]:
    """By name, as :meth:`DetailLog.latency_ns`; empty if it lacks the basic ones."""
    if log.mode == ACCURACY_MODE:
        return {}, []
    try:
        return log.latency_ns(), []
    except KeyError as error:
        return {}, [f"LoadGen's latencies: it logged no {error.args[0]}."]


def bound_ns(log: DetailLog) -> int | None:
    """Of latency, in Server; None where it is not logged and elsewhere."""
    value = log.values.get("effective_target_latency_ns")
    return int(value) if log.scenario == "Server" and value is not None else None


def started_at(log: DetailLog) -> str:
    """When the test began, ISO 8601; empty where the log does not tell."""
    if told := log.values.get("test_datetime"):
        return str(told)
    begin = log.values.get("power_begin")
    return datetime.strptime(begin, "%m-%d-%Y %H:%M:%S.%f").isoformat() if begin else ""


def _no_report(path: Path, why: str) -> RequestError:
    return RequestError(
        why,
        remedy=f"A report needs the logs of a finished test; run it again, or leave out {path.parent}.",
    )
