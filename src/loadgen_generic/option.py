"""What an option is, beyond its type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecoder
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

__all__ = ["Option", "choices", "parse_pairs"]


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line and CM need to know about a field beyond its type.

    Attributes:
        group: heading under which ``--help`` and the README list it.
        env: CM environment key that carries it.
        aliases: further flag names; the first one is the name CM users know.
        unit: unit of the value, empty where it has none.
        scenarios: the scenarios it applies to; empty means all of them.
        metavar: how ``--help`` names the value.
        in_cm: whether CM offers it as a flag of its own.
    """

    group: str
    env: str
    aliases: tuple[str, ...] = ()
    unit: str = ""
    scenarios: tuple[str, ...] = ()
    metavar: str = ""
    in_cm: bool = True


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values a field is limited to, in the order they should be shown; empty if open."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return tuple(get_args(annotation))
    for part in get_args(annotation):
        if get_origin(part) is Literal:
            return tuple(get_args(part))
    return ()


def _split(text: str) -> Iterator[str]:
    """The parts between commas, but a value in JSON's braces as a whole."""
    start = 0
    while start < len(text):
        value = text.find("=", start) + 1
        end = start
        if text.startswith("{", value) and "," not in text[start:value]:
            with suppress(ValueError):
                end = JSONDecoder().raw_decode(text, value)[1]
        comma = text.find(",", end)
        end = len(text) if comma < 0 else comma
        yield text[start:end]
        start = end + 1


def parse_pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dict. A value may be a JSON object, commas and all.

    Raises:
        ValueError: a part is not NAME=VALUE, or a name is there twice.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, map(str.strip, _split(text))):
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            raise ValueError(f"expected NAME=VALUE, got {part!r}")
        if key.strip() in pairs:
            raise ValueError(f"{key.strip()} is given twice")
        pairs[key.strip()] = value.strip()
    return pairs
