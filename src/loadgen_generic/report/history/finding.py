"""Looks for runs in a tree of directories.

Nothing is opened but the known files of a run, and below a run only the places where another run
that was given the same directory may be, so that a large tree takes little time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from loadgen_generic.report.history.past import CLAIMS, Alive, Past, moment, read_past

__all__ = ["find_runs"]

_ATTEMPT = "attempt-"  # logs of a test that was too short, without a request of their own
_NEXT_RUN = "run-"


def find_runs(
    top: Path, inner: bool = False, looked_at: Callable[[int], None] = lambda count: None
) -> list[Past]:
    """All runs and campaigns at and below a directory, newest first.

    Args:
        inner: also the runs inside of campaigns.
        looked_at: told of the number of directories so far.

    Raises:
        OSError: the directory itself cannot be read.
    """
    alive = Alive()
    found = [
        read_past(directory, names, alive) for directory, names in _walk(top, inner, looked_at)
    ]
    return sorted(found, key=lambda past: moment(past.date), reverse=True)


def _walk(
    top: Path, inner: bool, looked_at: Callable[[int], None]
) -> Iterator[tuple[Path, set[str]]]:
    """Directories that a run has, and the names in them."""
    waiting, count = [top], 0
    while waiting:
        directory = waiting.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            if directory == top:
                raise
            continue  # it went away meanwhile, or is not ours to read
        count += 1
        looked_at(count)
        names = {entry.name for entry in entries}
        claimed = not names.isdisjoint(CLAIMS)
        if claimed:
            yield directory, names
        waiting += [
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            and not entry.name.startswith((".", _ATTEMPT))
            and (inner or not claimed or entry.name.startswith(_NEXT_RUN))
        ]
