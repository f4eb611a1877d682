"""The report of a run, beside its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadgen_generic.report.reading import Figures

__all__ = ["REPORT_FILE", "read_aloud", "write_report"]

REPORT_FILE = "report.html"
# Silence for longer than this would leave people wondering.
_FIRST_WORD_SEC, _NEXT_WORD_SEC = 2.0, 5.0


def write_report(directory: Path, note: Callable[[str], None]) -> None:
    """Build the page of a run from the files in its directory.

    Args:
        note: told how far it is, if it takes long.

    Raises:
        RequestError: there is no finished run in the directory.
        OSError: the page cannot be written.
    """
    # Not before: what writes pages takes a while to import, and a run that fails has none.
    from loadgen_generic.report.page import write_page

    write_page(read_aloud(directory, note), directory / REPORT_FILE)


def read_aloud(directory: Path, note: Callable[[str], None]) -> Figures:
    """As :func:`read_figures`, and says how far it is with a trace that takes long."""
    from loadgen_generic.report.reading import read_figures

    next_word = time.monotonic() + _FIRST_WORD_SEC

    def told(done: int, size: int) -> None:
        nonlocal next_word
        if time.monotonic() >= next_word:
            next_word = time.monotonic() + _NEXT_WORD_SEC
            note(
                f"reading the trace in {directory}: {100 * done / size:.0f} % of "
                f"{size / 1e9:.1f} GB"
            )

    return read_figures(directory, told)
