"""LoadGen's figures computed again: on recorded runs, and in runs with ``--trace``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Command, logged
from record_runs import RUNS, read_runs

from loadgen_generic.errors import RunError
from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.results.statistics import Latencies, differences, percentile, recompute
from loadgen_generic.results.trace import read_trace
from loadgen_generic.results.verdict import judge

RECORDED = read_runs()
_ROUNDED = {"result_samples_per_second", "result_qps_without_loadgen_overhead"}
# What a rate over the whole test needs, the time of LoadGen's first query, is in no trace.
_NOT_FROM_LATENCIES = {
    "result_validity",
    "result_min_duration_met",
    "result_min_queries_met",
    "result_invalid_reason",
    "result_qps_with_loadgen_overhead",
    "result_scheduled_samples_per_sec",
    "result_completed_samples_per_sec",
    "early_stopping_result",
}


def latencies_of(run: dict[str, Any]) -> Latencies:
    taken = np.array(run["latency_ns"], np.int64)
    size = run["log"]["effective_samples_per_query"]
    return Latencies(np.arange(len(taken)) // size, taken * 0, taken * 0, taken)


def figures_of(run: dict[str, Any]) -> dict[str, int | float | bool]:
    log = run["log"]
    return recompute(
        latencies_of(run),
        log["effective_scenario"],
        log["effective_target_latency_percentile"],
        log["effective_target_latency_ns"],
    )


def test_what_was_recorded() -> None:
    """All scenarios, met and missed conditions, and queries whose samples differ."""
    assert [run["flags"] for run in RECORDED] == [flags for _, flags in RUNS]
    counts = Counter(run["log"]["effective_scenario"] for run in RECORDED)
    assert sum(counts.values()) >= 50
    assert min(counts.values()) >= 9
    assert len(counts) == 4
    seen = {
        (run["log"]["effective_scenario"], run["log"]["early_stopping_met"]) for run in RECORDED
    }
    for scenario in ("SingleStream", "MultiStream", "Server"):
        assert {(scenario, True), (scenario, False)} <= seen
    assert {run["log"].get("result_perf_constraints_met") for run in RECORDED} == {
        True,
        False,
        None,
    }
    assert any(
        run["log"]["result_50.00_percentile_latency_ns"]
        != run["log"].get("result_50.00_percentile_per_query_latency_ns")
        for run in RECORDED
        if run["log"]["effective_scenario"] == "MultiStream"
    )


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_figures_equal_those_of_loadgen(number: int) -> None:
    run = RECORDED[number]
    figures, log = figures_of(run), run["log"]
    assert set(figures) - {"result_qps_without_loadgen_overhead"} <= set(log)
    for key, ours in figures.items():
        if key in _ROUNDED:
            assert ours == pytest.approx(log[key], rel=5e-6)
        else:
            assert ours == log[key], key
    left = {key for key in log if key.startswith(("result_", "early_stopping_"))} - set(figures)
    assert left <= _NOT_FROM_LATENCIES


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_a_figure_that_differs_makes_it_invalid(scenario: str) -> None:
    run = next(
        run
        for run in RECORDED
        if (run["log"]["effective_scenario"], run["log"]["result_validity"]) == (scenario, "VALID")
    )
    log = DetailLog({**run["log"], "effective_max_query_count": 0}, (), ())
    assert differences(figures_of(run), log) == []
    assert judge(log).valid
    for key in figures_of(run):
        value = run["log"][key]
        wrong = not value if isinstance(value, bool) else value * 1.001 + 1
        changed = DetailLog({**run["log"], key: wrong}, (), ())
        (doubt,) = differences(figures_of(run), changed)
        assert key in doubt
        assert str(wrong) in doubt
        verdict = judge(log, [doubt])
        assert verdict.valid is False
        assert doubt in verdict.sentence
    without = {k: v for k, v in run["log"].items() if k != "result_mean_latency_ns"}
    assert len(differences(figures_of(run), DetailLog(without, (), ()))) == 1


def test_loadgen_takes_one_further_than_the_nearest_rank() -> None:
    ascending = np.arange(1, 101)
    assert percentile(ascending, 0.9) == 91
    assert percentile(ascending, 0.999) == 100
    assert percentile(ascending[:1], 0.5) == 1


def test_what_takes_exactly_the_bound_is_not_over_it() -> None:
    taken = np.arange(1, 1001)
    latencies = Latencies(np.arange(1000), taken, taken, taken)
    for bound, over, met in ((991, 9, True), (990, 10, False)):
        figures = recompute(latencies, "Server", 0.99, bound)
        assert figures["result_overlatency_query_count"] == over
        assert figures["result_perf_constraints_met"] is met


@pytest.mark.parametrize(
    "flags",
    [
        {"scenario": "SingleStream", "samples": 100},
        {"scenario": "MultiStream", "samples": 200, "samples_per_query": 4, "batch_size": 1},
        {"scenario": "Server", "samples": 100, "target_qps": 1000, "target_latency_ms": 50},
        {"scenario": "Offline", "samples": 300},
    ],
    ids=lambda flags: flags["scenario"],
)
def test_trace_keeps_latencies_and_checks(flags: dict[str, object], command: Command) -> None:
    outcome = command.fake("latency_us=50", trace=True, **flags)
    statistics, log = outcome.result.statistics, logged(outcome.run_dir)
    assert statistics is not None
    assert statistics.agree
    assert statistics.differences == []
    assert statistics.checked >= 12
    assert statistics.samples == outcome.result.samples_completed == flags["samples"]
    assert f"{statistics.checked} figures of LoadGen's" in outcome.stdout

    names, *rows = Path(statistics.latencies_file).read_text("ascii").splitlines()
    assert names == "query,sample_index,issued_after_ns,latency_ns"
    table = np.array([list(map(int, row.split(","))) for row in rows])
    assert len(table) == flags["samples"]
    assert len(set(table[:, 0])) == log["result_query_count"]
    assert table[:, 3].min() == log["result_min_latency_ns"]
    assert table[:, 3].max() == log["result_max_latency_ns"]
    assert (table[:, 2] <= table[:, 3]).all()
    assert set(table[:, 1]) <= set(range(outcome.effective["distinct_samples"]))


def test_without_trace_there_is_none(command: Command) -> None:
    outcome = command.fake(samples=20)
    assert outcome.result.statistics is None
    assert not (outcome.run_dir / "latencies.csv").exists()
    assert (outcome.run_dir / "mlperf_log_trace.json").stat().st_size == 0


def test_trace_of_accuracy_mode_is_refused(command: Command) -> None:
    outcome = command.fake(trace=True, mode="accuracy")
    assert outcome.code == 2
    assert "--trace" in outcome.stderr
    assert "--mode accuracy" in outcome.stderr


def test_trace_that_lacks_samples(tmp_path: Path) -> None:
    line = (
        '{"name":"Sample","cat":"default","ph":"b","pid":1,"id":0,"ts":1.0,"args":{"sample_seq":%d'
        ',"query_seq":%d,"sample_idx":3,"issue_start_ns":0,"complete_ns":70}},\n'
    )
    path = tmp_path / "mlperf_log_trace.json"
    with pytest.raises(RunError, match="left no trace"):
        read_trace(path)
    path.write_text('{"traceEvents":[\n' + line % (1, 1) + line % (0, 0))
    assert read_trace(path).query.tolist() == [0, 1]
    path.write_text("")
    assert len(read_trace(path).latency_ns) == 0
