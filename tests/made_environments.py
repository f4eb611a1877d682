"""Environments with heavy packages, made once for all processes of a test run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["environment"]

_ROOT = Path(__file__).resolve().parents[1]


def environment(name: str, packages: Sequence[str], shared: Path) -> Path:
    """A directory with an environment of this name: one that is there already (in
    ``LOADGEN_GENERIC_ENVIRONMENTS``, or ``.venv-NAME`` of the checkout), else made now, once for
    all processes that test; some hundred MB are fetched then.

    Args:
        shared: a directory of these processes together.
    """
    chosen = os.environ.get("LOADGEN_GENERIC_ENVIRONMENTS")
    places = [Path(chosen) / name] if chosen else []
    link = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not link.exists():
            there = [each for each in (*places, _ROOT / f".venv-{name}") if each.is_dir()]
            link.symlink_to(there[0] if there else _made(shared / f"{name}-made", packages))
    return shared


def _made(directory: Path, packages: Sequence[str]) -> Path:
    try:
        venv.create(directory, with_pip=True)
        install = [directory / "bin" / "python", "-m", "pip", "install", "-q"]
        subprocess.run([*install, "--disable-pip-version-check", *packages], check=True)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory
