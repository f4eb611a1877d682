"""The command line, derived from the schema."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from loadgen_generic import __version__
from loadgen_generic.config import BenchmarkConfig, choices, options
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.flags import flag_names, no_such_option, parse_config

__all__ = ["main"]

_INVALID_EXIT_CODE = 3
_INTERRUPTED = 130
_INSPECTED = {"model_path", "model", "execution_provider", "seed", "dim", "batch_dim"}
_EXIT_CODES = """\
exit codes: 0 a result was obtained, 1 the run failed, 2 the request was wrong,
3 the result is INVALID (with --strict), 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``loadgen-generic``; returns the exit code."""
    try:
        parsed, unknown = _parser().parse_known_args(arguments)
        if unknown:
            raise _unknown(unknown)
        return int(parsed.command(parsed))
    except LoadgenGenericError as error:
        print(f"loadgen-generic: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("loadgen-generic: interrupted", file=sys.stderr)
        return _INTERRUPTED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}. See {self.prog} --help.")


def _parser() -> _Parser:
    parser = _Parser(
        prog="loadgen-generic", description="Measure any ONNX model under MLPerf LoadGen."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_run(commands)
    _add_inspect(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run one LoadGen test and print its result",
        description="Run one LoadGen test of an ONNX model and print its result.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    run.set_defaults(command=_run)
    run.add_argument("model_file", nargs="?", metavar="MODEL", help="the same as --model_path")
    groups: dict[str, Any] = {}
    for name, option, field in options():
        group = groups.setdefault(option.group, run.add_argument_group(option.group))
        given: dict[str, Any] = {"help": help_text(name).replace("%", "%%"), "dest": name}
        if field.annotation is bool:
            given["action"] = argparse.BooleanOptionalAction
        elif option.metavar or not choices(field):
            given["metavar"] = option.metavar or name.rsplit("_", 1)[-1].upper()
        else:
            given["metavar"] = "{" + ",".join(choices(field)) + "}"
        group.add_argument(*_spellings((name, *option.aliases)), **given)
    output = run.add_argument_group("Output")
    output.add_argument("--config", metavar="FILE", help="JSON file of options; flags win over it")
    output.add_argument(
        "--json",
        action="store_true",
        help="print result.json (of a search: search.json) on standard output, nothing else",
    )
    output.add_argument("--quiet", action="store_true", help="no progress, only the result")
    output.add_argument(
        "--strict", action="store_true", help=f"exit with {_INVALID_EXIT_CODE} if INVALID"
    )


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what a model is and what it would be fed",
        description="Show inputs, outputs, operators and sizes of an ONNX model, and what each "
        "input would be fed and why.",
        epilog="exit codes: 0 the model can be run, 1 ONNX Runtime cannot load it, 2 the request "
        "was wrong",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("model_file", nargs="?", metavar="MODEL", help="the same as --model_path")
    for name, option, _ in options():
        if name in _INSPECTED or option.group == "Inputs":
            inspect.add_argument(
                *_spellings((name, *option.aliases)),
                metavar=option.metavar or name.rsplit("_", 1)[-1].upper(),
                help=help_text(name).replace("%", "%%"),
                dest=name,
            )
    inspect.add_argument("--json", action="store_true", help="print it as JSON, nothing else")


def _spellings(names: Sequence[str]) -> list[str]:
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


def _run(parsed: argparse.Namespace) -> int:
    from loadgen_generic.campaigns import carry_out
    from loadgen_generic.report.search_table import CampaignObserver, print_campaign
    from loadgen_generic.report.terminal import print_result

    given = vars(parsed)
    as_json, quiet = given.get("json", False), given.get("quiet", False)
    config = parse_config(_values(given))
    with CampaignObserver(quiet=quiet) as observer:
        outcome = carry_out(config, observer)
    result = outcome.result
    if as_json:
        print(json.dumps(outcome.document, indent=2, ensure_ascii=False))
    else:
        print_result(result)
        print_campaign(result)
    if result.verification is not None and not result.verification.passed:
        print(f"loadgen-generic: error: {result.verification.sentence}", file=sys.stderr)
        return RunError.exit_code
    return _INVALID_EXIT_CODE if result.valid is False and given.get("strict") else 0


def _inspect(parsed: argparse.Namespace) -> int:
    from loadgen_generic.report.signature import inspect_model, print_model
    from loadgen_generic.supervisor import find_model

    given = vars(parsed)
    # Offline: whether samples share a batch is asked only where they might.
    config = parse_config({**_values(given), "scenario": "Offline"})
    model = inspect_model(config, find_model(config))
    if given.get("json", False):
        print(json.dumps(model, indent=2, ensure_ascii=False))
    else:
        print_model(model)
    return 0


def _values(given: dict[str, Any]) -> dict[str, object]:
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
    return {
        known.get(str(key).replace("-", "_"), str(key)): value for key, value in content.items()
    }


def _unknown(words: Sequence[str]) -> RequestError:
    word = words[0]
    if not word.startswith("-"):
        return RequestError(f"unexpected argument {word!r}; see loadgen-generic run --help.")
    flag = word.lstrip("-").partition("=")[0].replace("-", "_")
    known = [*flag_names(), "config", "json", "quiet", "strict"]
    return no_such_option(flag, known, "See loadgen-generic run --help.")


if __name__ == "__main__":
    sys.exit(main())
