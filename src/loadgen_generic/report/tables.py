"""Tables of text: fitted to a terminal, whole lines anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console_for", "print_table", "printable"]

_WIDE = 10_000  # columns where nobody sees lines that are too long


def console_for(stream: TextIO) -> Console:
    """Styles on a terminal alone, and none where ``NO_COLOR`` is set."""
    from rich.console import Console

    terminal = stream.isatty()
    return Console(
        file=stream, force_terminal=terminal, width=None if terminal else _WIDE, highlight=False
    )


def print_table(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = ""
) -> None:
    """Cells that do not fit are folded, never cut.

    Args:
        right: the names of the columns of numbers, separated by commas.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    numbers = right.split(",")
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def printable(text: str) -> str:
    """Names may hold anything, also what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
