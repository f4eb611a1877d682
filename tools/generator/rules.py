"""What options say against each other, found by asking the schema.

Nothing here knows a rule. Every option is tried alone and with every other one, and what
:class:`BenchmarkConfig` refuses becomes a rule with its own words. A rule of the schema that
takes three options to break, or depends on how large a number is, is not found this way,
except for the one order of numbers in ORDERED.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from loadgen_generic.config import SCENARIOS, BenchmarkConfig, options
from loadgen_generic.option import Option, choices
from loadgen_generic.provider_facts import PROVIDERS

__all__ = ["Rule", "find_rules", "refusal"]

# A value that passes, of the options that take no text of any kind.
EXAMPLES = {
    "dim": "NAME=2",
    "shape": "NAME=2",
    "value_range": "NAME=3:4",
    "fill": "NAME=7",
    "distribution": "NAME=normal",
    "backend_options": "NAME=7",
    "ep_options": "NAME=7",
    "devices": "0,1",
    "image_size": "11x12",
    "image_mean": "0.11",
    "image_scale": "0.12",
    "budget_sec": "13m",
    "endpoint": "host:8099",
    "ray_address": "head:6399",
    "header": "name=word",
}
# Of an option that is open, the values that others depend on.
SPELLINGS = {
    "execution_provider": [
        spelling for facts in PROVIDERS for spelling in (facts.short, facts.name)
    ],
}
# The first has to be no more than the second.
ORDERED = ("min_query_count", "max_query_count")


@dataclass(frozen=True)
class Rule:
    """Options that contradict, unless what one of them needs is given.

    Attributes:
        given: option to the value that it has, ``*`` for any.
        needs: option to the values of which one has to be there, ``*`` for any; empty where
            nothing helps.
        say: the schema's words, with ``{option}`` for the value of an option.
    """

    given: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]
    say: str


@dataclass(frozen=True)
class _Try:
    name: str
    value: str
    scenarios: frozenset[str]
    chosen: bool  # whether this very value is meant, or any


def find_rules() -> list[dict[str, Any]]:
    """Every rule that can be found, as JSON holds it; what is said of two values in particular
    comes before what is said of one of them wherever it stands."""
    tries = list(_tries())
    examples = {one.name: one.value for one in reversed(tries)}
    needs = {(one.name, one.value): rule for one in tries if (rule := _need(one, tries))}
    particular = [each for rule in needs.values() for each in _particular(rule, tries)]
    rules = list(needs.values())
    for first, second in combinations(tries, 2):
        shared = first.scenarios & second.scenarios
        if first.name == second.name or not shared:
            continue
        values = {"scenario": min(shared, key=SCENARIOS.index)}
        values |= {first.name: first.value, second.name: second.value}
        for one in (first, second):
            if (one.name, one.value) in needs:
                values = _helped(values, needs[one.name, one.value], examples)
        said = refusal(values)
        if said and not any(_broken(rule, values) for rule in rules):
            rules.append(Rule(_given(first, second), {}, _with_places(said, first, second)))
    return [asdict(rule) for rule in [*particular, *rules, _order()]]


def refusal(values: Mapping[str, str]) -> str:
    """What the schema says against these options together; empty if nothing."""
    try:
        BenchmarkConfig.model_validate(values)
    except ValidationError as error:
        (first, *_) = error.errors()
        if first["loc"]:
            raise ValueError(f"{first['loc']}: {first['msg']}") from None
        return str(first["msg"]).removeprefix("Value error, ")
    return ""


def _tries() -> Iterator[_Try]:
    for number, (name, option, field) in enumerate(options()):
        if name == "scenario":
            continue
        where = frozenset(option.scenarios or SCENARIOS)
        default = field.get_default(call_default_factory=True)
        for choice in choices(field):
            if choice != default:
                yield _Try(name, choice, where, True)
        for spelling in SPELLINGS.get(name, ()):
            yield _Try(name, spelling, where, True)
        if field.annotation is bool:
            yield _Try(name, str(not default), where, True)
        elif not choices(field) and name not in SPELLINGS:
            yield _Try(name, _example(name, option, field, number), where, False)


def _example(name: str, option: Option, field: FieldInfo, number: int) -> str:
    """A legal value that no other option has, so that it is found in the schema's words."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    if "float" in str(field.annotation):
        return f"0.{number}25"
    return str(100 + number) if "int" in str(field.annotation) else f"{name}-file"


def _need(one: _Try, tries: list[_Try]) -> Rule | None:
    values = {"scenario": min(one.scenarios, key=SCENARIOS.index), one.name: one.value}
    said = refusal(values)
    if not said:
        return None
    needs: dict[str, tuple[str, ...]] = {}
    for other in tries:
        if other.name != one.name and not refusal(values | {other.name: other.value}):
            needs[other.name] = (*needs.get(other.name, ()), other.value if other.chosen else "*")
    return Rule(_given(one), needs, _with_places(said, one))


def _particular(rule: Rule, tries: list[_Try]) -> Iterator[Rule]:
    """The rule for each value that does not help, where the schema has words of its own for it."""
    ((name, value),) = rule.given.items()
    one = next(each for each in tries if each.name == name and value in ("*", each.value))
    for other in tries:
        if not other.chosen or other.value in rule.needs.get(other.name, (other.value,)):
            continue
        shared = one.scenarios & other.scenarios
        values = {"scenario": min(shared, key=SCENARIOS.index), name: one.value}
        said = _with_places(refusal({**values, other.name: other.value}), one, other)
        if said != rule.say:
            needs = {need: many for need, many in rule.needs.items() if need != other.name}
            yield Rule(_given(one, other), needs, said)


def _helped(values: Mapping[str, str], rule: Rule, examples: Mapping[str, str]) -> dict[str, str]:
    """The options with the first that helps them, where nothing that does is there."""
    if not rule.needs or not _broken(rule, values):
        return dict(values)
    name, many = next(iter(rule.needs.items()))
    return {name: examples[name] if many[0] == "*" else many[0], **values}


def _broken(rule: Rule, values: Mapping[str, str]) -> bool:
    def has(name: str, wanted: str) -> bool:
        return name in values and wanted in ("*", values[name])

    helped = any(has(name, one) for name, many in rule.needs.items() for one in many)
    return all(has(name, wanted) for name, wanted in rule.given.items()) and not helped


def _given(*tries: _Try) -> dict[str, str]:
    return {one.name: one.value if one.chosen else "*" for one in tries}


def _with_places(said: str, *tries: _Try) -> str:
    for one in tries:
        for value in () if one.chosen else (one.value, one.value.replace("NAME=", "")):
            said = said.replace(value, f"{{{one.name}}}")
    return said.replace("NAME", "an input")


def _order() -> Rule:
    low, high = ORDERED
    said = refusal({low: "222", high: "111"})
    said = said.replace("222", f"{{{low}}}").replace("111", f"{{{high}}}")
    return Rule({low: "*", high: f"<{{{low}}}"}, {}, said)
