"""The report of a run, beside its result."""

from __future__ import annotations

from pathlib import Path

from loadgen_generic.report.page import write_page
from loadgen_generic.report.reading import read_figures

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE = "report.html"


def write_report(directory: Path, path: Path | None = None) -> Path:
    """Build the page of a run from the files in its directory; returns where it is.

    Raises:
        RequestError: there is no finished run in the directory.
        OSError: the page cannot be written.
    """
    path = path or directory / REPORT_FILE
    write_page(read_figures(directory), path)
    return path
