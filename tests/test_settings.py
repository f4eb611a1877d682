"""From a request and a probe to numbers that LoadGen takes, with arithmetic that is true."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from loadgen_generic.config import SCENARIOS, BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.seams import Estimate
from loadgen_generic.settings import TestSettings, needs_probe, plan_settings, samples_per_query

INT64_MAX = 2**63 - 1
ONLY_IN = {
    "target_qps": {"Server"},
    "target_latency_ms": {"Server"},
    "target_latency_percentile": {"SingleStream", "MultiStream", "Server"},
    "samples_per_query": {"MultiStream"},
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "loadgen_duration_sec": st.floats(0, 86400),
    "samples": st.integers(1, 2**40),
    "min_query_count": st.integers(1, 2**40),
    "max_query_count": st.integers(1, 2**40),
    "loadgen_expected_qps": st.floats(1e-6, 1e9),
    "target_qps": st.floats(1e-6, 1e9),
    "target_latency_ms": st.floats(1e-3, 3.6e6),
    "target_latency_percentile": st.floats(1, 99.99),
    "samples_per_query": st.integers(1, 2**20),
    "seed": st.integers(0, 2**63 - 1),
}


@st.composite
def requests(draw: st.DrawFn) -> BenchmarkConfig:
    scenario = draw(st.sampled_from(SCENARIOS))
    allowed = [name for name in VALUES if scenario in ONLY_IN.get(name, SCENARIOS)]
    names = draw(st.sets(st.sampled_from(allowed)))
    given_values = {name: draw(VALUES[name]) for name in sorted(names)}
    fewest, most = given_values.get("min_query_count"), given_values.get("max_query_count")
    assume(not (fewest and most and fewest > most))
    return BenchmarkConfig.model_validate({"scenario": scenario, **given_values})


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    rate = draw(st.floats(1e-3, 1e7))
    return Estimate(rate, draw(st.floats(1e-6, 100)))


def planned(config: BenchmarkConfig, estimate: Estimate) -> TestSettings:
    try:
        return plan_settings(config, estimate if needs_probe(config) else None)
    except RequestError as error:
        refusal = str(error)
    assert "would have to prepare" in refusal or "less than one query a day" in refusal
    reject()


@settings(max_examples=150, deadline=None)
@given(requests(), estimates())
def test_numbers_that_loadgen_takes(config: BenchmarkConfig, estimate: Estimate) -> None:
    plan = planned(config, estimate)
    for name in ("min_duration_ms", "min_query_count", "max_query_count", "samples_per_query"):
        value = getattr(plan, name)
        assert type(value) is int
        assert 0 <= value <= INT64_MAX
    assert plan.scenario == config.scenario
    assert plan.min_query_count >= 1
    assert plan.samples_per_query >= 1
    assert 0 < plan.percentile < 100
    assert 0 <= plan.seed <= INT64_MAX
    if plan.scenario == "Server":
        assert plan.target_qps > 0
        assert round(plan.target_latency_ms * 1e6) > 0
    else:
        assert plan.expected_qps > 0
    if plan.scenario.endswith("Stream"):
        latency_ns = round(1e9 * plan.samples_per_query / plan.expected_qps)
        assert 0 < latency_ns <= INT64_MAX
    if plan.max_query_count:
        assert plan.max_query_count == config.max_query_count or config.samples


@settings(max_examples=150, deadline=None)
@given(requests(), estimates())
def test_what_was_asked_for_is_kept(config: BenchmarkConfig, estimate: Estimate) -> None:
    plan = planned(config, estimate)
    if config.loadgen_duration_sec is not None:
        assert plan.min_duration_ms == round(config.loadgen_duration_sec * 1000)
    elif config.samples:
        assert plan.min_duration_ms == 0
    else:
        assert plan.min_duration_ms == 10_000
    if config.samples:
        assert plan.min_query_count * samples_per_query(config) >= config.samples
    if config.min_query_count:
        assert plan.min_query_count >= config.min_query_count
    for name in ("target_qps", "target_latency_ms"):
        if getattr(config, name) is not None:
            assert getattr(plan, name) == getattr(config, name)
    if config.target_latency_percentile is not None:
        assert plan.percentile == config.target_latency_percentile


@settings(max_examples=150, deadline=None)
@given(requests(), estimates())
def test_the_arithmetic_is_true(config: BenchmarkConfig, estimate: Estimate) -> None:
    plan = planned(config, estimate)
    for note in plan.notes:
        if found := re.fullmatch(r"(\d+) samples = 1.1 x (\S+) s x (\S+) samples/s", note):
            total, duration, rate = (float(number) for number in found.groups())
            assert duration * 1000 == pytest.approx(plan.min_duration_ms, rel=1e-5, abs=0.5)
            assert rate == pytest.approx(plan.expected_qps, rel=6e-3)
            asked = 1.1 * plan.min_duration_ms / 1000 * plan.expected_qps
            assert total == pytest.approx(asked, rel=1e-9, abs=1)
        elif found := re.match(r"(\d+) queries, .*about (\d+) s at (\S+) queries/s", note):
            total, seconds, rate = (float(number) for number in found.groups())
            assert total >= plan.min_query_count
            assert seconds == pytest.approx(total / rate, rel=6e-3, abs=0.6)
            assert seconds >= plan.min_duration_ms / 1000 * 0.99 - 1
        elif found := re.match(r"(\S+) queries/s = (\S+) x (\S+) samples/s measured", note):
            rate, share, measured = (float(number) for number in found.groups())
            assert rate == plan.target_qps
            assert rate == pytest.approx(share * measured, rel=0.011, abs=0.06)
        elif found := re.match(r"latency bound (\S+) ms, since a lone query takes (\S+) ms", note):
            bound, latency = (float(number) for number in found.groups())
            assert bound == pytest.approx(plan.target_latency_ms, rel=6e-3)
            assert bound == pytest.approx(max(100, 10 * latency), rel=0.02)
        elif found := re.match(r"(\d+) (queries|samples)(, as asked for)?$", note):
            assert int(found[1]) == plan.min_query_count
        else:
            assert note.startswith("shorter: --target_latency_percentile 90 takes 64 queries")


@pytest.mark.parametrize(
    ("scenario", "queries", "percentile"),
    [("SingleStream", 64, 90), ("MultiStream", 662, 99), ("Server", 662, 99), ("Offline", 1, 99)],
)
def test_defaults(scenario: str, queries: int, percentile: float) -> None:
    config = BenchmarkConfig.model_validate({"scenario": scenario})
    plan = plan_settings(config, Estimate(100.0, 0.02))
    assert (plan.min_query_count, plan.percentile) == (queries, percentile)
    assert plan.max_query_count == 0
    assert plan.samples_per_query == (8 if scenario == "MultiStream" else 1)
    if scenario == "Server":
        assert (plan.target_qps, plan.target_latency_ms) == (50, 200)


def test_the_example_of_the_documentation() -> None:
    plan = plan_settings(BenchmarkConfig(), Estimate(54.54, 0.0))  # type: ignore[call-arg]
    assert plan.notes == ("599 samples = 1.1 x 10 s x 54.5 samples/s",)


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, True),
        ({"samples": 10}, False),
        ({"samples": 10, "loadgen_duration_sec": 3}, True),
        ({"loadgen_expected_qps": 10}, False),
        ({"scenario": "Server"}, True),
        ({"scenario": "Server", "target_qps": 10}, True),
        ({"scenario": "Server", "target_qps": 10, "target_latency_ms": 10}, False),
        ({"scenario": "Server", "samples": 10}, True),
        ({"scenario": "SingleStream", "samples": 10}, False),
    ],
)
def test_when_a_probe_is_needed(fields: dict[str, Any], needed: bool) -> None:
    assert needs_probe(BenchmarkConfig.model_validate(fields)) is needed


def test_too_many_queries_to_prepare_is_refused() -> None:
    config = BenchmarkConfig.model_validate(
        {"scenario": "SingleStream", "loadgen_expected_qps": 1e8}
    )
    with pytest.raises(RequestError, match="Take at most 0 s"):
        plan_settings(config, None)


@pytest.mark.parametrize(
    ("scenario", "flag"),
    [
        ("SingleStream", "loadgen_expected_qps"),
        ("MultiStream", "loadgen_expected_qps"),
        ("Server", "loadgen_expected_qps"),
        ("Server", "target_qps"),
    ],
)
def test_less_than_a_query_a_day_is_refused(scenario: str, flag: str) -> None:
    config = BenchmarkConfig.model_validate({"scenario": scenario, flag: 1e-6})
    with pytest.raises(RequestError, match=f"--{flag} 1e-06: .*a day"):
        plan_settings(config, Estimate(1.0, 1.0))


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream"])
def test_a_long_test_is_told_how_to_be_shorter(scenario: str) -> None:
    config = BenchmarkConfig.model_validate({"scenario": scenario})
    plan = plan_settings(config, Estimate(8.0, 1.0))
    shorter = [note for note in plan.notes if note.startswith("shorter: ")]
    assert bool(shorter) is (scenario == "MultiStream")
