"""The model of a cluster against what must come out by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import cluster_model
from cluster_model import Costs, Fleet, Outcome, saturation, simulate, steady_rate

pytestmark = pytest.mark.slow

MEASURED = {
    "issue_us_per_sample": 2.0,
    "driver_us_per_batch": 100.0,
    "driver_us_per_sample": 0.2,
    "replica_us_per_batch": 200.0,
    "round_trip_us": 500.2,
    "service_us": {"mlp": {"1": 1010.0, "64": 1640.0, "1024": 11240.0}},
}


def poisson(mean_us: float, count: int) -> list[float]:
    gaps = np.random.default_rng(1).exponential(mean_us, count)
    return [float(each) for each in np.cumsum(gaps)]


def answered(outcome: Outcome, samples: int) -> list[int]:
    """How often each sample was answered."""
    times = [0] * samples
    for first, count, *_ in outcome.batches:
        for sample in range(first, first + count):
            times[sample] += 1
    return times


def share_of_linear(costs: Costs, fleet: Fleet) -> float:
    alone = steady_rate(costs, replace(fleet, replicas=1))
    return steady_rate(costs, fleet) / (fleet.replicas * alone)


@pytest.mark.parametrize("dispatch", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("replicas", [12, 60])
def test_driver_that_is_always_busy_sets_the_rate(dispatch: float, replicas: int) -> None:
    costs = Costs(batch=100, sample=1, latency=30, fixed=500)
    fleet = Fleet(replicas, 8, dispatch=dispatch)
    assert steady_rate(costs, fleet) == pytest.approx(1e6 * 8 / (100 + 8), rel=0.03)


@pytest.mark.parametrize("replicas", [1, 2, 10])
def test_replicas_that_are_always_busy_set_the_rate(replicas: int) -> None:
    costs = Costs(batch=10, replica=200, latency=50, fixed=5000, each=100)
    rate = steady_rate(costs, Fleet(replicas, 8))
    assert rate == pytest.approx(1e6 * replicas * 8 / (200 + 5000 + 8 * 100), rel=1e-6)


def test_one_batch_at_a_time_takes_the_whole_way() -> None:
    costs = Costs(batch=40, sample=2, replica=30, latency=25, fixed=100, each=10)
    way = (40 + 2 * 4) + 2 * 25 + (30 + 100 + 10 * 4)
    assert steady_rate(costs, Fleet(1, 4, in_flight=1)) == pytest.approx(1e6 * 4 / way)


def test_second_batch_in_flight_hides_the_way() -> None:
    costs = Costs(batch=40, latency=100, fixed=300)
    rates = [steady_rate(costs, Fleet(1, 1, in_flight=flying)) for flying in (1, 2)]
    assert rates == [pytest.approx(1e6 / 540), pytest.approx(1e6 / 300)]


def test_answers_that_fill_the_link_set_the_rate() -> None:
    fleet = Fleet(20, 8, bytes_per_us=10, answer_bytes=4000)
    message = (cluster_model._FRAME_BYTES + 8 * 4000) / 10
    assert steady_rate(Costs(batch=10, fixed=100), fleet) == pytest.approx(
        1e6 * 8 / message, rel=0.01
    )


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waiting_is_that_of_a_queue_with_one_server(load: float) -> None:
    """M/D/1: the mean wait is load * service / (2 * (1 - load))."""
    service = 100.0
    arrivals = poisson(service / load, 100_000)
    latencies = simulate(Costs(fixed=service), Fleet(1, 1), len(arrivals), arrivals).latencies(
        arrivals
    )
    wait = load * service / (2 * (1 - load))
    assert float(latencies.mean()) - service == pytest.approx(wait, rel=0.06)


def test_lone_query_waits_for_nothing() -> None:
    costs = Costs(issue=5, batch=40, sample=2, replica=30, latency=25, fixed=100, each=10)
    arrivals = [1000.0 * number for number in range(1, 50)]
    latencies = simulate(costs, Fleet(2, 8), len(arrivals), arrivals).latencies(arrivals)
    assert latencies == pytest.approx(5 + 42 + 50 + 140)


def test_queries_that_wait_share_a_batch() -> None:
    arrivals = [1.0 + number / 1000 for number in range(100)]
    batches = simulate(Costs(batch=1, fixed=1000), Fleet(1, 16), 100, arrivals).batches
    assert max(count for _, count, *_ in batches) == 16


@pytest.mark.parametrize("replicas", [1, 3, 40])
@pytest.mark.parametrize("server", [False, True])
def test_every_sample_is_answered_once(replicas: int, server: bool) -> None:
    costs = Costs(issue=3, batch=30, sample=1, latency=20, fixed=200, each=5)
    arrivals = poisson(5, 1003) if server else None
    outcome = simulate(costs, Fleet(replicas, 8), 1003, arrivals)
    assert answered(outcome, 1003) == [1] * 1003
    assert max(count for _, count, *_ in outcome.batches) <= 8
    assert [end for *_, end in outcome.batches] == sorted(end for *_, end in outcome.batches)


def test_slow_replica_gets_less() -> None:
    fleet = Fleet(3, 4, speeds=(1.0, 1.0, 0.5))
    outcome = simulate(Costs(batch=1, fixed=1000), fleet, 4 * 1000)
    batches = [sum(number == each for *_, number, _ in outcome.batches) for each in range(3)]
    assert [each / 1000 for each in batches] == pytest.approx([0.4, 0.4, 0.2], abs=0.02)


def test_equal_replicas_get_the_same() -> None:
    outcome = simulate(Costs(batch=1, latency=10, fixed=1000), Fleet(7, 4), 4 * 700)
    batches = [sum(number == each for *_, number, _ in outcome.batches) for each in range(7)]
    assert max(batches) - min(batches) <= 1


def test_saturation_is_where_the_driver_has_no_time_left() -> None:
    costs = Costs(batch=100, fixed=10_000)
    assert saturation(costs, Fleet(1, 1)) == pytest.approx(100 / 0.95, abs=5)


def test_saturation_may_be_beyond_all_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_model, "_MOST_REPLICAS", 16)
    assert saturation(Costs(batch=1, fixed=1e6), Fleet(1, 1)) is None


def test_batch_that_would_be_enough_is_enough() -> None:
    costs = Costs(batch=100, sample=0.1, fixed=1000, each=1000)
    told = cluster_model.past_it(costs, Fleet(100, 1), per_node=8)["batch"]
    assert share_of_linear(costs, Fleet(100, told)) >= 0.949
    assert share_of_linear(costs, Fleet(100, told - 2)) < 0.95


def test_no_batch_is_enough_where_each_sample_is_too_dear() -> None:
    costs = Costs(batch=100, sample=1, fixed=1000, each=5)
    assert cluster_model.past_it(costs, Fleet(100, 64), per_node=8)["batch"] is None


def test_processes_that_would_be_enough_are_enough() -> None:
    costs = Costs(batch=100, fixed=1000)
    told = cluster_model.past_it(costs, Fleet(100, 1), per_node=8)["processes"]
    assert told == pytest.approx(10, abs=3)
    assert share_of_linear(costs, Fleet(-(-100 // told), 1)) >= 0.95


def test_tree_is_as_busy_as_its_messages_take() -> None:
    costs = Costs(batch=100, sample=1, fixed=1000)
    told = cluster_model.past_it(costs, Fleet(100, 10), per_node=5)
    assert told["root_busy"] == pytest.approx(0.95 * 20 * (100 + 50) / 1000)
    assert told["sub_busy"] == pytest.approx(0.95 * 5 * (100 + 10) / 1000)


def test_measured_times_give_a_fixed_part_and_one_for_each_sample() -> None:
    costs = cluster_model.costs_of(MEASURED, "mlp", 10.0, network_us=50.0)
    assert (costs.fixed, costs.each) == (pytest.approx(100), pytest.approx(1))
    assert costs.latency == pytest.approx((500.2 - 100.2 - 200) / 2 + 50)


def test_time_of_one_size_alone_is_all_for_its_samples() -> None:
    measured = {**MEASURED, "service_us": {"mlp": {"8": 80.0}}}
    costs = cluster_model.costs_of(measured, "mlp", 1.0, network_us=0.0)
    assert (costs.fixed, costs.each) == (0, pytest.approx(10))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_model, "_LEAST_QUERIES", 500)
    monkeypatch.setattr(cluster_model, "_MOST_QUERIES", 2000)


def wrote(directory: Path, name: str, costs: Any = MEASURED, when: str = "2026-01-01") -> Path:
    file = directory / name
    file.write_text(json.dumps({"when": when, "costs": costs}), "utf-8")
    return file


@pytest.mark.usefixtures("quick")
def test_tables_of_measured_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrote(tmp_path, "ray-old.json", costs=None, when="2025-01-01")
    wrote(tmp_path, "ray-new.json")
    asked = ["--output", str(tmp_path), "--replicas", "100", "2", "--faster", "1"]
    assert cluster_model.main(asked) == 0
    told = capsys.readouterr().out
    assert "Past it: what 100 replicas at 95% of linear take" in told
    (file,) = tmp_path.glob("cluster-model-*.json")
    report = json.loads(file.read_text("utf-8"))
    assert report["costs_file"] == "ray-new.json"
    rows = {(row["batch"], row["replicas"]): row for row in report["offline"]}
    assert rows[1, 2]["share_of_linear"] == pytest.approx(1, abs=0.01)
    assert rows[1, 100]["samples_per_sec"] == pytest.approx(1e6 / 100.2, rel=0.01)
    assert rows[1, 100]["driver_busy"] == pytest.approx(1, abs=0.01)
    assert f"{rows[1, 100]['samples_per_sec']:,.0f}" in told
    p99 = [row["p99_us"] for row in report["server"] if row["replicas"] == 2]
    assert p99[0] < p99[-1]


@pytest.mark.parametrize(
    "costs",
    [
        None,
        {},
        {**MEASURED, "service_us": {}},
        {**MEASURED, "issue_us_per_sample": None},
        {**MEASURED, "service_us": {"mlp": {}}},
    ],
)
def test_costs_that_are_not_whole_are_refused(
    costs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = wrote(tmp_path, "ray-half.json", costs)
    assert cluster_model.main(["--costs", str(file), "--output", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "ray-half.json" in told
    assert "ray_runner.py" in told


def test_without_measured_costs_it_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster_model.main(["--output", str(tmp_path)]) == 2
    assert "make venv EP=ray, then" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--replicas", "--faster", "--gbit", "--batches_in_flight"])
def test_nothing_is_no_size_of_a_cluster(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cluster_model.main([flag, "0"])
    assert ended.value.code == 2
    assert flag in capsys.readouterr().err
