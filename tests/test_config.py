"""The schema: typed and text values, what contradicts, what every option carries."""

from __future__ import annotations

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
        if choices(field) and field.default is not None:
            assert field.default in choices(field)
        flags += [name, *option.aliases]
        environment.append(option.env)
    assert len(set(flags)) == len(flags)
    assert len(set(environment)) == len(environment)


def test_defaults_are_valid() -> None:
    plain = config()
    assert config(**plain.model_dump(exclude_none=True)) == plain.model_copy()


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
