"""The options of a run as flags of a command, and back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from loadgen_generic.config import BenchmarkConfig, choices, options
from loadgen_generic.errors import RequestError
from loadgen_generic.flags import flag_names, no_such_option, parse_config

__all__ = ["Parser", "add_options", "given_options", "help_text", "spellings", "unknown_words"]


class Parser(argparse.ArgumentParser):
    """Raises what is wrong with a command line instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}. See {self.prog} --help.")


def add_options(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """A flag for every option of a run, in groups; ``model_file`` for the model by position."""
    parser.add_argument("model_file", nargs="?", metavar="MODEL", help="the same as --model_path")
    groups: dict[str, Any] = {}
    for name, option, field in options():
        if name in leave_out:
            continue
        group = groups.setdefault(option.group, parser.add_argument_group(option.group))
        given: dict[str, Any] = {"help": help_text(name).replace("%", "%%"), "dest": name}
        if field.annotation is bool:
            given["action"] = argparse.BooleanOptionalAction
        elif option.metavar or not choices(field):
            given["metavar"] = option.metavar or name.rsplit("_", 1)[-1].upper()
        else:
            given["metavar"] = "{" + ",".join(choices(field)) + "}"
        group.add_argument(*spellings((name, *option.aliases)), **given)


def spellings(names: Sequence[str]) -> list[str]:
    """Every name with underscores and with dashes; the help shows the first of each."""
    spelled = [f"--{name}" for name in names]
    return spelled + [
        dashed for flag in spelled if (dashed := "--" + flag[2:].replace("_", "-")) not in spelled
    ]


def help_text(name: str) -> str:
    """What a flag does, its unit, where it applies and its default, as one line."""
    field = BenchmarkConfig.model_fields[name]
    option = next(o for n, o, _ in options() if n == name)
    text = field.description or ""
    details = []
    if option.unit:
        details.append(f"in {option.unit}")
    if option.scenarios:
        details.append(f"{', '.join(option.scenarios)} only")
    if field.default is not None and field.default_factory is None:
        details.append(f"default: {field.default}")
    return text + (f" [{'; '.join(details)}]" if details else "")


def given_options(given: dict[str, Any]) -> dict[str, object]:
    """The options of a run among what a command was given, by name; those of ``--config`` first."""
    values: dict[str, object] = {}
    if "config" in given:
        values |= _read_config(Path(given["config"]))
    names = dict.fromkeys(flag_names().values())
    values |= {name: given[name] for name in names if name in given}
    positional = given.get("model_file")
    if positional is not None:
        if "model_path" in given and given["model_path"] != positional:
            raise RequestError(
                f"contradicts --model_path {given['model_path']}.", flag="MODEL", value=positional
            )
        values["model_path"] = positional
    return values


def unknown_words(words: Sequence[str], command: str, known: Sequence[str]) -> RequestError:
    """What to say of words that no flag of a command takes; ``known`` are its flags."""
    word = words[0]
    if not word.startswith("-"):
        return RequestError(f"unexpected argument {word!r}; see loadgen-generic {command} --help.")
    flag = word.lstrip("-").partition("=")[0].replace("-", "_")
    return no_such_option(flag, known, f"See loadgen-generic {command} --help.")


def _read_config(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror}.", flag="config", value=path
        ) from None
    except ValueError as error:
        raise RequestError(f"is not JSON: {error}.", flag="config", value=path) from None
    if not isinstance(content, dict):
        raise RequestError("must hold one JSON object of options.", flag="config", value=path)
    known = flag_names()
    for key, value in content.items():
        _check_alone(str(key), value, path)
    return {
        known.get(str(key).replace("-", "_"), str(key)): value for key, value in content.items()
    }


def _check_alone(key: str, value: object, path: Path) -> None:
    """Refuse what no flag could mend: an option that does not exist, a value it cannot have.

    Raises:
        RequestError: naming the file.
    """
    try:
        parse_config({key: value})
    except RequestError as error:
        if error.flag:  # otherwise it lacks another option, which may be given with it
            raise RequestError(str(error), flag="config", value=path) from None
