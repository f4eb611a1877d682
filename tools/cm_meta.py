"""What `_cm.yaml` repeats from the schema: how each option looks to CM."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic.fields import FieldInfo

from loadgen_generic.config import options
from loadgen_generic.option import Option, choices

__all__ = ["cm_flag", "default_of", "describe", "renew_blocks"]

# A CM variation sets these where the user does not. CM's GUI passes every default that
# it shows as a flag, and a flag beats a variation, so they show none.
SET_BY_VARIATION = {"execution_provider"}


def cm_flag(name: str, option: Option) -> str:
    """The flag under which CM knows an option: the name its users already have."""
    return option.aliases[0] if option.aliases else name


def default_of(field: FieldInfo) -> str:
    """A default as it would be typed; empty where the program chooses."""
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, {}, ()) else str(default)


def describe(name: str, option: Option, field: FieldInfo) -> str:
    """One line for CM's help and form, which have no columns for unit or scenarios."""
    text = field.description or ""
    if "=" in option.metavar:
        text += f" ({option.metavar})"
    if name in SET_BY_VARIATION:
        text += f" (default: {default_of(field)}, or that of the variation of the device)"
    if option.scenarios:
        text += f" ({', '.join(option.scenarios)} only)"
    return text + (f" [{option.unit}]" if option.unit else "")


def renew_blocks(text: str) -> str:
    """The text of `_cm.yaml` with every generated block renewed."""
    for block, render in _BLOCKS.items():
        pattern = rf"^( *)# generated: {block}\n(?s:.*?)^\1# end of generated$"
        found = re.search(pattern, text, re.MULTILINE)
        if found is None:
            raise SystemExit(f"_cm.yaml: the markers of the block {block} are missing")
        indent = found.group(1)
        lines = [f"# generated: {block}", *render(), "# end of generated"]
        text = text.replace(found.group(0), "\n".join(indent + line for line in lines))
    return text


def _cm_options() -> Iterator[tuple[str, Option, FieldInfo]]:
    return ((name, option, field) for name, option, field in options() if option.in_cm)


def _input_mapping() -> Iterator[str]:
    yield "input_mapping:"
    for name, option, _ in _cm_options():
        yield f"  {cm_flag(name, option)}: {option.env}"


def _customize() -> Iterator[str]:
    yield "# Names of the schema that CM users do not type: a typo check answers with the flag."
    yield "customize:"
    yield "  schema_names:"
    for name, option, _ in options():
        flag = cm_flag(name, option) if option.in_cm else "modelpath"
        if flag != name:
            yield f"    {name}: {flag}"


def _input_description() -> Iterator[str]:
    yield "input_description:"
    for position, (name, option, field) in enumerate(_cm_options(), start=1):
        entry: dict[str, Any] = {"desc": describe(name, option, field)}
        listed = ("False", "True") if field.annotation is bool else choices(field)
        if listed:
            # CM's form takes the first choice where there is no default, and passes it.
            entry["choices"] = list(listed) if default_of(field) else ["", *listed]
        if default_of(field) and name not in SET_BY_VARIATION:
            entry["default"] = default_of(field)
        entry["sort"] = position
        yield f"  {cm_flag(name, option)}:"
        yield from (f"    {key}: {json.dumps(value)}" for key, value in entry.items())


def _skip_input_for_fake_run() -> Iterator[str]:
    yield "skip_input_for_fake_run:"
    yield "  - env.CM_ML_MODEL_FILE_WITH_PATH"
    for name, option, _ in _cm_options():
        yield f"  - {cm_flag(name, option)}"


_BLOCKS: dict[str, Callable[[], Iterator[str]]] = {
    "input_mapping": _input_mapping,
    "customize": _customize,
    "input_description": _input_description,
    "skip_input_for_fake_run": _skip_input_for_fake_run,
}
