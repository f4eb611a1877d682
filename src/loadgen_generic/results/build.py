"""Puts a :class:`Result` together from what the child told and what LoadGen logged."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.remote import asks_this_machine
from loadgen_generic.errors import RunError
from loadgen_generic.machine import describe_host
from loadgen_generic.results.cluster import Cluster, cluster_of, doubts_of_cluster
from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.detail_log import ACCURACY_MODE, HEADLINES, DetailLog, read_detail_log
from loadgen_generic.results.devices import shares_of
from loadgen_generic.results.doubts import (
    conditions_between,
    doubts_of_computation,
    doubts_of_gpus,
    doubts_of_test,
)
from loadgen_generic.results.in_force import changed_settings, logged_settings
from loadgen_generic.results.manifest import manifest
from loadgen_generic.results.phases import Phases
from loadgen_generic.results.profile import PROFILE_FILE, Profile
from loadgen_generic.results.result import (
    Accuracy,
    ConfigPair,
    Metric,
    ModelFacts,
    Result,
    Statistics,
    Verification,
)
from loadgen_generic.results.statistics import differences, recompute
from loadgen_generic.results.telemetry import TELEMETRY_FILE
from loadgen_generic.results.trace import read_trace, write_latencies
from loadgen_generic.results.verdict import judge, judge_accuracy

__all__ = [
    "LATENCIES_FILE",
    "LOADGEN_LOGS",
    "as_text",
    "build_result",
    "command_line",
    "set_logs_aside",
]

LOADGEN_LOGS = {
    "detail": "mlperf_log_detail.txt",
    "summary": "mlperf_log_summary.txt",
    "accuracy": "mlperf_log_accuracy.json",
    "trace": "mlperf_log_trace.json",
}
LATENCIES_FILE = "latencies.csv"


def build_result(
    config: BenchmarkConfig,
    requested: Mapping[str, Any],
    facts: Mapping[str, Any],
    run_dir: Path,
    started_at: str,
) -> tuple[Result, Mapping[str, str]]:
    """Read LoadGen's logs in ``run_dir`` and judge them.

    Args:
        facts: what the measured process told of itself before the test, and of the answers after it.

    Returns:
        The result, and the flags that would make it valid.

    Raises:
        RunError: the logs do not hold a finished test of the scenario that was asked for.
    """
    log = read_detail_log(run_dir / LOADGEN_LOGS["detail"])
    settings = logged_settings(log)
    if log.scenario != config.scenario:
        raise RunError(f"LoadGen ran {log.scenario} though {config.scenario} was asked for")
    answers = facts.get("answers", {})
    accuracy = Accuracy(**answers["accuracy"]) if "accuracy" in answers else None
    verification = Verification(**answers["verification"]) if "verification" in answers else None
    if (log.mode == ACCURACY_MODE) != (accuracy is not None):
        raise RunError(f"LoadGen ran in mode {log.mode} though {config.mode} was asked for")
    statistics = _statistics(log, run_dir) if config.trace and accuracy is None else None
    doubts = statistics.differences if statistics is not None else []
    computed_on = str(computation_of(requested, facts["effective"]))
    verdict = (
        judge_accuracy(accuracy, computed_on)
        if accuracy is not None
        else judge(log, doubts, computed_on)
    )
    conditions = conditions_between(**facts["conditions"]) if "conditions" in facts else None
    cluster = cluster_of(facts["cluster"]) if "cluster" in facts else None
    result = Result(
        started_at=started_at,
        scenario=log.scenario,
        mode=log.mode,
        valid=verdict.valid,
        invalid_reasons=list(verdict.reasons),
        verdict=verdict.sentence,
        next_command="" if verdict.valid else command_line(requested, verdict.next_flags),
        metric=_speed(log) if accuracy is None else _accuracy_metric(accuracy),
        latency_ns=log.latency_ns() if accuracy is None else {},
        samples_completed=log.samples if accuracy is None else accuracy.samples,
        queries_completed=log.queries,
        duration_s=log.duration_sec,
        config=ConfigPair(requested=dict(requested), effective=dict(facts["effective"])),
        settings=settings,
        notes=[*facts["notes"], *changed_settings(settings, log.scenario)],
        model=ModelFacts(**facts["model"]),
        providers=list(facts["providers"]),
        host={**describe_host(), "python": facts["python"]},
        packages=dict(facts["packages"]),
        output_dir=str(run_dir),
        loadgen_logs={
            name: str(run_dir / file)
            for name, file in LOADGEN_LOGS.items()
            if (run_dir / file).exists()
        },
        accuracy=accuracy,
        verification=verification,
        statistics=statistics,
        doubts=_doubts(requested, facts, conditions, cluster),
        conditions=conditions,
        manifest=manifest(facts["model"]["path"]),
        devices=shares_of(facts["devices"]["each"]) if "devices" in facts else None,
        cluster=cluster,
        telemetry=facts.get("telemetry"),
        profile=Profile(**facts["profile"]) if "profile" in facts else None,
        phases=Phases(**facts["phases"]) if "phases" in facts else None,
        load_s=facts.get("load_s"),
    )
    return result, verdict.next_flags


def _doubts(
    requested: Mapping[str, Any],
    facts: Mapping[str, Any],
    conditions: Mapping[str, Any] | None,
    cluster: Cluster | None,
) -> list[str]:
    telemetry, effective = facts.get("telemetry"), facts["effective"]
    endpoint = effective.get("endpoint")
    server_here = endpoint is not None and asks_this_machine(endpoint)
    return [
        *doubts_of_computation(requested, effective),
        *(doubts_of_test(conditions, server_here) if conditions is not None else []),
        *(doubts_of_gpus(telemetry.gpus) if telemetry is not None else []),
        *(doubts_of_cluster(cluster) if cluster is not None else []),
    ]


def _statistics(log: DetailLog, run_dir: Path) -> Statistics:
    """Compute LoadGen's figures again from its trace, and keep the latencies."""
    latencies = read_trace(run_dir / LOADGEN_LOGS["trace"])
    file = run_dir / LATENCIES_FILE
    write_latencies(latencies, file)
    share = float(log.values["effective_target_latency_percentile"])
    bound_ns = int(log.values["effective_target_latency_ns"])
    samples = len(latencies.latency_ns)
    if samples == log.samples:
        figures = recompute(latencies, log.scenario, share, bound_ns)
        found = differences(figures, log)
    else:
        figures = {}
        found = [
            (
                f"LoadGen's figures cannot be checked, since its trace holds {samples} of "
                f"{log.samples} samples; if the disk is full, make room or choose another --output_dir"
            )
        ]
    return Statistics(
        samples=samples,
        checked=len(figures),
        agree=not found,
        differences=found,
        latencies_file=str(file),
    )


def _speed(log: DetailLog) -> Metric:
    headline = HEADLINES[log.scenario]
    value = float(log.values.get(headline.key, 0))
    return Metric(name=headline.key, value=value, unit=headline.unit)


def _accuracy_metric(accuracy: Accuracy) -> Metric:
    if accuracy.top_1 is None:
        return Metric(name="samples_answered", value=accuracy.samples, unit="samples")
    return Metric(name="top_1_accuracy", value=100 * accuracy.top_1, unit="%")


def set_logs_aside(run_dir: Path, attempt: int) -> None:
    """Keep the logs of an attempt that was too short, out of the way of the next."""
    aside = run_dir / f"attempt-{attempt}"
    aside.mkdir()
    for file in (*LOADGEN_LOGS.values(), TELEMETRY_FILE, PROFILE_FILE):
        if (run_dir / file).exists():
            (run_dir / file).rename(aside / file)


def command_line(requested: Mapping[str, Any], changes: Mapping[str, str]) -> str:
    """The same run with flags changed; a change to an empty text takes the flag away."""
    if not changes:
        return ""
    flags = {name: as_text(value) for name, value in requested.items()} | dict(changes)
    words = ["loadgen-generic", "run"]
    for name, value in flags.items():
        if value in ("True", "False"):
            words.append(f"--{name}" if value == "True" else f"--no-{name}")
        elif value:
            words += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
    return shlex.join(words)


def as_text(value: object) -> str:
    """The value of an option as it is typed."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)
