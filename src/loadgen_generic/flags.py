"""From flags as people type them to a :class:`BenchmarkConfig`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from loadgen_generic.config import BenchmarkConfig, options
from loadgen_generic.errors import RequestError
from loadgen_generic.option import choices

__all__ = ["flag_names", "no_such_option", "parse_config"]


def flag_names() -> dict[str, str]:
    """Every spelling of every flag, without dashes, and the field it stands for."""
    return {spelling: name for name, option, _ in options() for spelling in (name, *option.aliases)}


def no_such_option(given: str, known: Iterable[str], otherwise: str) -> RequestError:
    """The error for a flag that does not exist: the one it resembles, or ``otherwise``."""
    near = difflib.get_close_matches(given.replace("-", "_"), known, n=1)
    return RequestError(
        "there is no such option.",
        flag=given,
        remedy=f"Did you mean --{near[0]}?" if near else otherwise,
    )


def parse_config(values: Mapping[str, object]) -> BenchmarkConfig:
    """Build a :class:`BenchmarkConfig` from flags in any known spelling.

    Args:
        values: flag name (``-`` or ``_``, canonical or alias) to value, typed or as text.

    Raises:
        RequestError: an unknown flag, a value out of range, or options that contradict.
    """
    known = flag_names()
    fields: dict[str, object] = {}
    spelled: dict[str, str] = {}
    for key, value in values.items():
        if value == "":  # as CM has it: an empty value is one that was not given
            continue
        flag = key.replace("-", "_")
        if flag not in known:
            raise no_such_option(key, known, "See --help.")
        name = known[flag]
        if name in fields and fields[name] != value:
            raise RequestError(
                f"contradicts --{spelled[name]} {fields[name]}.", flag=key, value=value
            )
        fields[name], spelled[name] = value, key
    try:
        return BenchmarkConfig.model_validate(fields)
    except ValidationError as error:
        raise _as_request_error(error, spelled) from None


def _as_request_error(error: ValidationError, spelled: Mapping[str, str]) -> RequestError:
    first = error.errors()[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return RequestError(message + ".")
    name = str(first["loc"][0])
    options_of_field = choices(BenchmarkConfig.model_fields[name])
    remedy = f"Choose one of: {', '.join(options_of_field)}." if options_of_field else ""
    return RequestError(
        message[0].lower() + message[1:] + ".",
        flag=spelled.get(name, name),
        value=first["input"],
        remedy=remedy,
    )
