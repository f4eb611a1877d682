"""What a run leaves of what was seen of it, against LoadGen's own account of the same run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from command import Command, Outcome, logged

from loadgen_generic.progress import Phase
from loadgen_generic.results.telemetry import Telemetry, TimedQueries
from loadgen_generic.telemetry.live import Live
from loadgen_generic.telemetry.queries import Latencies, Timed
from loadgen_generic.telemetry.schedule import Schedule
from loadgen_generic.telemetry.throughput import Throughput

_TRACED = re.compile(
    r'"name":"Sample","cat":"default","ph":"b".*?"ts":([\d.]+),.*?"query_seq":(\d+),.*?'
    r'"issue_start_ns":(-?\d+),"complete_ns":(\d+)'
)


def telemetry_of(outcome: Outcome) -> Telemetry:
    summary = outcome.result.telemetry
    assert summary is not None
    text = (outcome.run_dir / "telemetry.json").read_text("utf-8")
    assert summary.file == str(outcome.run_dir.resolve() / "telemetry.json")
    return Telemetry.model_validate_json(text)


def queries_of(outcome: Outcome) -> TimedQueries:
    queries = telemetry_of(outcome).queries
    assert queries is not None
    return queries


def traced(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """By LoadGen's trace, for each query: when it was issued (s since the first), and how long
    after it was due its last sample was answered (ns)."""
    text = (outcome.run_dir / "mlperf_log_trace.json").read_text("utf-8")
    rows = np.array([[float(field) for field in row] for row in _TRACED.findall(text)])
    due_us, number, late_ns, done_ns = rows[np.lexsort((rows[:, 3], rows[:, 1]))].T
    last = np.append(number[1:] != number[:-1], True)
    issued_s = (due_us + late_ns / 1e3)[last] / 1e6
    return issued_s - issued_s[0], done_ns[last]


def total(telemetry: Telemetry) -> float:
    """Samples under the curve of throughput."""
    at_s = np.array([0.0, *telemetry.throughput.at_s])
    (series,) = telemetry.throughput.series
    assert series.unit == "samples/s"
    return float(np.sum(np.diff(at_s) * np.array(series.values, float)))


def test_server_queries_agree_with_loadgens_trace(command: Command) -> None:
    outcome = command.fake(
        "latency_us=2000",
        scenario="Server",
        target_qps=200,
        target_latency_ms=50,
        samples=300,
        trace=True,
        runner="threadpool",
        concurrency=2,
        batch_size=4,
    )
    queries = queries_of(outcome)
    assert (queries.every, queries.issued, queries.lost) == (1, 300, 0)
    issued_s, latency_ns = traced(outcome)
    assert np.median(np.abs(np.array(queries.at_s) - issued_s)) < 0.002
    assert np.median(queries.latency_ns) == pytest.approx(np.median(latency_ns), rel=0.05)
    assert np.median(np.abs(np.array(queries.latency_ns) - latency_ns)) < 0.5e6
    assert min(queries.waiting) == 1
    assert set(queries.batch) <= {1, 2, 3, 4}
    assert total(telemetry_of(outcome)) == pytest.approx(300, rel=0.01)


def test_latency_in_server_counts_from_when_a_query_was_due(command: Command) -> None:
    """Overloaded, LoadGen's thread is busy with a query while others fall due."""
    outcome = command.fake(
        "latency_us=6000",
        scenario="Server",
        runner="inline",
        batch_size=1,
        concurrency=1,
        target_qps=190,  # up to 200 each query is timed
        target_latency_ms=20,
        samples=200,
        trace=True,
    )
    queries = queries_of(outcome)
    _, latency_ns = traced(outcome)
    assert np.median(latency_ns) > 20e6
    assert np.median(np.abs(np.array(queries.latency_ns) - latency_ns)) < 0.5e6


def test_another_schedule_is_found_out() -> None:
    ours, other = Schedule(2, 200.0, 1), Schedule(3, 200.0, 1)
    timed = Timed(1, 1000, ours)
    timed.add((number, 1000 + ours.due_ns(number), 7, 1, 1) for number in range(500))
    record = timed.record(500, 0, ours)
    assert record is not None
    assert set(record.latency_ns) == {7}
    assert timed.record(500, 0, other) is None


def test_seeds_of_64_bits_are_cut_as_loadgen_cuts_them() -> None:
    assert Schedule(2**40 + 3, 200.0, 1).due_ns(9) == Schedule(3, 200.0, 1).due_ns(9)


def test_a_part_of_many_queries_is_timed(command: Command) -> None:
    outcome = command.fake(
        "latency_us=200",
        scenario="MultiStream",
        samples_per_query=8,
        loadgen_duration_sec=1,
        trace=True,
        concurrency=2,
        batch_size=4,
        runner="threadpool",
    )
    queries = queries_of(outcome)
    assert queries.every > 1
    assert queries.issued == logged(outcome.run_dir)["result_query_count"]
    assert len(queries.at_s) == -(-queries.issued // queries.every)
    issued_s, latency_ns = traced(outcome)
    difference = np.array(queries.at_s) - issued_s[:: queries.every]
    assert np.median(np.abs(difference)) < 0.002
    ours, theirs = np.median(queries.latency_ns), np.median(latency_ns[:: queries.every])
    assert ours == pytest.approx(theirs, rel=0.1)
    assert set(queries.batch) == {4}
    assert min(queries.waiting) >= 8


def test_workers_in_other_processes(command: Command) -> None:
    outcome = command.fake(
        "latency_us=5000", scenario="SingleStream", samples=30, runner="processpool"
    )
    queries = queries_of(outcome)
    assert len(queries.at_s) == 30, "each query of a slow model is timed"
    assert min(queries.latency_ns) > 5e6
    assert queries.at_s == sorted(queries.at_s)


def test_offline_has_no_latencies_but_all_else(command: Command) -> None:
    outcome = command.fake("latency_us=5000", samples=200, concurrency=1, batch_size=1)
    telemetry = telemetry_of(outcome)
    assert telemetry.queries is None
    assert total(telemetry) == pytest.approx(200, rel=0.01)
    duration = outcome.result.duration_s
    titles = {line.title for line in telemetry.machine}
    assert {"CPU by core", "Memory"} <= titles
    for line in [telemetry.throughput, *telemetry.machine]:
        assert all(0 <= at <= duration for at in line.at_s)
        assert all(series.unit and len(series.values) == len(line.at_s) for series in line.series)
    assert len(telemetry.throughput.at_s) >= 8
    summary = outcome.result.telemetry
    assert summary is not None
    assert summary.peak_memory_bytes is not None
    assert 1e6 < summary.peak_memory_bytes < 1e10
    assert not (outcome.run_dir / ".pulse").exists()


def test_a_test_that_nobody_saw(command: Command) -> None:
    outcome = command.fake(samples=5)
    telemetry, summary = telemetry_of(outcome), outcome.result.telemetry
    assert len(telemetry.throughput.at_s) == 1
    assert summary is not None
    assert summary.mean_cpu_share is None


def test_accuracy_mode_times_nothing(command: Command) -> None:
    outcome = command.fake(mode="accuracy", scenario="SingleStream", distinct_samples=40)
    telemetry = telemetry_of(outcome)
    assert telemetry.queries is None
    assert telemetry.throughput.at_s


def test_off_leaves_nothing(command: Command) -> None:
    outcome = command.fake(telemetry="off", scenario="SingleStream", samples=5)
    assert outcome.result.telemetry is None
    assert not (outcome.run_dir / "telemetry.json").exists()
    assert not (outcome.run_dir / ".pulse").exists()


def test_a_crash_leaves_no_traces_of_the_pulse(command: Command) -> None:
    outcome = command.fake("fail_at=20", scenario="SingleStream", samples=50)
    assert outcome.code == 1
    assert not (outcome.run_dir / ".pulse").exists()


def test_percentiles_from_bins() -> None:
    latencies = Latencies()
    draw = np.random.default_rng(1).exponential(1e6, 5000)
    for value in draw.astype(int).tolist():
        latencies.add(value)
    for percent in (50, 90, 99):
        assert latencies.percentile_ns(percent) == pytest.approx(
            float(np.percentile(draw, percent)), rel=0.02
        )
    assert Latencies().percentile_ns(99) is None


def test_too_few_latencies_have_no_p99() -> None:
    latencies = Latencies()
    for _ in range(100):
        latencies.add(5)
    assert latencies.percentile_ns(99) == pytest.approx(5, rel=0.02)
    few = Latencies()
    few.add(5)
    assert few.percentile_ns(99) is None


def test_far_more_rows_than_expected_are_thinned_evenly() -> None:
    timed = Timed(3)
    timed.add((3 * number, number, 7, 1, 1) for number in range(250_000))
    record = timed.record(750_000, 0, None)
    assert record is not None
    assert record.every == 12
    assert record.at_s == [round(number / 1e9, 6) for number in range(0, 250_000, 4)]


def test_throughput_of_a_long_test_keeps_its_sum() -> None:
    throughput = Throughput()
    for look in range(1, 10_000):
        throughput.add(look * 100_000_000, look * look)
    line = throughput.timeline(50_000_000, 999_950_000_000, 10_000**2)
    assert 250 < len(line.at_s) <= 602
    (series,) = line.series
    spans = np.diff([0.0, *line.at_s])
    assert float(np.sum(spans * np.array(series.values, float))) == pytest.approx(1e8, rel=1e-3)
    assert series.values == sorted(series.values, key=float), "it rises evenly"


def test_the_verdict_so_far() -> None:
    settings = {
        "mode": "performance",
        "samples_per_query": 2,
        "target_latency_percentile": 90.0,
        "target_latency_ms": 20.0,
        "min_query_count": 64,
        "min_duration_ms": 10_000,
    }
    latencies = Latencies()
    for _ in range(50):
        latencies.add(25_000_000)

    def verdict(scenario: str, samples: int, elapsed: float) -> str:
        live = Live()
        live.glance(0.0, Phase.TESTING, 0, {}, None)
        effective = {**settings, "scenario": scenario}
        return live.glance(elapsed, Phase.TESTING, samples, effective, latencies).verdict

    assert verdict("MultiStream", 24, 1.0) == "12 of 64 queries needed"
    assert verdict("MultiStream", 128, 4.0) == "4 of 10 s needed"
    assert verdict("MultiStream", 128, 10.0) == "long enough"
    assert verdict("Offline", 24, 4.0) == "4 of 10 s needed"
    assert verdict("Server", 24, 4.0) == "over the bound of 20 ms"


def test_the_rate_is_that_of_the_last_two_seconds() -> None:
    live, effective = Live(), {"mode": "accuracy", "scenario": "Offline", "samples_per_query": 1}
    effective["target_latency_percentile"] = 99.0
    for tenths in range(101):
        samples = min(tenths, 50) * 10  # 100/s, and nothing any more after five seconds
        glance = live.glance(tenths / 10, Phase.TESTING, samples, effective, None)
        if tenths == 50:
            assert glance.rate == pytest.approx(100)
    assert glance.rate == 0
