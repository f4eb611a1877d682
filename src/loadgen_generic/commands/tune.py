"""``loadgen-generic tune``: the fastest configuration of this machine that is still right."""

from __future__ import annotations

import argparse
from typing import Any

from loadgen_generic.commands.measuring import measure
from loadgen_generic.commands.options import Parser, add_options, given_options
from loadgen_generic.errors import RequestError
from loadgen_generic.flags import flag_names, parse_config

__all__ = ["add_tune"]

_MODE = "tune"
# The command sets the mode; the others have no meaning with it.
_LEFT_OUT = ("mode", "repeat", "audit", "save_outputs", "max_query_count")
_DESCRIPTION = """\
Find the configuration with which a model is fastest on this machine and still right: provider,
precision, graph optimisation, runner, workers, threads and batch. The answers of each precision
are compared with the float32 reference first, and what is wrong is not timed. Short trials look
for the best, tests of full length confirm it beside what a plain run would have chosen. In Server
and MultiStream the best carries the highest load within --target_latency_ms. An option that you
give stays as given. It is the same as `loadgen-generic run --mode tune`, and needs optuna."""
_EPILOG = """\
examples:
  loadgen-generic tune model.onnx                       highest throughput, in ten minutes
  loadgen-generic tune model.onnx --dataset photos --budget 1h --allow int8 --output_dir tuned
  loadgen-generic tune model.onnx --scenario SingleStream --tolerance float32
  loadgen-generic tune model.onnx --scenario Server --target_latency_ms 20 --ep openvino
  loadgen-generic run --config tuned/tuned.json         time the winner again, here or elsewhere

--tolerance says how exact answers have to be: float32 refuses every lower precision that shows,
bfloat16 accepts what rounding to it explains.

In --output_dir (default: a new directory under ./results): tune.json, every trial and the answer,
written after each; tuned.json, the options of the best so far; result.json and report.html of the
winner; trials/, every run. If the command is interrupted or killed, the same command with the same
--output_dir goes on where it was.

exit codes: 0 there is an answer, 1 a run that it cannot do without failed, 2 the request was wrong,
130 interrupted"""


def add_tune(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "tune",
        help="find the fastest configuration that still gives the right answers",
        usage="%(prog)s MODEL [--scenario SCENARIO] [--tolerance TYPE] [--budget TIME] [OPTION ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    known = [spelling for spelling, name in flag_names().items() if name not in _LEFT_OUT]
    known += ["config", "json", "quiet"]
    parser.set_defaults(command=_tune, name="tune", known=known)
    add_options(parser, _LEFT_OUT)
    output = parser.add_argument_group("Output")
    output.add_argument("--config", metavar="FILE", help="JSON file of options; flags win over it")
    output.add_argument(
        "--json", action="store_true", help="print tune.json on standard output, nothing else"
    )
    output.add_argument("--quiet", action="store_true", help="no progress, only the result")


def _tune(parsed: argparse.Namespace) -> int:
    given = vars(parsed)
    options = given_options(given)
    mode = options.get("mode", _MODE)
    if str(mode).lower() != _MODE:
        raise RequestError(
            f"asks for --mode {mode}, and this command is for --mode {_MODE} alone.",
            flag="config",
            value=given["config"],
            remedy="Take it out of the file.",
        )
    return measure(parse_config({**options, "mode": _MODE}), given)
