"""What a node does: says what it is, and runs a test in a directory that goes away afterwards."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen_generic import __version__, supervisor
from loadgen_generic.cluster.node import own_priority
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.hashing import sha256_of
from loadgen_generic.machine import describe_host, describe_packages
from loadgen_generic.rundir import claim
from loadgen_generic.telemetry.live import Glance

__all__ = ["Told", "describe", "digests", "trial"]

_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a test on a node.

    Attributes:
        run_dir: where its files were.
        files: these, as a zip archive.
        notes: what its observer was told.
        remarks: what the result has to say beside its own notes.
        exit_code, error: why there is no result; 0 and empty where there is one.
    """

    run_dir: str
    files: bytes
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    exit_code: int = 0
    error: str = ""


def describe() -> dict[str, Any]:
    """The version of this package here, and what has to be alike where tests are compared.

    Nothing but plain values, so that any other version can read it.
    """
    host = describe_host()
    return {
        "version": __version__,
        "processor": host["cpu"],
        "cores": host["cores_available"],
        "packages": describe_packages(),
    }


def digests(paths: Sequence[str]) -> list[str | None]:
    """The SHA-256 of each of the files here; empty for a directory, None where there is nothing.

    Raises:
        OSError: a file cannot be read.
    """
    return [
        sha256_of(path) if path.is_file() else "" if path.exists() else None
        for path in map(Path, paths)
    ]


def trial(options: Mapping[str, Any], cpus: int) -> Told:
    """Run one test here.

    Args:
        options: fields of BenchmarkConfig.
        cpus: how many Ray gave to this call.

    Raises:
        OSError: there is no room for its files.
    """
    remarks = _unthrottled(cpus)
    observer = _Notes()
    exit_code, error = 0, ""
    with tempfile.TemporaryDirectory(prefix="loadgen-generic-") as directory:
        run_dir = Path(os.path.realpath(directory)) / "run"
        claim(run_dir)
        try:
            supervisor.run(BenchmarkConfig.model_validate(dict(options)), observer, run_dir)
        except LoadgenGenericError as failed:
            exit_code, error = failed.exit_code, str(failed)
        notes = tuple(observer.notes)
        return Told(str(run_dir), _packed(run_dir), notes, remarks, exit_code, error)


class _Notes:
    """Keeps what it is told; how far the test is nobody sees from elsewhere."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def update(self, glance: Glance) -> None:
        pass


def _unthrottled(cpus: int) -> tuple[str, ...]:
    """Take back what Ray does to its workers to keep them from each other's way.

    Returns:
        What cannot be taken back.
    """
    if os.environ.get(_THREADS) == str(cpus):  # what Ray sets where it is not set
        del os.environ[_THREADS]
    return tuple(filter(None, [own_priority()]))


def _packed(directory: Path) -> bytes:
    buffer = io.BytesIO()
    # Logs shrink to a fraction, which is worth more on the way than it costs here.
    with zipfile.ZipFile(
        buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
    ) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(directory).as_posix())
    return buffer.getvalue()
