"""The runs of a campaign as they finish: a live table on a terminal, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from loadgen_generic.report.terminal import (
    REFRESH_PER_SEC,
    TerminalObserver,
    describe,
)
from loadgen_generic.report.writing import REPORT_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from rich.live import Live

    from loadgen_generic.results.result import Result
    from loadgen_generic.results.tuning import Tuning
    from loadgen_generic.telemetry.live import Glance

__all__ = ["CampaignObserver", "print_campaign"]

_SPINNER_WIDTH = 3
_NAMES_WIDTH = 10
# As many as 100 characters hold.
_COLUMNS = ("which", "family", "settings", "result", "p99", "worst error", "answers")


class CampaignObserver(TerminalObserver):
    """As :class:`TerminalObserver`, with a table of the finished runs above the live line."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        super().__init__(quiet, stream)
        self._columns: tuple[str, ...] = ()
        self._rows: list[tuple[str, ...]] = []
        self._glance: Glance | None = None
        self._table: Live | None = None

    def __enter__(self) -> CampaignObserver:  # noqa: PYI034 - Self is new in Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._table is not None:
            self._glance = None
            self._refresh()
            self._table.stop()
        super().__exit__(kind, error, trace)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        shown, self._columns = len(self._rows), tuple(columns)
        self._rows = [tuple(row) for row in rows]
        if self._live and self._rows:
            self._refresh()
            return
        for row in self._rows[shown:]:
            self.note(f"{self._columns[0]} {row[0]}: " + ", ".join(filter(None, row[1:])))

    def update(self, glance: Glance) -> None:
        if self._live or not self._rows:  # a log has a line for each run as it ends
            super().update(glance)

    def note(self, text: str) -> None:
        if self._table is not None:
            self._table.console.print(text, markup=False, highlight=False)
        else:
            super().note(text)

    def _show(self, glance: Glance) -> None:
        self._glance = glance
        if self._rows:
            self._refresh()
        else:
            super()._show(glance)

    def _refresh(self) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        self._line.clear()  # one live display at a time
        table = Table(*self._columns, box=None, pad_edge=False)
        for row in self._rows:
            table.add_row(*(Text(cell) for cell in row))
        if self._table is None:
            console = Console(file=self._stream)
            self._table = Live(console=console, refresh_per_second=REFRESH_PER_SEC)
            self._table.start()
        below = []
        if self._glance is not None:
            width = self._table.console.width - _SPINNER_WIDTH
            below = [Spinner("dots", Text(describe(self._glance, width)))]
        self._table.update(Group(table, *below))


def print_campaign(result: Result, stream: TextIO | None = None) -> None:
    """What a search found and how to run it again, or how far repeated runs lie apart."""
    out = stream or sys.stdout
    rows: list[tuple[str, str]] = []
    if result.search is not None:
        rows = [
            ("best" if result.search.layout else "peak", result.search.sentence),
            ("run it", result.search.command),
            ("search", result.search.file),
        ]
    if result.repeat is not None:
        rows.append(("runs", result.repeat.file))
    _print_rows(rows, out)
    if result.tuning is not None:
        _print_tuning(result.tuning, result.path.parent, out)
    out.flush()


def _print_rows(rows: Sequence[tuple[str, str]], out: TextIO) -> None:
    for name, text in rows:
        if text:
            print(f"  {name + ':':<{_NAMES_WIDTH}} {text}", file=out)


def _print_tuning(found: Tuning, directory: Path, out: TextIO) -> None:
    from loadgen_generic.report.tables import console_for, print_table
    from loadgen_generic.report.tuning import (
        candidate_table,
        those_that_matter,
        tuning_rows,
        worth_in_words,
    )

    page = directory / REPORT_FILE
    facts = dict(tuning_rows(found))
    _print_rows([("tuned", found.sentence), ("gain", facts["gain"])], out)
    shown = those_that_matter(found)
    columns, cells = candidate_table(found, shown, _COLUMNS)
    print_table(console_for(out), columns, cells, right="result,p99,worst error")
    rest = len(found.candidates) - len(shown)
    rows = [("more", f"{rest} other candidate(s) in {page}" if rest else "")]
    rows.append(("worth", ", ".join(map(worth_in_words, found.worth))))
    if found.left_out:
        rows.append(("left out", f"{len(found.left_out)}, with the reasons in {page}"))
    rows += [
        ("tolerance", facts["tolerance"]),
        ("time", f"{facts['time used']}; trials: {facts['trials']}"),
        ("run it", found.command),
        ("with cm", found.cm_command),
        ("config", found.config_file),
        ("trials", found.file),
    ]
    _print_rows(rows, out)
