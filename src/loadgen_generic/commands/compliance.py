"""``loadgen-generic compliance``: the runs of MLPerf's compliance tests, and their outcome."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import Parser, add_options, given_options
from loadgen_generic.errors import RunError
from loadgen_generic.flags import flag_names, parse_config

if TYPE_CHECKING:
    from loadgen_generic.campaigns.compliance import Compliance

__all__ = ["add_compliance"]

# The campaign sets them; given in a --config file they are refused, with the reason.
_LEFT_OUT = ("mode", "audit", "repeat", "save_outputs")


def add_compliance(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "compliance",
        help="make the runs of MLPerf's compliance tests and verify them",
        description="Make a performance and an accuracy run and the audit runs TEST01 (some "
        "answers of a performance run have to be those of the accuracy run) and TEST04 (the same "
        "sample over and over must not be faster), laid out for the verification scripts of "
        "MLCommons, and verify the same conditions. An interrupted campaign goes on where it was "
        "if the same command is run again.",
        epilog="exit codes: 0 all tests passed, 1 one failed or a run did, 2 the request was "
        "wrong, 130 interrupted",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    known = [name for name in flag_names() if name not in _LEFT_OUT]
    known += ["audits", "config", "json", "quiet"]
    parser.set_defaults(command=_compliance, name="compliance", known=known)
    parser.add_argument(
        "--audits",
        metavar="DIR",
        help="the compliance folder of a checkout of mlcommons/inference, for its audit settings "
        "(default: our own, which say the same)",
    )
    add_options(parser, _LEFT_OUT)
    output = parser.add_argument_group("Output")
    output.add_argument("--config", metavar="FILE", help="JSON file of options; flags win over it")
    output.add_argument("--json", action="store_true", help="print the outcome as JSON")
    output.add_argument("--quiet", action="store_true", help="no progress, only the outcome")


def _compliance(parsed: argparse.Namespace) -> int:
    from loadgen_generic.campaigns.compliance import compliance
    from loadgen_generic.report.search_table import CampaignObserver

    given = vars(parsed)
    config = parse_config(given_options(given))
    audits = Path(given["audits"]) if "audits" in given else None
    with CampaignObserver(quiet=given.get("quiet", False)) as observer:
        outcome = compliance(config, observer, audits)
    if given.get("json", False):
        print(json.dumps(outcome.document(), indent=2, ensure_ascii=False))
    else:
        _print(outcome)
    return 0 if outcome.passed else RunError.exit_code


def _print(outcome: Compliance) -> None:
    print(f"{'PASS' if outcome.passed else 'FAIL'}: compliance, {outcome.runs_in_words()}")
    for check in outcome.checks:
        print(
            f"  {'PASS' if check.passed else 'FAIL'}  {check.test} {check.about:<8} {check.sentence}"
        )
        if check.remedy:
            print(f"{'':24}{check.remedy}")
    rows = [("runs", str(outcome.directory))]
    if not outcome.official:
        rows.append(("note", "not official: --official makes runs of the length of the rules"))
    elif outcome.passed:
        words = ["loadgen-generic", "submission", "--runs", str(outcome.directory)]
        rows.append(
            ("try next", f"{shlex.join(words)} --submitter NAME --system NAME --output_dir DIR")
        )
    for name, text in rows:
        print(f"  {name + ':':<10} {text}")
