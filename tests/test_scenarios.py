"""Each scenario, really run: what the result says is what LoadGen logged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, logged

from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.result import read_result

SHORT: dict[str, dict[str, object]] = {
    "SingleStream": {"loadgen_duration_sec": 0.3},
    "MultiStream": {"loadgen_duration_sec": 0.3},
    "Server": {"loadgen_duration_sec": 0.5, "target_qps": 2000, "target_latency_ms": 5000},
    "Offline": {"samples": 3000},
}
SERVER: dict[str, dict[str, object]] = {
    scenario: {"target_qps": 2000, "target_latency_ms": 100} if scenario == "Server" else {}
    for scenario in SHORT
}
DOCUMENTED = {
    "schema_version",
    "scenario",
    "mode",
    "valid",
    "invalid_reasons",
    "metric",
    "latency_ns",
    "samples_completed",
    "duration_s",
    "config",
    "model",
    "providers",
    "host",
    "packages",
    "loadgen_logs",
}


@pytest.mark.parametrize("scenario", SHORT)
def test_result_is_what_loadgen_logged(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(models("matmul"), scenario=scenario, **SHORT[scenario])
    result, log = outcome.result, logged(outcome.run_dir)

    assert log["effective_scenario"] == log["requested_scenario"] == scenario
    assert result.scenario == result.config.effective["scenario"] == scenario
    assert result.mode == log["effective_test_mode"] == "PerformanceOnly"

    assert log["result_validity"] == "VALID", outcome.stdout
    assert result.valid
    assert result.invalid_reasons == []
    assert result.next_command == ""
    assert result.verdict.startswith("VALID: " + scenario)
    assert result.verdict in outcome.stdout

    assert result.metric.name == HEADLINES[scenario].key
    assert result.metric.value == log[result.metric.name]
    assert result.metric.unit == ("ns" if scenario.endswith("Stream") else "samples/s")

    of_queries = scenario == "MultiStream"
    pattern = rf"result_([\d.]+)_percentile_{'per_query_' if of_queries else ''}latency_ns"
    percentiles = {
        f"p{float(match[1]):g}": value
        for key, value in log.items()
        if (match := re.fullmatch(pattern, key))
    }
    assert {"p50", "p90", "p95", "p99", "p99.9"} <= set(percentiles)
    of = "query_" if of_queries else ""
    ends = {name: log[f"result_{name}_{of}latency_ns"] for name in ("min", "mean", "max")}
    assert result.latency_ns == percentiles | ends

    assert result.queries_completed == log["result_query_count"]
    size = log["effective_samples_per_query"]
    assert result.samples_completed == size * result.queries_completed
    assert size == {"MultiStream": 8, "Offline": result.samples_completed}.get(scenario, 1)
    assert scenario == "Offline" or result.duration_s >= 0.29


@pytest.mark.parametrize("scenario", SHORT)
def test_files_and_keys_of_a_run(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(models("two_inputs"), scenario=scenario, samples=40, **SERVER[scenario])
    result = outcome.result
    on_disk = json.loads((outcome.run_dir / "result.json").read_text("utf-8"))

    assert set(on_disk) >= DOCUMENTED
    assert set(on_disk["metric"]) == {"name", "value", "unit"}
    assert set(on_disk["config"]) == {"requested", "effective"}
    assert on_disk["model"]["path"] == str(models("two_inputs"))
    assert on_disk["model"]["inputs"] == ["a: tensor(float)[Nx4]", "b: tensor(int64)[Nx4]"]
    assert on_disk["model"]["outputs"] == ["y: tensor(float)[Nx4]"]
    assert on_disk["config"]["requested"]["scenario"] == scenario
    assert on_disk["config"]["requested"]["samples"] == 40
    assert on_disk["providers"] == ["CPUExecutionProvider"]
    assert {"onnxruntime", "mlcommons-loadgen", "numpy"} <= set(on_disk["packages"])
    assert on_disk["samples_completed"] == 40

    assert set(on_disk["loadgen_logs"]) == {"detail", "summary", "accuracy", "trace"}
    assert all(Path(path).parent == outcome.run_dir for path in on_disk["loadgen_logs"].values())
    assert all(Path(path).is_file() for path in on_disk["loadgen_logs"].values())

    assert read_result(outcome.run_dir) == read_result(result.path) == result
    assert result.model_dump() == on_disk
    left = {path.name for path in outcome.run_dir.iterdir() if not path.name.startswith("mlperf")}
    assert left == {
        "request.json",
        "result.json",
        "report.html",
        "telemetry.json",
        "harness.log",
    }


@pytest.mark.parametrize("scenario", SHORT)
def test_a_single_sample(scenario: str, command: Command) -> None:
    """LoadGen writes numbers that are none where it divides by the time between two queries."""
    size = {"samples_per_query": 1} if scenario == "MultiStream" else {}
    result = command.fake(scenario=scenario, samples=1, **size, **SERVER[scenario]).result
    assert (result.samples_completed, result.queries_completed) == (1, 1)


@pytest.mark.parametrize(
    "name", ["fixed_batch", "identity", "int64", "bool", "float16", "scalar", "two_inputs"]
)
@pytest.mark.parametrize("scenario", ["MultiStream", "Offline"])
def test_any_signature_runs(
    name: str, scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    result = command.run(models(name), scenario=scenario, samples=24).result
    assert result.samples_completed == 24
    batched = name not in ("fixed_batch", "scalar")
    expected = 8 if batched and scenario == "MultiStream" else 1
    assert result.config.effective["batch_size"] == expected


def test_a_run_sizes_itself_by_a_probe(command: Command) -> None:
    """1.1 x duration x what the probe measured, said before the test and true after it."""
    outcome = command.fake("latency_us=2000", concurrency=2, loadgen_duration_sec=0.5)
    result = outcome.result
    sizing = result.notes[-1]
    assert sizing in outcome.stderr
    found = re.fullmatch(r"(\d+) samples = 1.1 x 0.5 s x ([\d.]+) samples/s", sizing)
    assert found
    assert int(found[1]) == result.samples_completed
    assert float(found[2]) == pytest.approx(result.config.effective["loadgen_expected_qps"], 1e-3)
    assert 0 < float(found[2]) <= 2 / 0.002, "two workers, 2 ms each"
    assert int(found[1]) == pytest.approx(1.1 * 0.5 * float(found[2]), abs=2)


@pytest.mark.parametrize("scenario", SHORT)
def test_a_run_that_is_told_nothing_is_valid(scenario: str, command: Command) -> None:
    """Rates, bounds and counts from the probe alone; only the ten seconds are cut short."""
    verdicts = []
    for attempt in range(3):  # a machine that is busy with something else may miss a bound
        result = command.fake(
            "latency_us=500",
            scenario=scenario,
            concurrency=1,
            loadgen_duration_sec=1,
            output_dir=f"attempt-{attempt}",
        ).result
        if result.valid:
            return
        verdicts.append(result.verdict)
    raise AssertionError(verdicts)
