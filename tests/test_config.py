"""The schema: typed and text values, what contradicts, what every option carries."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadgen_generic.config import SCENARIOS, BenchmarkConfig, choices, options
from loadgen_generic.option import parse_pairs


def config(**fields: Any) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("name", "text", "typed"),
    [
        ("samples", "10", 10),
        ("loadgen_duration_sec", "2.5", 2.5),
        ("loadgen_expected_qps", "1e3", 1000.0),
        ("concurrency", "0", 0),
        ("dim", "seq=3, width=4", {"seq": 3, "width": 4}),
        ("dim", "", {}),
        ("backend_options", "a=1,b=x=y", {"a": "1", "b": "x=y"}),
        ("scenario", "singlestream", "SingleStream"),
        ("scenario", " OFFLINE ", "Offline"),
        ("execution_mode", "Parallel", "parallel"),
        ("runner", "ThreadPool", "threadpool"),
        ("model", "Demo", "demo"),
        ("mode", "Tune", "tune"),
        ("graph_optimization", "Basic", "basic"),
    ],
)
def test_text_means_the_same_as_a_typed_value(name: str, text: str, typed: object) -> None:
    assert getattr(config(**{name: text}), name) == typed
    assert getattr(config(**{name: typed}), name) == typed


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": 1},
        {"samples": True, "scenario": "offlin"},
        {"samples": "1.5"},
        {"dim": {"seq": "x"}},
        {"dim": 3},
        {"seed": 2**63},
        {"target_qps": 1, "scenario": "Offline"},
        {"min_query_count": 5, "max_query_count": 4},
        {"execution_mode": "both"},
        {"execution_provider": None},
        {"model": "demo", "model_path": "x.onnx"},
        {"mode": "tune", "repeat": 2},
        {"mode": "tune", "audit": "audit.config"},
        {"mode": "tune", "save_outputs": True},
        {"mode": "tune", "verify_fraction": 0.5},
        {"mode": "tune", "allow": "float8"},
        {"mode": "tune", "allow": "int8,float8"},
    ],
)
def test_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**fields)


def test_options_of_another_scenario_are_refused_only_where_given() -> None:
    for name, option, _ in options():
        for scenario in SCENARIOS if option.scenarios else ():
            fields = {"scenario": scenario, name: 5}
            if scenario in option.scenarios:
                assert getattr(config(**fields), name) == 5
            else:
                with pytest.raises(ValidationError, match=f"--{name} has no meaning"):
                    config(**fields)
            assert getattr(config(scenario=scenario, **{name: None}), name) is None


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        config().samples = 3


def test_every_option_is_complete_and_unambiguous() -> None:
    flags: list[str] = []
    environment: list[str] = []
    for name, option, field in options():
        assert field.description, name
        assert option.group, name
        assert option.env.startswith("CM_"), name
        assert set(option.scenarios) <= set(SCENARIOS)
        default = field.get_default(call_default_factory=True)
        if choices(field) and default not in (None, ()):
            assert default in choices(field)
        flags += [name, *option.aliases]
        environment.append(option.env)
    assert len(set(flags)) == len(flags)
    assert len(set(environment)) == len(environment)


def test_defaults_are_valid() -> None:
    plain = config()
    assert config(**plain.model_dump(exclude_none=True)) == plain.model_copy()


def test_no_group_of_options_hides_a_validator_of_another() -> None:
    """They are put together by inheritance, where the later of two of one name never runs."""
    named = [
        name
        for group in BenchmarkConfig.__bases__
        for name, each in vars(group).items()
        if isinstance(each, (classmethod, FunctionType)) and not name.startswith("__")
    ]
    assert len(set(named)) == len(named)


NAMES = st.text(st.characters(exclude_characters=",=", exclude_categories=["C", "Z"]), min_size=1)
TEXTS = st.text(st.characters(exclude_characters=",", exclude_categories=["C", "Z"]))


@given(st.dictionaries(NAMES, TEXTS), st.sampled_from([",", " , ", ",,"]))
def test_pairs_come_back_as_written(pairs: dict[str, str], comma: str) -> None:
    text = comma.join(f"{name}={value}" for name, value in pairs.items())
    assert parse_pairs(text) == pairs


@given(st.text())
def test_pairs_parse_or_say_why(text: str) -> None:
    try:
        pairs = parse_pairs(text)
    except ValueError as error:
        pairs, reason = {}, str(error)
    else:
        reason = ""
    assert not reason or "NAME=VALUE" in reason or "twice" in reason
    assert all(name and name == name.strip() for name in pairs)


# --- tuning


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("600", 600),
        ("2.5", 2.5),
        ("90s", 90),
        ("10m", 600),
        (" 1H ", 3600),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("1.5h", 5400),
        ("168h", 604_800),
        (90, 90),
    ],
)
def test_a_budget_as_people_write_it(given: object, seconds: float) -> None:
    assert config(mode="tune", budget_sec=given).budget_sec == seconds


@pytest.mark.parametrize(
    "text", ["", "ten", "m", "1h30", "30m1h", "10 m", "-5m", "0", "0.5", "168h1s", "nan", "1d"]
)
def test_what_is_no_budget_is_answered_with_what_is(text: str) -> None:
    with pytest.raises(ValidationError, match="600, 90s, 10m, 1h or 1h30m") as refused:
        config(mode="tune", budget_sec=text)
    assert refused.value.errors()[0]["input"] == text


@given(st.integers(0, 160), st.integers(0, 59), st.integers(0, 59), st.sampled_from(["", " "]))
def test_a_budget_comes_back_as_written(hours: int, minutes: int, seconds: int, gap: str) -> None:
    parts = {"h": hours, "m": minutes, "s": seconds}
    text = gap.join(f"{number}{unit}" for unit, number in parts.items() if number) or "1s"
    expected = 3600 * hours + 60 * minutes + seconds or 1
    assert config(mode="tune", budget_sec=text).budget_sec == expected
    assert config(mode="tune", budget_sec=str(expected)).budget_sec == expected


@given(st.text(alphabet="0123456789.hms +-e_ x") | st.text())
def test_a_budget_is_in_range_or_refused(text: str) -> None:
    try:
        found, why = config(mode="tune", budget_sec=text).budget_sec, ""
    except ValidationError as error:
        found, why = None, str(error)
    assert "1h30m" in why if found is None else 1 <= found <= 604_800


@pytest.mark.parametrize("given", ["int8", " INT8 ", "int8,", ["int8"], ("int8",)])
def test_allowed_precisions_are_one_word_a_list_or_commas(given: object) -> None:
    tuned = config(mode="tune", allow=given)
    assert tuned.allow == ("int8",)
    assert tuned.model_dump()["allow"] == "int8", "as it is typed"
    assert config(**tuned.model_dump()) == tuned


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"budget_sec": "10m"}, "--budget has no meaning without --mode tune"),
        ({"allow": "int8", "mode": "find_peak"}, "--allow has no meaning without --mode tune"),
        ({"tolerance": "int8"}, "--tolerance has no meaning without --verify or --mode tune"),
        ({"tolerance": "int8", "atol": 1, "mode": "tune"}, "--atol 1 and --tolerance int8"),
        ({"tolerance": "tf32", "rtol": 0.5, "verify": "data"}, "--rtol 0.5 and --tolerance tf32"),
    ],
)
def test_options_of_tuning_that_contradict(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**fields)


@pytest.mark.parametrize("name", ["verify_samples", "atol", "rtol"])
def test_tuning_compares_answers_unasked(name: str) -> None:
    assert getattr(config(mode="tune", **{name: 1}), name) == 1
    assert config(mode="tune", verify="data", tolerance="bfloat16").tolerance == "bfloat16"
    assert config(mode="tune", tolerance="BFloat16").verify is None
