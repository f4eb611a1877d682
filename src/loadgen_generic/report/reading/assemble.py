"""From a directory to the figures of its run."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import ValidationError

from loadgen_generic.report.reading.events import Events, read_events
from loadgen_generic.report.reading.figures import Figures, Histogram, Latencies, OverTime
from loadgen_generic.report.reading.logs import bound_ns, latencies_of, read_log, started_at
from loadgen_generic.report.reading.places import find_logs
from loadgen_generic.report.reading.stream import Told
from loadgen_generic.report.reading.timed import timed_batches, timed_latencies, timed_waiting
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.detail_log import ACCURACY_MODE, HEADLINES, DetailLog
from loadgen_generic.results.findings import percent
from loadgen_generic.results.in_force import logged_settings
from loadgen_generic.results.result import Metric, Result
from loadgen_generic.results.telemetry import (
    TELEMETRY_FILE,
    TELEMETRY_VERSION,
    Telemetry,
    Timeline,
)
from loadgen_generic.results.verdict import Verdict, judge

__all__ = ["read_figures"]

_ROUNDING = 1e-5  # LoadGen logs six digits


def _to_nobody(done: int, size: int) -> None:
    pass


def read_figures(directory: Path, told: Told = _to_nobody) -> Figures:
    """Read the run in a directory, or the one that stands for a campaign's.

    Args:
        told: is called with bytes read and bytes in all, while a trace is read.

    Raises:
        RequestError: there is no finished run in the directory.
    """
    logs, result = find_logs(directory)
    log, missing = read_log(logs)
    latency_ns, lacking = latencies_of(log)
    missing += lacking
    verdict = _verdict(log)
    metric = _metric(log)
    if result is not None:
        missing += _contradictions(result, log, metric)
        metric = result.metric
        verdict = Verdict(result.valid, tuple(result.invalid_reasons), result.verdict, {})
    charts = _Charts(log, logs, missing)
    charts.read(told, ours=result is not None)
    samples, queries = log.samples, log.queries
    if result is not None:
        samples, queries = result.samples_completed, result.queries_completed
    return Figures(
        directory=directory,
        model=_model(result),
        scenario=log.scenario,
        mode=log.mode,
        started_at=result.started_at if result is not None else started_at(log),
        valid=verdict.valid,
        verdict=verdict.sentence,
        reasons=list(verdict.reasons),
        next_command=result.next_command if result is not None else "",
        metric=metric,
        latency_ns=latency_ns,
        percentile=percent(log) if log.scenario != "Offline" else None,
        bound_ns=bound_ns(log),
        samples=samples,
        queries=queries,
        duration_s=log.duration_sec,
        latencies=charts.latencies,
        throughput=charts.throughput,
        waiting=charts.waiting,
        batches=charts.batches,
        machine=charts.machine,
        settings=logged_settings(log),
        result=result,
        missing=missing,
    )


class _Charts:
    """What is drawn over time and by latency: from the trace, else from the timed queries."""

    def __init__(self, log: DetailLog, logs: Path, missing: list[str]) -> None:
        self._log, self._logs, self._missing = log, logs, missing
        self.latencies: Latencies | None = None
        self.throughput: Timeline | None = None
        self.waiting: OverTime | None = None
        self.batches: Histogram | None = None
        self.machine: list[Timeline] = []

    def read(self, told: Told, ours: bool) -> None:
        telemetry = self._telemetry()
        if telemetry is not None:
            self.machine = telemetry.machine
            self.throughput = telemetry.throughput
        if self._log.mode == ACCURACY_MODE:
            self._missing.append("Latencies: an accuracy run is not timed.")
            self._say_of_machine(ours)
            return
        if (events := self._events(told)) is not None:
            self._take(events)
        elif telemetry is not None and telemetry.queries and telemetry.queries.latency_ns:
            timed = telemetry.queries
            self.latencies = timed_latencies(timed, self._log.queries)
            if self._log.scenario == "Server":
                self.waiting, self.batches = timed_waiting(timed), timed_batches(timed)
        self._say_what_lacks(ours)

    def _take(self, events: Events) -> None:
        queue = self._log.scenario == "Server"
        unit = self._log.scenario == "Offline"
        total = self._log.samples if unit else self._log.queries
        self.latencies = events.latencies(total, "sample" if unit else "query")
        self.throughput = events.throughput()
        if queue:
            self.waiting, self.batches = events.waiting(), events.batches()
        if events.samples != self._log.samples:
            self._missing.append(
                f"Samples: the trace holds {events.samples} of {self._log.samples}, so that the "
                "charts are not of all; the disk may have been full."
            )

    def _events(self, told: Told) -> Events | None:
        path = self._logs / LOADGEN_LOGS["trace"]
        if not path.is_file():
            return None
        per_query = 1
        if self._log.scenario == "MultiStream":
            per_query = int(self._log.values.get("effective_samples_per_query", 1))
        try:
            events = read_events(path, per_query, self._log.scenario == "Server", told)
        except (OSError, ValueError) as error:
            self._missing.append(f"The trace: it cannot be read ({error}).")
            return None
        return events if events.samples else None

    def _telemetry(self) -> Telemetry | None:
        path = self._logs / TELEMETRY_FILE
        if not path.is_file():
            return None
        try:
            telemetry = Telemetry.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            why = str(error).splitlines()[0]
            self._missing.append(f"Telemetry: {TELEMETRY_FILE} cannot be read ({why}).")
            return None
        if telemetry.schema_version != TELEMETRY_VERSION:
            self._missing.append(
                f"Telemetry: {TELEMETRY_FILE} has schema_version {telemetry.schema_version}; this "
                f"package reads {TELEMETRY_VERSION}."
            )
            return None
        return telemetry

    def _say_what_lacks(self, ours: bool) -> None:
        trace = "--trace" if ours else "LoadGen's trace (enable_trace)"
        server = " Queue and batch sizes come from there as well." * (
            self._log.scenario == "Server"
        )
        if self.latencies is None and self._log.scenario == "Offline":
            self._missing.append(
                f"Single latencies: Offline is one query; {trace} keeps those of its samples."
            )
        elif self.latencies is None:
            timed = " and no queries that were timed (--telemetry on)" * ours
            self._missing.append(
                f"Single latencies: there is no trace{timed}; {trace} keeps all of them.{server}"
            )
        elif self.latencies.counted < self.latencies.total and self.latencies.source == "timed":
            self._missing.append(
                f"Single latencies: {self.latencies.counted:,} of {self.latencies.total:,} queries "
                f"were timed; {trace} keeps all of them."
            )
        if self.throughput is None:
            self._missing.append(f"Throughput over time: {trace} tells when samples were answered.")
        self._say_of_machine(ours)

    def _say_of_machine(self, ours: bool) -> None:
        if not self.machine:
            why = (
                "the run was not watched (--telemetry on)"
                if ours
                else "the program that made the logs did not watch them"
            )
            self._missing.append(f"Processors, memory and GPUs: {why}.")


def _verdict(log: DetailLog) -> Verdict:
    if log.mode != ACCURACY_MODE:
        return judge(log)
    return Verdict(
        None,
        (),
        "ACCURACY: the samples were answered; LoadGen's log does not say whether rightly.",
        {},
    )


def _metric(log: DetailLog) -> Metric:
    if log.mode == ACCURACY_MODE:
        answered = int(log.values.get("effective_accuracy_sample_count", 0))
        return Metric(name="samples_answered", value=answered, unit="samples")
    headline = HEADLINES[log.scenario]
    value = float(log.values.get(headline.key, 0))
    return Metric(name=headline.key, value=value, unit=headline.unit)


def _contradictions(result: Result, log: DetailLog, logged: Metric) -> list[str]:
    """Where the result and the log beside it are not of the same test."""
    found = []
    if (result.scenario, result.mode) != (log.scenario, log.mode):
        found.append(
            f"One run: result.json is of {result.scenario} {result.mode}, and the log beside it "
            f"of {log.scenario} {log.mode}."
        )
    elif log.mode != ACCURACY_MODE and not math.isclose(
        result.metric.value, logged.value, rel_tol=_ROUNDING
    ):
        found.append(
            f"One run: result.json has {result.metric.value:g} {result.metric.unit}, and the log "
            f"beside it {logged.value:g} {logged.unit}."
        )
    return found


def _model(result: Result | None) -> str:
    if result is None:
        return ""
    path = result.model.path.replace("\\", "/").rstrip("/")
    return path.rpartition("/")[2]
