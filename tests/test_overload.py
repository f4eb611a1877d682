"""A search ends a test in Server that can no longer pass, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, fake
from hypothesis import assume, given
from hypothesis import strategies as st

from loadgen_generic import BenchmarkConfig, supervisor
from loadgen_generic.campaigns.overload import Overload, lookout_for
from loadgen_generic.errors import OverloadedError

RATES = st.floats(100, 1e6)
SECONDS = st.floats(1, 60)
# Some 900 queries/s at most.
SLOW: dict[str, object] = {
    **fake("latency_us=1000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "Server",
    "target_latency_ms": 50,
    "target_latency_percentile": 90,
    "loadgen_duration_sec": 2,
}


def watched(overload: Overload, answered: Callable[[float], float], seconds: float) -> float | None:
    """When a test is ended whose answers come like this; None if it is not."""
    for look in range(int(10 * seconds) + 1):
        try:
            overload(100 + look / 10, int(answered(look / 10)))
        except OverloadedError:
            return look / 10
    return None


@given(RATES, SECONDS, st.floats(0.77, 2))
def test_who_nearly_keeps_up_is_never_stopped(rate: float, seconds: float, share: float) -> None:
    overload = Overload(rate, 0.01, rate * seconds, 0.01)
    assert watched(overload, lambda at: 1 + share * rate * at, seconds) is None


@given(RATES, SECONDS, st.floats(0, 1))
def test_a_hiccup_that_is_made_up_for_does_not_stop_it(
    rate: float, seconds: float, begin: float
) -> None:
    """Nothing is answered for a tenth of the test, and all of it soon after."""
    overload = Overload(rate, 0.01, rate * seconds, 0.01)
    stall = begin * seconds

    def answered(at: float) -> float:
        return 1 + rate * (stall if stall < at < stall + 0.1 * seconds else at)

    assert watched(overload, answered, seconds) is None


@given(RATES, st.floats(2.5, 60), st.floats(0.01, 0.6))
def test_who_falls_far_behind_is_stopped_half_way(
    rate: float, seconds: float, share: float
) -> None:
    assume(share * rate * seconds > 2)
    overload = Overload(rate, 0.01, rate * seconds, 0.01)
    ended = watched(overload, lambda at: 1 + share * rate * at, seconds)
    assert ended is not None
    assert seconds / 2 <= ended <= seconds / 2 + 0.2


@given(RATES, SECONDS)
def test_it_does_not_count_before_the_first_answer(rate: float, seconds: float) -> None:
    overload = Overload(rate, 0.01, rate * seconds, 0.01)
    assert watched(overload, lambda at: 0, 10 * seconds) is None
    assert watched(overload, lambda at: 1 + rate * at, seconds) is None


@given(SECONDS, st.floats(0.01, 0.6))
def test_a_bound_that_is_longer_than_the_test_may_still_be_met(
    seconds: float, share: float
) -> None:
    overload = Overload(1000, seconds, 1000 * seconds, 0.01)
    assert watched(overload, lambda at: 1 + share * 1000 * at, seconds) is None


@pytest.mark.parametrize(
    "change",
    [
        {"target_qps": None},
        {"target_latency_ms": None},
        {"target_latency_percentile": None},
        {"scenario": "Offline"},
    ],
    ids=["no rate", "no bound", "no percentile", "no load"],
)
def test_where_too_much_load_cannot_be_seen_nobody_looks(change: dict[str, object]) -> None:
    asked = SLOW | {"target_qps": 100} | change
    if asked["scenario"] == "Offline":
        for option in ("target_qps", "target_latency_ms", "target_latency_percentile"):
            del asked[option]
    assert lookout_for(BenchmarkConfig.model_validate(asked)) is None


def test_the_measured_process_ends_and_what_it_wrote_stays(tmp_path: Path) -> None:
    config = BenchmarkConfig.model_validate(
        SLOW | {"target_qps": 5000, "output_dir": str(tmp_path / "out")}
    )
    with pytest.raises(OverloadedError) as caught:
        supervisor.run(config, lookout=lookout_for(config))
    assert 300 < caught.value.answered_per_sec < 1000
    assert 1 <= caught.value.lasted_s < 4
    error = json.loads((tmp_path / "out" / "error.json").read_text())["error"]
    assert error.startswith("the queue grew: ")
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.slow
def test_a_search_from_far_below_stops_what_it_overloads(command: Command) -> None:
    """Twice, four times, then eight times the load before: the last is seven times too much."""
    outcome = command("run", **SLOW, mode="find_peak", target_qps=100)
    assert outcome.code == 0, outcome.stderr
    runs = json.loads((outcome.run_dir / "search.json").read_text())["runs"]
    stopped = [run for run in runs if run.get("stopped")]
    assert stopped
    for run in stopped:
        assert run["load"] > 1200
        assert 300 < run["sustained"] < 1000
        assert run["duration_s"] < run["load"] * 2 / 1000, "to its end it takes longer"
        assert "stopped after" in run["why"]
    search = outcome.result.search
    assert search is not None
    assert search.highest_valid is not None
    assert 300 < search.highest_valid < 1000
    page = (outcome.run_dir / "report.html").read_text()
    assert f"Without a latency, and only in the table: {len(stopped)}." in page
