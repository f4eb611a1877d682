"""A run and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from loadgen_generic import supervisor
from loadgen_generic.child import Lookout, Observer, SilentObserver
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RunError
from loadgen_generic.report.writing import REPORT_FILE, write_report
from loadgen_generic.results.result import RESULT_FILE, Result, read_result

__all__ = ["report_missing", "report_on", "run"]


def run(
    config: BenchmarkConfig,
    observer: Observer | None = None,
    run_dir: Path | None = None,
    lookout: Lookout | None = None,
) -> Result:
    """As :func:`supervisor.run`, with ``report.html`` beside ``result.json``."""
    observer = observer or SilentObserver()
    result = supervisor.run(config, observer, run_dir, lookout)
    report_on(result, observer)
    return result


def report_on(result: Result, observer: Observer) -> None:
    """Write the page of a result that is on the disk.

    Raises:
        RunError: it cannot be written; the result stands.
    """
    try:
        write_report(result.path.parent, observer.note)
    except OSError as error:
        raise RunError(
            f"the result is in {result.path}, but {REPORT_FILE} cannot be written beside it: "
            f"{error.strerror or error}. Make room, then run loadgen-generic report "
            f"{result.path.parent}."
        ) from None


def report_missing(directories: Iterable[Path], observer: Observer) -> None:
    """The pages of those runs that have a result and no page yet.

    Raises:
        RunError: one cannot be written.
    """
    for directory in directories:
        if (directory / RESULT_FILE).is_file() and not (directory / REPORT_FILE).exists():
            report_on(read_result(directory), observer)
