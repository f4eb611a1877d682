"""INVALID results of real LoadGen: each says why, and what it says to try next helps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from command import Command, Outcome
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.cli import _parser, _values
from loadgen_generic.config import options
from loadgen_generic.flags import parse_config
from loadgen_generic.results.build import _command
from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.results.verdict import format_value, judge

INVALID: dict[str, tuple[str, dict[str, object], str]] = {
    "Offline too short": (
        "latency_us=1000",
        {"loadgen_duration_sec": 0.4, "loadgen_expected_qps": 20, "concurrency": 1},
        r"the test took 0\.\d+ s and a valid one takes at least 0\.4 s",
    ),
    "SingleStream too short": (
        "latency_us=1000",
        {
            "scenario": "SingleStream",
            "loadgen_duration_sec": 0.4,
            "loadgen_expected_qps": 100,
        },
        r"the test took 0\.\d+ s and a valid one takes at least 0\.4 s",
    ),
    "SingleStream too few": (
        "",
        {"scenario": "SingleStream", "samples": 10, "loadgen_duration_sec": None},
        r"10 queries are too few to be sure of the 90th percentile, which takes 64",
    ),
    "SingleStream stopped": (
        "latency_us=1000",
        {
            "scenario": "SingleStream",
            "max_query_count": 100,
            "loadgen_duration_sec": 0.4,
            "loadgen_expected_qps": 800,
        },
        r"the test took 0\.1\d* s and a valid one takes at least 0\.4 s",
    ),
    "SingleStream fewer than asked": (
        "",
        {
            "scenario": "SingleStream",
            "max_query_count": 100,
            "samples": 200,
            "loadgen_duration_sec": None,
        },
        r"100 queries were run and 200 are the fewest allowed",
    ),
    "MultiStream too few": (
        "",
        {"scenario": "MultiStream", "samples": 400, "loadgen_duration_sec": None},
        r"50 queries are too few to be sure of the 99th percentile, which takes 662",
    ),
    "Server too few": (
        "",
        {
            "scenario": "Server",
            "samples": 50,
            "target_qps": 2000,
            "target_latency_ms": 2000,
            "loadgen_duration_sec": None,
        },
        r"50 queries are too few .* the 99th percentile; with \d+ over the bound it takes \d+",
    ),
    "Server overloaded": (
        "latency_us=10000",
        {
            "scenario": "Server",
            "target_qps": 105,
            "target_latency_ms": 60,
            "target_latency_percentile": 80,
            "min_query_count": 150,
            "concurrency": 1,
            "loadgen_duration_sec": 0.2,
        },
        r"\d+ of \d+ queries took longer than 60 ms, more than 20 %",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_says_why_and_following_it_leads_to_valid(name: str, command: Command) -> None:
    behaviour, flags, reason = INVALID[name]
    outcome = command.fake(behaviour, warmup_queries=0, seed=3, strict=True, **flags)
    assert outcome.code == 3
    result = outcome.result
    assert not result.valid
    assert len(result.invalid_reasons) >= 1
    assert re.fullmatch(reason, result.invalid_reasons[0]), result.invalid_reasons
    assert result.verdict.startswith(f"INVALID: {result.scenario} ")
    assert all(text in result.verdict for text in result.invalid_reasons)
    assert result.verdict in outcome.stdout
    assert result.next_command in outcome.stdout

    # A run sized by samples alone has no duration; ten seconds are too long for a test.
    shorter = {"loadgen_duration_sec": 0.5} if flags["loadgen_duration_sec"] is None else {}
    for _ in range(4):
        followed = follow(command, outcome, shorter)
        if followed.result.valid:
            return
        assert followed.result.next_command not in ("", outcome.result.next_command)
        outcome = followed
    raise AssertionError(f"never VALID: {outcome.result.verdict} {outcome.result.next_command}")


def follow(command: Command, outcome: Outcome, extra: Mapping[str, object]) -> Outcome:
    """Run what the result says to try next, as a person would paste it."""
    program, *words = shlex.split(outcome.result.next_command)
    assert program == "loadgen-generic"
    extra = {name: value for name, value in extra.items() if f"--{name}" not in words}
    before = set(outcome.run_dir.parent.rglob("result.json"))
    followed = command(*words, output_dir="out", **extra)
    assert followed.code == 0, followed.stderr
    (new,) = set(outcome.run_dir.parent.rglob("result.json")) - before
    return Outcome(followed.code, followed.stdout, followed.stderr, new.parent)


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
    program, *words = shlex.split(_command(fields, {"warmup_queries": "7"}))
    assert program == "loadgen-generic"
    again = parse_config(_values(vars(_parser().parse_args(words))))
    assert again.warmup_queries == 7
    for name, _, _ in options():
        if name != "warmup_queries":
            assert getattr(again, name) == getattr(asked, name)


def test_a_change_to_nothing_takes_the_flag_away() -> None:
    words = shlex.split(_command({"samples": 5, "seed": 1}, {"samples": "", "seed": "2"}))
    assert words == ["loadgen-generic", "run", "--seed", "2"]
    assert parse_config({"samples": ""}).samples is None
