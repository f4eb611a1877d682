"""Where a run keeps its files. Two runs never share a directory."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from loadgen_generic.errors import RequestError

__all__ = ["cache_dir", "candidates", "claim", "claim_run_dir"]

_CLAIM = "request.json"
_PARENT = "results"


def claim_run_dir(output_dir: str | None, name: str) -> Path:
    """A directory that no other run has, created if need be, for this run alone.

    The directory that was asked for, if no run is in it; else ``run-2``, ``run-3`` ... inside
    it. A run's claim on a directory is the file ``request.json``, made exclusively, so that
    two commands started at once do not meet.

    Args:
        output_dir: what the user asked for; None for a new directory under ``./results``.
        name: what is run, for the name of a directory that was not asked for.

    Raises:
        RequestError: it cannot be made or written to.
    """
    for path in candidates(output_dir, name):
        if claim(path):
            return path
    raise AssertionError("unreachable")


def candidates(output_dir: str | None, name: str) -> Iterator[Path]:
    """The directories that a run may have, in the order in which they are tried, without end."""
    if output_dir is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        base = Path(_PARENT) / f"{name}-{stamp}"
    else:
        base = Path(output_dir).expanduser()
    base = Path(os.path.abspath(base))
    yield base
    for number in itertools.count(2):
        yield base / f"run-{number}"


def claim(path: Path) -> bool:
    """Make a directory and claim it; False if another run has it.

    Raises:
        RequestError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / _CLAIM).open("x"):
            return True
    except FileExistsError:
        if not path.is_dir():
            raise _refused(path, "there is a file of that name") from None
        return False
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None


def _refused(path: Path, why: str) -> RequestError:
    return RequestError(
        f"cannot write there: {why}.",
        flag="output_dir",
        value=path,
        remedy="Choose a directory that you may write to.",
    )


def cache_dir() -> Path:
    """Where built models are kept: ``LOADGEN_GENERIC_CACHE``, else the user's cache directory."""
    chosen = os.environ.get("LOADGEN_GENERIC_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "loadgen-generic"
