"""Reading and checking LoadGen's configuration files: ``user.conf`` and ``audit.config``.

A line is ``model.scenario.key = value`` with spaces around the sign, and ``*`` for any model or
scenario. LoadGen skips silently whatever it does not know, so each line is checked here before
LoadGen sees the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.conf.keys import ANY, KEYS, value_error
from loadgen_generic.errors import RequestError

__all__ = ["SCENARIOS", "Conf", "LineError", "Setting", "nearest", "parse", "read_conf"]

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
# What separates words for LoadGen.
_SPACE = re.compile(r"[ \t\v\f\r]+")
# Of the script that verifies an audit, in the same file; LoadGen passes them by.
_OF_VERIFICATION = re.compile(r"test0[1-9]_(?!.*seed)\w+")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line; ``line`` counts from 1."""

    model: str
    scenario: str
    key: str
    text: str
    line: int

    @property
    def name(self) -> str:
        return f"{self.model}.{self.scenario}.{self.key}"


@dataclass(frozen=True, slots=True)
class Conf:
    """A file whose lines are in order."""

    settings: tuple[Setting, ...]

    def lookup(self, model: str, scenario: str, key: str) -> Setting | None:
        """The line that LoadGen heeds: a scenario by name counts for more than a model."""
        places = ((model, scenario), (ANY, scenario), (model, ANY), (ANY, ANY))
        for place in places:
            for each in self.settings:
                if (each.model, each.scenario, each.key) == (*place, key):
                    return each
        return None

    def given(self, model: str, scenario: str) -> dict[str, Setting]:
        """Every key that the file sets for this test, by the line that LoadGen heeds."""
        keys = dict.fromkeys(each.key for each in self.settings)
        found = {key: self.lookup(model, scenario, key) for key in keys}
        return {key: setting for key, setting in found.items() if setting is not None}

    def of_other_models(self, model: str) -> tuple[Setting, ...]:
        """The lines that have no effect, since they name another model."""
        return tuple(each for each in self.settings if each.model not in (ANY, model))


def read_conf(path: Path, flag: str, models: Collection[str]) -> Conf:
    """Read a file and check every line.

    Args:
        flag: ``user_conf`` or ``audit``: the kind of file, and whom to blame.
        models: the names that lines may have for a model.

    Raises:
        RequestError: naming the line, and the nearest name where one is misspelt.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RequestError("there is no such file.", flag=flag, value=path) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(f"cannot be read: {reason}.", flag=flag, value=path) from None
    try:
        conf = parse(text)
        for setting in conf.settings:
            _check(setting, flag, models)
    except LineError as error:
        raise RequestError(f"line {error.line}: {error}", flag=flag, value=path) from None
    return conf


class LineError(Exception):
    """What is wrong with a line, counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message if message.endswith(("?", ".")) else f"{message}.")
        self.line = line


def parse(text: str) -> Conf:
    """The lines of a file, split the way LoadGen splits them.

    Raises:
        LineError: LoadGen would refuse the line, or read it as something else than it looks.
    """
    settings: list[Setting] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        words = [word for word in _SPACE.split(line) if word]
        if not words or _is_comment(words, number):
            continue
        if len(words) < 3 or words[1] != "=":
            raise LineError(
                number, f"expected model.scenario.key = value, with spaces, got {line.strip()!r}"
            )
        if len(words) > 3:
            why = (
                "a comment needs a line of its own" if words[3][0] == "#" else "expected one value"
            )
            raise LineError(number, f"{why}, got {line.strip()!r}")
        # From the right: names of models have dots of their own.
        parts = words[0].rsplit(".", 2)
        if len(parts) < 3 or not all(parts):
            raise LineError(number, f"expected model.scenario.key, got {words[0]}")
        if words[0] in seen:
            raise LineError(number, f"{words[0]} is given in line {seen[words[0]]} already")
        seen[words[0]] = number
        settings.append(Setting(parts[0], parts[1], parts[2], words[2], number))
    return Conf(tuple(settings))


def _is_comment(words: list[str], number: int) -> bool:
    first, *rest = words
    if not first.startswith("#"):
        return False
    # LoadGen takes "#word" for a key, which does no harm where it reads on as one.
    as_key = not rest or rest[0] == "#" or (rest[0] == "=" and len(rest) == 2)
    if first != "#" and not as_key:
        raise LineError(number, f"LoadGen wants a space behind the # of {first!r}")
    return True


def _check(setting: Setting, flag: str, models: Collection[str]) -> None:
    name, scenario, model, line = setting.key, setting.scenario, setting.model, setting.line
    if flag == "audit" and _OF_VERIFICATION.fullmatch(name):
        return
    if name not in KEYS:
        heeded = [each for each, key in KEYS.items() if flag in key.files]
        near = nearest(name, heeded)
        unit = f" (in {KEYS[near].unit})" if near and KEYS[near].unit else ""
        known = f"did you mean {near}{unit}?" if near else f"known are {', '.join(heeded)}"
        raise LineError(line, f"there is no key {name}; {known}")
    if scenario not in (*SCENARIOS, ANY):
        near = nearest(scenario, SCENARIOS)
        known = f"did you mean {near}?" if near else f"known are {', '.join(SCENARIOS)} and *"
        raise LineError(line, f"there is no scenario {scenario}; {known}")
    if model != ANY and model not in models:
        near = nearest(model, models)
        known = f"did you mean {near}?" if near else f"known are {', '.join(sorted(models))} and *"
        raise LineError(line, f"there is no model {model} in LoadGen; {known}")
    key = KEYS[name]
    if flag not in key.files:
        raise LineError(line, f"{name} is not for this file. {key.instead}")
    if key.scenarios and scenario not in (*key.scenarios, ANY):
        raise LineError(
            line, f"{name} has no meaning in {scenario}; it applies to {', '.join(key.scenarios)}"
        )
    if wrong := value_error(name, scenario, setting.text):
        raise LineError(line, wrong)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that a misspelt one is nearest to, in any case; empty if none is near."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""
