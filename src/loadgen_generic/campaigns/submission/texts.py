"""The files of a submission that say how its runs were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.campaigns.submission.benchmarks import Benchmark
from loadgen_generic.campaigns.submission.gather import OneRun, Runs
from loadgen_generic.campaigns.submission.system import NOT_STATED
from loadgen_generic.graph.summary import weight_types
from loadgen_generic.results.build import command_line
from loadgen_generic.results.result import Result

__all__ = ["measurements", "scenario_readme", "source_readme", "user_conf"]

_TYPES = {
    "float": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "double": "fp64",
    "bool": "bool",
    "string": "string",
}
# A path of the machine is nobody's business: the name is enough.
_PATHS = ("model_path", "dataset", "user_conf", "audit", "verify")
_OF_ONE_RUN = ("mode", "output_dir", "audit", "send_answers")


def measurements(result: Result, overrides: Mapping[str, str]) -> dict[str, str]:
    """``measurements.json``: what was done to the model and its inputs."""
    types = sorted({_type_of(each) for each in result.model.inputs})
    weights = [_TYPES.get(each, each) for each in weight_types(result.model.path)]
    return {
        "input_data_types": ", ".join(types) or NOT_STATED,
        "weight_data_types": ", ".join(weights) or NOT_STATED,
        "weight_transformations": "none but those of ONNX Runtime's graph optimizer",
        "retraining": NOT_STATED,
        "starting_weights_filename": Path(result.model.path).name or NOT_STATED,
        **overrides,
    }


def user_conf(run: OneRun, benchmark: Benchmark) -> str:
    """What LoadGen was told for the performance run, over its own mlperf.conf, in its format."""
    values, scenario = run.log.values, run.result.scenario
    prefix = f"{benchmark.mlperf_model}.{scenario}"
    settings: dict[str, Any] = {
        "min_duration": int(values["effective_min_duration_ms"]),
        "min_query_count": int(values["effective_min_query_count"]),
    }
    if scenario in ("Offline", "Server"):
        settings["target_qps"] = values["effective_target_qps"]
    else:
        settings["target_latency"] = f"{_expected_ns(values, scenario) / 1e6:.6f}"
    if scenario == "Server":
        # In whole milliseconds, as LoadGen reads it.
        settings["target_latency"] = round(values["effective_target_latency_ns"] / 1e6)
    text = "# Settings of the performance run; times in milliseconds.\n"
    return text + "".join(f"{prefix}.{key} = {value}\n" for key, value in settings.items())


def _expected_ns(values: Mapping[str, Any], scenario: str) -> float:
    name = "single_stream" if scenario == "SingleStream" else "multi_stream"
    return float(values[f"requested_{name}_expected_latency_ns"])


def scenario_readme(runs: Runs, benchmark: Benchmark, accuracy: str) -> str:
    """How the runs were made, what they gave, and how to repeat them."""
    performance = runs.only("performance").result
    effective = performance.config.effective
    lines = [
        f"# {benchmark.name}, {runs.scenario}",
        "",
        (
            f"Model `{Path(performance.model.path).name}`, SHA-256 `{performance.model.sha256}`, "
            "measured by MLPerf LoadGen under loadgen-generic "
            f"{performance.manifest.get('version', '')}."
        ),
        "",
        f"- {performance.verdict}",
        f"- {accuracy}",
        (
            f"- {effective['runner']} runner, {effective['concurrency']} worker(s), "
            f"{effective.get('intra_op_threads', '-')} intra-op thread(s) each, batch "
            f"{effective['batch_size']}, {', '.join(performance.providers)}"
        ),
        *(f"- doubtful: {doubt}" for doubt in performance.doubts),
        "",
        "The runs again:",
        "",
        "```",
        _command(performance, runs.scenario),
        "```",
        "",
        "Packages: "
        + ", ".join(f"{name} {version}" for name, version in sorted(performance.packages.items()))
        + ".",
        "",
    ]
    return "\n".join(lines)


def source_readme(result: Result) -> str:
    git = (result.manifest.get("git") or {}).get("harness") or {}
    commit = git.get("commit")
    of = f", commit {commit}" if commit else ""
    return (
        "# Source\n\n"
        f"The runs were made by loadgen-generic {result.manifest.get('version', '')}{of}: a "
        "harness that runs any ONNX model under MLPerf LoadGen with ONNX Runtime. The file of the "
        "model has the SHA-256 "
        f"`{result.model.sha256}`.\n"
    )


def _command(result: Result, scenario: str) -> str:
    asked = {k: v for k, v in result.config.requested.items() if k not in _OF_ONE_RUN}
    for name in _PATHS:
        if asked.get(name) is not None:
            asked[name] = Path(asked[name]).name
    command = command_line(asked, {"scenario": scenario})
    return command.replace("loadgen-generic run", "loadgen-generic compliance", 1)


def _type_of(described: str) -> str:
    """``fp32`` of ``image: tensor(float)[Nx3]``."""
    name = described.partition("(")[2].partition(")")[0]
    return _TYPES.get(name, name or NOT_STATED)
