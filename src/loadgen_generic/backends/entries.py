"""Directories in the cache: one entry each, the oldest of which make room for new ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

__all__ = ["ASIDE", "make_room", "remove"]

ASIDE = ".tmp"  # how the name of what is not an entry yet, or no longer, ends
_ABANDONED_SEC = 86400.0  # what somebody began to write so long ago, nobody writes any more


def make_room(directory: Path, needed: int, largest: int) -> None:
    """Remove the entries that were not used for the longest time, and what was never finished."""
    entries = []
    for path in directory.iterdir():
        with contextlib.suppress(OSError):  # another process removes it as well
            used = path.stat().st_mtime
            if path.name.endswith(ASIDE):
                if time.time() - used > _ABANDONED_SEC:
                    remove(path)
                continue
            size = sum(file.stat().st_size for file in path.iterdir())
            entries.append((used, size, path))
    total = needed + sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= largest:
            return
        remove(path)
        total -= size


def remove(entry: Path) -> None:
    """Remove an entry under another name, so that nobody finds half of it."""
    aside = entry.with_name(f"{entry.name}.{os.getpid()}.{time.monotonic_ns()}{ASIDE}")
    with contextlib.suppress(OSError):
        os.rename(entry, aside)
        shutil.rmtree(aside, ignore_errors=True)
