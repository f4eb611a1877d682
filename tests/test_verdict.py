"""The verdict on a log, and the command that goes with it; on real runs in
``test_ways_to_fail.py``."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from command import Command
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.cli import _parser
from loadgen_generic.commands.options import given_options
from loadgen_generic.config import options
from loadgen_generic.flags import parse_config
from loadgen_generic.results.build import command_line
from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.results.verdict import format_value, judge


def test_valid_needs_no_next_command(command: Command) -> None:
    outcome = command.fake(samples=50)
    assert outcome.result.verdict.startswith("VALID: Offline ")
    assert "over 50 samples" in outcome.result.verdict
    assert outcome.result.next_command == ""
    assert "try next" not in outcome.stdout


LOG = {
    "effective_scenario": "Offline",
    "effective_test_mode": "PerformanceOnly",
    "result_validity": "VALID",
    "result_query_count": 1,
    "effective_samples_per_query": 10,
    "result_samples_per_second": 5.0,
}


def test_errors_that_loadgen_logged_make_it_invalid() -> None:
    verdict = judge(DetailLog(LOG, ("Multiple conf files are used.",), ()))
    assert not verdict.valid
    assert verdict.reasons == ("LoadGen reported: Multiple conf files are used.",)
    assert "Multiple conf files" in verdict.sentence


SERVER = LOG | {
    "effective_scenario": "Server",
    "effective_target_latency_ns": 10**9,
    "effective_target_latency_percentile": 0.99,
    "effective_target_qps": 500,
    "result_query_count": 1000,
    "effective_samples_per_query": 1,
    "result_perf_constraints_met": True,
    "result_min_latency_ns": 10**6,
    "result_mean_latency_ns": 10**6,
    "result_max_latency_ns": 9 * 10**6,
    "result_50.00_percentile_latency_ns": 5 * 10**6,
    "result_90.00_percentile_latency_ns": 8 * 10**6,
}


@pytest.mark.parametrize(
    ("completed", "median", "valid"),
    [(490.0, 5 * 10**6, True), (300.0, 5 * 10**6, False), (300.0, 10**6, True)],
    ids=["kept up", "a queue grew", "the answer to the last query came late"],
)
def test_a_server_that_does_not_keep_up(completed: float, median: int, valid: bool) -> None:
    rates = {
        "result_scheduled_samples_per_sec": 500.0,
        "result_completed_samples_per_sec": completed,
        "result_50.00_percentile_latency_ns": median,
    }
    verdict = judge(DetailLog(SERVER | rates, (), ()))
    assert verdict.valid is valid
    assert verdict.next_flags == ({} if valid else {"target_qps": "250"})


def test_what_a_longest_duration_cuts_off_is_said() -> None:
    """It can come from a file of settings only, so no flag of ours takes it away."""
    stopped = {
        "result_validity": "INVALID",
        "result_min_queries_met": False,
        "effective_min_query_count": 2000,
        "effective_max_duration_ms": 1500,
        "power_begin": "12-31-2025 23:59:59.000",
        "power_end": "01-01-2026 00:00:00.600",
    }
    verdict = judge(DetailLog(SERVER | stopped, (), ()))
    assert verdict.reasons == (
        (
            "1000 queries were run and 2000 are the fewest allowed, since it was stopped by a "
            "max_duration of 1.5 s"
        ),
    )
    assert verdict.next_flags == {"min_query_count": "2000"}


@pytest.mark.parametrize("reasons", [(), ("Because.",)])
def test_invalid_without_a_reason_that_is_known(reasons: tuple[str, ...]) -> None:
    verdict = judge(DetailLog(LOG | {"result_validity": "INVALID"}, (), reasons))
    assert not verdict.valid
    assert verdict.reasons == (reasons or ("LoadGen gave no reason",))
    assert verdict.next_flags == {}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (950, "ns", "950 ns"),
        (12_345, "ns", "12.35 us"),
        (12_345_678, "ns", "12.35 ms"),
        (1.5e9, "ns", "1.5 s"),
        (54.5678, "samples/s", "54.57 samples/s"),
        (123456.7, "samples/s", "123,457 samples/s"),
    ],
)
def test_values_for_people(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


REQUESTS: dict[str, st.SearchStrategy[Any]] = {
    "model_path": st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
    ).filter(lambda text: not text.startswith("-")),
    "samples": st.integers(1, 2**40),
    "loadgen_expected_qps": st.floats(1e-3, 1e9),
    "loadgen_duration_sec": st.floats(0, 86400),
    "seed": st.integers(0, 2**63 - 1),
    "backend_options": st.dictionaries(
        st.sampled_from(["a", "session.b"]), st.text("abc/ '\"$=", min_size=1).map(str.strip)
    ),
    "dim": st.dictionaries(st.sampled_from(["seq", "n"]), st.integers(1, 99)),
}


@given(st.fixed_dictionaries({}, optional=REQUESTS))
def test_next_command_asks_for_the_same_run(fields: dict[str, Any]) -> None:
    """Whatever was asked for survives the way through a shell's quoting and back."""
    asked = parse_config(fields)
    program, *words = shlex.split(command_line(fields, {"warmup_queries": "7"}))
    assert program == "loadgen-generic"
    again = parse_config(given_options(vars(_parser().parse_args(words))))
    assert again.warmup_queries == 7
    for name, _, _ in options():
        if name != "warmup_queries":
            assert getattr(again, name) == getattr(asked, name)


def test_a_change_to_nothing_takes_the_flag_away() -> None:
    words = shlex.split(command_line({"samples": 5, "seed": 1}, {"samples": "", "seed": "2"}))
    assert words == ["loadgen-generic", "run", "--seed", "2"]
    assert parse_config({"samples": ""}).samples is None
