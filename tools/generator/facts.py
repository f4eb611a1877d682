"""What the page's script has to know of options and variations, as JSON holds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cm_meta import SET_BY_VARIATION, cm_flag, default_of
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from generator.rules import find_rules, refusal
from loadgen_generic.config import BenchmarkConfig, options
from loadgen_generic.option import Option, choices

__all__ = ["facts", "option_facts", "variation_groups"]

_MALFORMED = "??!"
_PATHS = ("FILE", "PATH", "DIR")


def facts(meta: Mapping[str, Any]) -> dict[str, Any]:
    """All that the script is given: tags, variations, options, rules."""
    flags = {name: cm_flag(name, option) for name, option, _ in options() if option.in_cm}
    return {
        "tags": meta["tags"],
        "groups": variation_groups(meta),
        "options": option_facts(),
        "rules": [_by_flag(rule, flags) for rule in find_rules() if flags.keys() >= _names(rule)],
    }


def variation_groups(meta: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Group to its variations, the default one, and the flags that a variation gives where they
    are not typed; group ``""`` holds those without a group."""
    found: dict[str, dict[str, Any]] = {
        group: {"names": [], "default": "", "gives": {}}
        for group in [*meta["variation_groups_order"], ""]
    }
    flags = {env: flag for flag, env in meta["input_mapping"].items()}
    for name, variation in meta["variations"].items():
        if "," in name:  # what CM adds where several are chosen together
            continue
        group = found[variation.get("group", "")]
        group["names"].append(name)
        given = {**variation.get("default_env", {}), **variation.get("env", {})}
        group["gives"][name] = {flags[env]: each for env, each in given.items() if env in flags}
        if variation.get("default"):
            group["default"] = name
    return found


def option_facts() -> dict[str, dict[str, Any]]:
    """CM's flag to what may be typed there. Bounds are text: 2**63 is no JavaScript number."""
    return {
        cm_flag(name, option): _one(name, option, field)
        for name, option, field in options()
        if option.in_cm
    }


def _one(name: str, option: Option, field: FieldInfo) -> dict[str, Any]:
    kind = _kind(option, field)
    entry: dict[str, Any] = {
        "kind": kind,
        "group": option.group,
        "unit": option.unit,
        "scenarios": list(option.scenarios),
        "choices": list(choices(field)),
        "default": "" if name in SET_BY_VARIATION else default_of(field),
        "form": option.metavar,
    }
    for constraint in field.metadata:
        for bound in ("ge", "gt", "le", "lt"):
            if hasattr(constraint, bound):
                entry[bound] = str(getattr(constraint, bound))
    if kind in ("int", "float"):
        entry["auto"] = _complaint(name, "auto") == ""
    if kind == "text":
        entry["path"] = bool(re.search("|".join(_PATHS), option.metavar))
    if kind in ("text", "pairs"):
        malformed = f"NAME={_MALFORMED}" if kind == "pairs" else _MALFORMED
        entry["malformed"] = _complaint(name, malformed).replace(f"{_MALFORMED!r}", "{value}")
    if name == "header":  # judged where its value is not shown
        entry["malformed"] = refusal({"backend": "kserve", name: _MALFORMED})
    return entry


def _kind(option: Option, field: FieldInfo) -> str:
    if choices(field):
        return "choice"
    spelled = str(field.annotation)
    if spelled.startswith("dict"):
        return "pairs"
    if option.metavar:  # a number as well, in a form of its own
        return "text"
    return next((kind for kind in ("bool", "float", "int") if kind in spelled), "text")


def _complaint(name: str, text: str) -> str:
    """What the schema says of this value itself; empty if nothing."""
    try:
        BenchmarkConfig.model_validate({name: text})
    except ValidationError as error:
        (first, *_) = error.errors()
        return str(first["msg"]).removeprefix("Value error, ") if first["loc"] else ""
    return ""


def _names(rule: Mapping[str, Any]) -> set[str]:
    return {*rule["given"]} | {*rule["needs"]}


def _by_flag(rule: Mapping[str, Any], flags: Mapping[str, str]) -> dict[str, Any]:
    def renamed(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: f"{{{flags[found[1]]}}}", text)

    return {
        "given": {flags[name]: renamed(value) for name, value in rule["given"].items()},
        "needs": {flags[name]: list(values) for name, values in rule["needs"].items()},
        "say": renamed(rule["say"]),
    }
