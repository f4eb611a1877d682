"""``loadgen-generic list``: what was measured before."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import Parser
from loadgen_generic.config import SCENARIOS
from loadgen_generic.errors import RequestError

if TYPE_CHECKING:
    from loadgen_generic.report.history import Past

__all__ = ["add_list"]

_DIRECTORY = Path("results")
_FLAGS = ("all", "model", "scenario", "valid", "invalid", "host", "since", "limit", "json")
_AGO = re.compile(r"(\d+)\s*([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_SAY_AFTER_SEC = 2.0
_NOTHING = "There are no runs in {}."


def add_list(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "list",
        help="show past runs as a table, newest first",
        description="Show the runs below a directory, newest first, also those that did not "
        "finish or whose result is damaged. A campaign, such as --repeat 5, is one row.",
        epilog="exit codes: 0 listed, also if there is nothing to list, 2 the request was wrong",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(command=_list, name="list", known=list(_FLAGS))
    add = parser.add_argument
    add("directory", nargs="?", metavar="DIR", help=f"where to look (./{_DIRECTORY})")
    add("--all", action="store_true", help="the runs inside of campaigns as well")
    add("--model", metavar="TEXT", help="only those whose model's name has this in it")
    add("--scenario", metavar="{" + ",".join(SCENARIOS) + "}", help="only those of it")
    validity = parser.add_mutually_exclusive_group()
    validity.add_argument("--valid", action="store_true", help="only VALID ones")
    validity.add_argument("--invalid", action="store_true", help="only INVALID ones")
    add("--host", metavar="TEXT", help="only those whose host's name has this in it")
    add("--since", metavar="WHEN", help="only those since a date (2026-01-31) or a time ago (7d)")
    add("--limit", metavar="N", help="the newest N only")
    add("--json", action="store_true", help="print them as JSON")


def _list(parsed: argparse.Namespace) -> int:
    from loadgen_generic.report.history import find_runs, print_runs

    given = vars(parsed)
    scenario, since, limit = _scenario(given), _since(given), _limit(given)
    directory = Path(given.get("directory", _DIRECTORY))
    try:
        runs = find_runs(directory, given.get("all", False), _Patience(directory))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and "directory" not in given:
            print("[]" if given.get("json", False) else _NOTHING.format(directory))
            return 0
        raise RequestError(
            f"cannot look for runs in {directory}: {error.strerror or error}.",
            remedy="Give the directory that holds them: loadgen-generic list DIR.",
        ) from None
    chosen = [run for run in runs if _wanted(run, given, scenario, since)]
    shown = chosen[:limit]
    if given.get("json", False):
        print(json.dumps([run.model_dump() for run in shown], indent=2, ensure_ascii=False))
    elif not runs:
        print(_NOTHING.format(directory))
    elif not shown:
        print(f"None of the {len(runs)} run(s) in {directory} is like that.")
    else:
        print_runs(shown)
        if len(shown) < len(chosen):
            print(f"{len(shown)} of {len(chosen)} runs; --limit shows more")
    return 0


class _Patience:
    """Says how far a long search is, on standard error."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._next = time.monotonic() + _SAY_AFTER_SEC

    def __call__(self, count: int) -> None:
        if time.monotonic() >= self._next:
            print(
                f"looking for runs in {self._directory}: {count:,} directories so far",
                file=sys.stderr,
                flush=True,
            )
            self._next = time.monotonic() + _SAY_AFTER_SEC


def _wanted(run: Past, given: dict[str, Any], scenario: str | None, since: float) -> bool:
    from loadgen_generic.report.history.past import moment

    return (
        given.get("model", "").lower() in run.model.lower()
        and given.get("host", "").lower() in run.host.lower()
        and scenario in (None, run.scenario)
        and not (given.get("valid", False) and run.valid is not True)
        and not (given.get("invalid", False) and run.valid is not False)
        and (not since or moment(run.date) >= since)
    )


def _scenario(given: dict[str, Any]) -> str | None:
    text = given.get("scenario")
    if text is None:
        return None
    known = {name.lower(): name for name in SCENARIOS}
    if text.lower() not in known:
        raise RequestError(
            "there is no such scenario.",
            flag="scenario",
            value=text,
            remedy=f"Choose one of: {', '.join(SCENARIOS)}.",
        )
    return known[text.lower()]


def _since(given: dict[str, Any]) -> float:
    """Seconds since 1970; 0 for all."""
    from loadgen_generic.report.history.past import moment

    text = given.get("since")
    if text is None:
        return 0.0
    if ago := _AGO.fullmatch(text.strip()):
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    if not (found := moment(text.strip().replace(" ", "T"))):
        raise RequestError(
            "is neither a date nor a time ago.",
            flag="since",
            value=text,
            remedy="Give a date such as 2026-01-31 or 2026-01-31T12:00:00, or 30m, 12h, 7d, 4w.",
        )
    return found


def _limit(given: dict[str, Any]) -> int | None:
    text = given.get("limit")
    if text is None:
        return None
    if not text.isdecimal() or not int(text):
        raise RequestError("must be a whole number from 1.", flag="limit", value=text)
    return int(text)
