"""The command line, derived from the schema."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from loadgen_generic import __version__
from loadgen_generic.commands import (
    add_compare,
    add_compliance,
    add_doctor,
    add_list,
    add_report,
    add_serve,
    add_submission,
    add_tune,
)
from loadgen_generic.commands.measuring import measure
from loadgen_generic.commands.options import (
    Parser,
    add_options,
    given_options,
    help_text,
    spellings,
    unknown_words,
)
from loadgen_generic.config import options
from loadgen_generic.errors import LoadgenGenericError, RunError
from loadgen_generic.flags import flag_names, parse_config

__all__ = ["help_text", "main"]

_INVALID_EXIT_CODE = 3
_INTERRUPTED = 130
_OUTPUT = ("config", "json", "quiet", "strict")
_INSPECTED = {"model_path", "model", "execution_provider", "seed", "dim", "batch_dim"}
_EXIT_CODES = """\
exit codes: 0 a result was obtained, 1 the run failed, 2 the request was wrong,
3 the result is INVALID (with --strict), 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``loadgen-generic``; returns the exit code."""
    try:
        parsed, unknown = _parser().parse_known_args(arguments)
        if unknown:
            raise unknown_words(unknown, parsed.name, parsed.known)
        code = int(parsed.command(parsed))
        sys.stdout.flush()
        return code
    except LoadgenGenericError as error:
        print(f"loadgen-generic: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("loadgen-generic: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read standard output has had enough; Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RunError.exit_code


def _parser() -> Parser:
    parser = Parser(
        prog="loadgen-generic", description="Measure any ONNX model under MLPerf LoadGen."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _add_run(commands)
    add_tune(commands)
    _add_inspect(commands)
    add_compare(commands)
    add_report(commands)
    add_list(commands)
    add_compliance(commands)
    add_submission(commands)
    add_doctor(commands)
    add_serve(commands)
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
    run.set_defaults(command=_run, name="run", known=[*flag_names(), *_OUTPUT])
    add_options(run)
    output = run.add_argument_group("Output")
    output.add_argument("--config", metavar="FILE", help="JSON file of options; flags win over it")
    output.add_argument(
        "--json",
        action="store_true",
        help="print result.json (of a search: search.json or tune.json) on standard output, nothing "
        "else",
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
    inspect.set_defaults(command=_inspect, name="inspect", known=[*flag_names(), "json"])
    inspect.add_argument("model_file", nargs="?", metavar="MODEL", help="the same as --model_path")
    for name, option, _ in options():
        if name in _INSPECTED or option.group == "Inputs":
            inspect.add_argument(
                *spellings((name, *option.aliases)),
                metavar=option.metavar or name.rsplit("_", 1)[-1].upper(),
                help=help_text(name).replace("%", "%%"),
                dest=name,
            )
    inspect.add_argument("--json", action="store_true", help="print it as JSON, nothing else")


def _run(parsed: argparse.Namespace) -> int:
    given = vars(parsed)
    config = parse_config(given_options(given))
    return measure(config, given, invalid=_INVALID_EXIT_CODE if given.get("strict") else 0)


def _inspect(parsed: argparse.Namespace) -> int:
    from loadgen_generic.report.signature import inspect_model, print_model
    from loadgen_generic.supervisor import find_model

    given = vars(parsed)
    # Offline: whether samples share a batch is asked only where they might.
    config = parse_config({**given_options(given), "scenario": "Offline"})
    model = inspect_model(config, find_model(config))
    if given.get("json", False):
        print(json.dumps(model, indent=2, ensure_ascii=False))
    else:
        print_model(model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
