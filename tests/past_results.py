"""Results on disk as runs leave them, with figures of the test's choice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median, median_low
from typing import Any

from loadgen_generic.results.bootstrap import CONFIDENCE, median_interval, spread
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.many_runs import Repetition, Search
from loadgen_generic.results.result import ConfigPair, Metric, ModelFacts, Result, write_json

__all__ = ["peak_of", "repeated", "single"]

HOST = {"name": "here", "cpu": "a processor", "cores_available": 4, "python": "3.11.7"}


def single(directory: Path, value: float, scenario: str = "SingleStream", **changes: Any) -> Path:
    """The directory of one run; ``changes`` are fields of the result, ``effective`` and
    ``requested`` those of its options that differ from the usual ones."""
    effective = {
        "backend": "onnxruntime",
        "batch_size": 1,
        "target_qps": 100.0 if scenario == "Server" else 0.0,
        "samples_per_query": 8 if scenario == "MultiStream" else 1,
        "target_latency_percentile": 90.0 if scenario == "SingleStream" else 99.0,
        **changes.pop("effective", {}),
    }
    requested = {"model_path": "net.onnx", "scenario": scenario, **changes.pop("requested", {})}
    headline = HEADLINES[scenario]
    fields: dict[str, Any] = {
        "started_at": "2026-01-31T12:00:00+0000",
        "mode": "PerformanceOnly",
        "valid": True,
        "invalid_reasons": [],
        "verdict": "VALID",
        "next_command": "",
        "latency_ns": {"p50": int(value), "p90": int(value), "p99": int(2 * value)},
        "samples_completed": 1000,
        "queries_completed": 1000,
        "duration_s": 10.0,
        "notes": [],
        "model": ModelFacts(path="/models/net.onnx", sha256="ab" * 32, inputs=[], outputs=[]),
        "providers": ["CPUExecutionProvider"],
        "host": HOST,
        "packages": {"onnxruntime": "1.32.0"},
        "loadgen_logs": {},
        **changes,
    }
    result = Result(
        scenario=scenario,
        metric=Metric(name=headline.key, value=value, unit=headline.unit),
        config=ConfigPair(requested=requested, effective=effective),
        output_dir=str(directory),
        **fields,
    )
    directory.mkdir(parents=True)
    write_json(directory / "request.json", requested)
    write_json(result.path, result.model_dump())
    return directory


def repeated(
    directory: Path, values: Sequence[float], scenario: str = "SingleStream", **changes: Any
) -> Path:
    """The directory of a ``--repeat``, with a run for each value inside."""
    names = [f"runs/{number:03d}" for number in range(1, len(values) + 1)]
    found = Repetition(
        runs=len(values),
        values=list(values),
        median=median(values),
        spread=spread(values),
        confidence=CONFIDENCE,
        interval=median_interval(values),
        file=str(directory / "repeat.json"),
    )
    single(directory, median_low(values), scenario, repeat=found, **changes)
    for name, value in zip(names, values, strict=True):
        single(directory / name, value, scenario, **changes)
    journal = {"schema_version": 1, "state": "finished", "runs": [{"directory": n} for n in names]}
    (directory / "repeat.json").write_text(json.dumps(journal))
    return directory


def peak_of(directory: Path, load: float | None) -> Path:
    """The directory of a search for the highest load in Server."""
    found = Search(
        option="target_qps",
        unit="queries/s",
        highest_valid=load,
        lowest_invalid=None,
        trials=9,
        sentence="",
        command="",
        file=str(directory / "search.json"),
    )
    return single(directory, load or 1.0, "Server", search=found)
