"""Past runs as a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from loadgen_generic.report.history.past import Past, moment
from loadgen_generic.report.tables import console_for, print_table, printable
from loadgen_generic.wording import format_measured, format_value

__all__ = ["print_runs"]

_COLUMNS = ("date", "model", "scenario", "metric", "value", "tests", "valid", "host", "directory")
_AFTER_VALUE = _COLUMNS.index("value") + 1
_NONE = "-"


def print_runs(runs: Sequence[Past], stream: TextIO | None = None) -> None:
    """A row for each; below, what is to be said of those that are not as they should be."""
    console = console_for(stream or sys.stdout)
    columns, rows = list(_COLUMNS), [list(_cells(run)) for run in runs]
    if any(run.computed_on for run in runs):
        columns.insert(_AFTER_VALUE, "computed on")
        for cells, run in zip(rows, runs, strict=True):
            cells.insert(_AFTER_VALUE, run.computed_on or _NONE)
    print_table(console, columns, rows, right="tests")
    for run in runs:
        if run.why:
            text = printable(f"  {run.directory}: {run.state}: {run.why}")
            console.print(text, markup=False, soft_wrap=True)


def _cells(run: Past) -> tuple[str, ...]:
    return (
        _local(run.date),
        run.model or _NONE,
        run.scenario or _NONE,
        run.metric or _NONE,
        _value(run),
        str(run.tests) if run.tests else _NONE,
        {True: "VALID", False: "INVALID", None: _NONE}[run.valid],
        run.host or _NONE,
        run.directory,
    )


def _value(run: Past) -> str:
    if run.state != "finished" or run.value is None:
        return run.state
    if run.metric == "highest load":
        return format_value(run.value, run.unit)
    return format_measured(run.value, run.unit, *([run.spread] if run.spread else []))


def _local(date: str) -> str:
    """Of this machine's clock, so that runs from several places stand in their order."""
    seconds = moment(date)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else _NONE
