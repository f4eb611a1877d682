"""From flags as people type them to a configuration, or a message that helps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.config import BenchmarkConfig, options
from loadgen_generic.config.remote import RemoteOptions
from loadgen_generic.errors import RequestError
from loadgen_generic.flags import flag_names, parse_config

CM_NAMES = {
    "modelpath": "model_path",
    "ep": "execution_provider",
    "intraop": "intra_op_threads",
    "interop": "inter_op_threads",
    "execmode": "execution_mode",
}


@pytest.mark.parametrize(("alias", "name"), CM_NAMES.items())
def test_the_names_that_cm_users_know(alias: str, name: str) -> None:
    value = "parallel" if name == "execution_mode" else "3"
    assert parse_config({alias: value}) == parse_config({name: value})
    assert getattr(parse_config({alias: value}), name) is not None


@pytest.mark.parametrize("flag", flag_names())
def test_dashes_and_underscores_are_one(flag: str) -> None:
    name = flag_names()[flag]
    dashed = flag.replace("_", "-")
    value = "no=such-value" if name == "header" else "no-such-value"
    also = {"backend": "kserve"} if name in RemoteOptions.model_fields else {}
    for spelling in (flag, dashed):
        try:
            reached = getattr(parse_config({spelling: value, **also}), name)
        except RequestError as error:
            reached = f"{error.flag} refused {error.value}"
        # Text fields take it; the others refuse it under the name that was typed.
        assert reached in (value, f"{spelling} refused {value}")


def test_the_same_option_twice() -> None:
    assert parse_config({"ep": "cpu", "execution-provider": "cpu"}).execution_provider == "cpu"
    with pytest.raises(RequestError, match=r"--execution_provider cuda: contradicts --ep cpu"):
        parse_config({"ep": "cpu", "execution_provider": "cuda"})


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("scenaro", r"--scenaro: .*Did you mean --scenario\?"),
        ("model-pth", r"--model-pth: .*Did you mean --model_path\?"),
        ("zzz", r"--zzz: .*See --help"),
    ],
)
def test_unknown(flag: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_config({flag: "1"})


def test_messages_name_the_flag_as_it_was_typed() -> None:
    with pytest.raises(RequestError) as raised:
        parse_config({"intraop": "many"})
    assert (raised.value.flag, raised.value.value) == ("intraop", "many")
    assert raised.value.exit_code == 2


def test_choices_are_listed() -> None:
    with pytest.raises(RequestError, match="Choose one of: SingleStream, MultiStream, Server"):
        parse_config({"scenario": "Batch"})


@given(
    st.dictionaries(
        st.sampled_from([name for name, _, _ in options()]) | st.text(),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
        max_size=4,
    )
)
def test_anything_gives_a_config_or_a_message(values: dict[str, object]) -> None:
    """No value of any type gets past the schema, or out of it as another exception."""
    try:
        outcome: object = parse_config(values)
    except RequestError as error:
        outcome = error
    assert isinstance(outcome, BenchmarkConfig) or len(str(outcome)) > len("--x: ")
