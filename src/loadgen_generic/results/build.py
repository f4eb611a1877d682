"""Puts a :class:`Result` together from what the child told and what LoadGen logged."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RunError
from loadgen_generic.machine import describe_host, describe_packages
from loadgen_generic.results.detail_log import HEADLINES, read_detail_log
from loadgen_generic.results.result import ConfigPair, Metric, ModelFacts, Result
from loadgen_generic.results.verdict import judge

__all__ = ["LOADGEN_LOGS", "build_result", "set_logs_aside"]

LOADGEN_LOGS = {
    "detail": "mlperf_log_detail.txt",
    "summary": "mlperf_log_summary.txt",
    "accuracy": "mlperf_log_accuracy.json",
    "trace": "mlperf_log_trace.json",
}


def build_result(
    config: BenchmarkConfig,
    requested: Mapping[str, Any],
    facts: Mapping[str, Any],
    run_dir: Path,
    started_at: str,
) -> tuple[Result, Mapping[str, str]]:
    """Read LoadGen's logs in ``run_dir`` and judge them.

    Args:
        facts: what the measured process told of itself before the test.

    Returns:
        The result, and the flags that would make it valid.

    Raises:
        RunError: the logs do not hold a finished test of the scenario that was asked for.
    """
    log = read_detail_log(run_dir / LOADGEN_LOGS["detail"])
    if log.scenario != config.scenario:
        raise RunError(f"LoadGen ran {log.scenario} though {config.scenario} was asked for")
    headline = HEADLINES[log.scenario]
    verdict = judge(log)
    result = Result(
        started_at=started_at,
        scenario=log.scenario,
        mode=log.mode,
        valid=verdict.valid,
        invalid_reasons=list(verdict.reasons),
        verdict=verdict.sentence,
        next_command=_command(requested, verdict.next_flags) if not verdict.valid else "",
        metric=Metric(
            name=headline.key, value=float(log.values.get(headline.key, 0)), unit=headline.unit
        ),
        latency_ns=log.latency_ns(),
        samples_completed=log.samples,
        queries_completed=log.queries,
        duration_s=log.duration_sec,
        config=ConfigPair(requested=dict(requested), effective=dict(facts["effective"])),
        notes=list(facts["notes"]),
        model=ModelFacts(**facts["model"]),
        providers=list(facts["providers"]),
        host=describe_host(),
        packages=describe_packages(),
        output_dir=str(run_dir),
        loadgen_logs={
            name: str(run_dir / file)
            for name, file in LOADGEN_LOGS.items()
            if (run_dir / file).exists()
        },
    )
    return result, verdict.next_flags


def set_logs_aside(run_dir: Path, attempt: int) -> None:
    """Keep the logs of an attempt that was too short, out of the way of the next."""
    aside = run_dir / f"attempt-{attempt}"
    aside.mkdir()
    for file in LOADGEN_LOGS.values():
        if (run_dir / file).exists():
            (run_dir / file).rename(aside / file)


def _command(requested: Mapping[str, Any], changes: Mapping[str, str]) -> str:
    """The same run with flags changed; a change to an empty text takes the flag away."""
    if not changes:
        return ""
    flags = {name: _as_text(value) for name, value in requested.items()} | dict(changes)
    words = ["loadgen-generic", "run"]
    for name, value in flags.items():
        if value:
            words += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
    return shlex.join(words)


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)
