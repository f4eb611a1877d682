"""``loadgen-generic compare``: is it faster?"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import Parser
from loadgen_generic.errors import RequestError

if TYPE_CHECKING:
    from loadgen_generic.results.comparison import Comparison

__all__ = ["add_compare"]

_SLOWER_EXIT_CODE = 3
_FLAGS = ("json", "html", "fail_if_slower")


def add_compare(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "compare",
        help="say which of several results is faster, and how sure that is",
        description="Compare results with the first of them: faster, slower or no difference, by "
        "how much, with a confidence interval from the repeated runs of both (--repeat 5), and "
        "what else differs.",
        epilog="exit codes: 0 compared, 2 the request was wrong or the results have no common "
        "measure, 3 one is slower (with --fail_if_slower)",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(command=_compare, name="compare", known=list(_FLAGS))
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULT",
        help="a result.json, or the directory of a run, of repeated runs or of a search; the "
        "first is the baseline",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that shows it")
    parser.add_argument(
        "--fail_if_slower",
        "--fail-if-slower",
        metavar="PERCENT",
        help=f"exit with {_SLOWER_EXIT_CODE} if one of the others is slower than the first by at "
        "least so much, such as 3%%, and its interval, if there are runs enough for one, "
        "excludes no change",
    )


def _compare(parsed: argparse.Namespace) -> int:
    from loadgen_generic.report.comparison import print_comparison
    from loadgen_generic.results.comparison import compare, read_subject

    given = vars(parsed)
    most = _percent(given["fail_if_slower"]) if "fail_if_slower" in given else None
    found = compare([read_subject(path) for path in parsed.results])
    if "html" in given:
        _write_page(found, given["html"])
    if given.get("json", False):
        print(json.dumps(found.model_dump(), indent=2, ensure_ascii=False))
    else:
        print_comparison(found)
        if "html" in given:
            print(f"page: {given['html']}")
    return 0 if most is None else _gate(found, most)


def _write_page(found: Comparison, path: Path) -> None:
    from loadgen_generic.report.comparison_page import write_comparison

    try:
        write_comparison(found, path)
    except OSError as error:
        raise RequestError(
            f"cannot be written: {error.strerror or error}.", flag="html", value=path
        ) from None


def _gate(found: Comparison, most_percent: float) -> int:
    """The exit code for a limit; what cannot be judged does not pass."""
    for side in found.sides:
        if side.valid is False:
            raise RequestError(
                f"{side.letter} ({side.path}) is INVALID, so its number is none to judge by.",
                flag="fail_if_slower",
                value=f"{most_percent:g}%",
                remedy="Make a valid run of it.",
            )
    slower = []
    for each in found.against:
        if each.change is None:
            raise RequestError(
                f"{each.letter} cannot be judged: {each.why}.",
                flag="fail_if_slower",
                value=f"{most_percent:g}%",
                remedy=each.remedy,
            )
        sure = each.change.interval is None or each.change.interval[1] < 0
        if sure and each.change.percent <= -most_percent:
            slower.append(each)
    for each in slower:
        print(
            f"loadgen-generic: {each.letter} is slower than --fail_if_slower {most_percent:g}% "
            f"allows: {each.why}",
            file=sys.stderr,
        )
    return _SLOWER_EXIT_CODE if slower else 0


def _percent(text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 < value < 100:
        raise RequestError(
            "must be a percentage above 0 and below 100.",
            flag="fail_if_slower",
            value=text,
            remedy="Give one such as 3%.",
        )
    return value
