"""What every measurement shares: processes with an end, their memory, and what a case is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Case", "Finished", "Lab", "Measured", "UnavailableError", "busy_core", "last_line"]

REPOSITORY = Path(__file__).resolve().parent.parent
_POLL_SEC = 0.02
_TAIL = 300
_BURN = "import os,sys\nos.sched_setaffinity(0,{int(sys.argv[1])})\nwhile True: pass"


class UnavailableError(Exception):
    """A case that cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Measured:
    """What one measurement found.

    Attributes:
        figures: name to value.
        command: the command line that gave them, from the root of the repository.
        detail: whatever helps to explain them.
    """

    figures: Mapping[str, float]
    command: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One thing that is measured once in every round.

    Attributes:
        key: its name in the JSON and the table.
        measure: raises :class:`UnavailableError` where it cannot run.
        field: the manual settings that compete with each other; after the first round only
            those near the best of a field go on.
        figure: which figure decides within the field, and ``lower`` whether less is better.
    """

    key: str
    measure: Callable[[Lab], Measured]
    field: str = ""
    figure: str = ""
    lower: bool = False


@dataclass(frozen=True)
class Finished:
    """A process that ended: exit code, streams, peak memory below it."""

    code: int
    stdout: str
    stderr: str
    rss_bytes: int
    started_at: float


@dataclass
class Lab:
    """Where and how long to measure.

    Attributes:
        work: directory for models, the upstream environment and scratch.
        seconds: length of one run.
        patience: seconds after which a run counts as hung.
        quick: smaller counts, for a look.
        memory: what cases keep from one round to the next, such as the best layout.
    """

    work: Path
    cores: int
    seconds: float
    patience: float
    quick: bool
    memory: dict[str, Any] = field(default_factory=dict)

    def model(self, name: str) -> Path:
        import models

        return models.write(name, self.work / "models")

    def samples(self, name: str) -> int:
        """Samples of an Offline run: a fair amount of work, over a pool that misses the cache."""
        from models import MODELS

        from loadgen_generic.machine import last_level_cache_bytes
        from loadgen_generic.samples import pool_size

        model = MODELS[name]
        per_input = max(model.fixed_batch, 1)
        pool = pool_size(4 * model.floats, last_level_cache_bytes())
        return max(model.samples // (10 if self.quick else 1) // per_input, pool // per_input)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        self.work.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=self.work, prefix="run-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def run(
        self,
        command: Sequence[object],
        *,
        patience: float = 0.0,
        watch_memory: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a command to its end.

        Raises:
            UnavailableError: it took longer than ``patience`` seconds and was ended.
        """
        patience = patience or self.patience
        words = [str(word) for word in command]
        started_at = time.time()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                cwd=self.work,
                start_new_session=True,
            )
            rss = 0
            try:
                if watch_memory:
                    rss = _watch(process, patience)
                else:
                    process.wait(patience)
            except subprocess.TimeoutExpired:
                raise UnavailableError(f"no end after {patience:g} s") from None
            finally:
                _end_family(process)
            out.seek(0)
            err.seek(0)
            return Finished(process.returncode, out.read(), err.read(), rss, started_at)

    def show(self, command: Sequence[object]) -> str:
        """A command line as one types it in the root of the repository."""
        words = [str(word).replace(f"{REPOSITORY}/", "") for word in command]
        return shlex.join(words).replace(f"{self.work}/", "WORK/")

    def json_of(self, command: Sequence[object], **how: Any) -> Any:
        """The JSON object that a command prints.

        Raises:
            UnavailableError: it failed; its last line says why.
        """
        done = self.run(command, **how)
        if done.code != 0:
            raise UnavailableError(last_line(done))
        return json.loads(done.stdout[done.stdout.index("{") :])


def last_line(done: Finished) -> str:
    """Why it failed, in its own words: its last line that holds any."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip(" ^~")]
    why = lines[-1] if lines else ""
    if done.code < 0:
        why = f"{signal.Signals(-done.code).name} {why}"
    return (why or f"exit code {done.code}")[-_TAIL:].replace(f"{REPOSITORY}/", "")


def _watch(process: subprocess.Popen[bytes], patience: float) -> int:
    """Wait for the end, and give the peak of resident memory below the process, in bytes.

    The sum over its descendants of each one's own high-water mark, or what the system says of
    the largest of them once all have ended, whichever is more: a look may come too late for a
    short run. The process itself, our supervisor, is not what is measured.
    """
    peaks: dict[int, int] = {}
    end = time.monotonic() + patience
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return max(sum(peaks.values()), usage.ru_maxrss << 10)
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(process.args, patience)
        with suppress(psutil.Error):
            for member in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error, OSError, ValueError):
                    peaks[member.pid] = _high_water(member.pid)
        time.sleep(_POLL_SEC)


def _high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def _end_family(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started: an interrupted pool leaves workers behind."""
    family: list[psutil.Process] = []
    if process.poll() is None:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            family = []
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        try:
            member.kill()
        except psutil.Error:
            continue
    process.wait()


@contextmanager
def busy_core() -> Iterator[int]:
    """Keep one core busy with a process pinned to it; gives the core's number."""
    core = max(os.sched_getaffinity(0))
    burner = subprocess.Popen([sys.executable, "-c", _BURN, str(core)])
    try:
        time.sleep(0.2)
        yield core
    finally:
        burner.kill()
        burner.wait()
