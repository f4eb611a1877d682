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

if TYPE_CHECKING:
    from rich.live import Live

    from loadgen_generic.results.result import Result
    from loadgen_generic.telemetry.live import Glance

__all__ = ["CampaignObserver", "print_campaign"]

_SPINNER_WIDTH = 3


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
    for name, text in rows:
        if text:
            print(f"  {name + ':':<10} {text}", file=out)
    out.flush()
