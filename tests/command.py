"""The real command, in a process and a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from loadgen_generic.progress import Phase, Progress
from loadgen_generic.results.result import Result, read_result

__all__ = ["Command", "Outcome", "Running", "fake", "logged", "within"]

_PATIENCE_SEC = 60.0
_PROGRAM = [str(Path(sys.executable).with_name("loadgen-generic"))]


@dataclass(frozen=True)
class Outcome:
    """What a finished command left: exit code, both streams, the directory of the run."""

    code: int
    stdout: str
    stderr: str
    run_dir: Path

    @property
    def result(self) -> Result:
        assert self.code in (0, 3), f"exit code {self.code}: {self.stderr}"
        return read_result(self.run_dir)

    @property
    def effective(self) -> dict[str, Any]:
        return self.result.config.effective

    @property
    def error(self) -> dict[str, Any]:
        """What ``error.json`` says."""
        content: dict[str, Any] = json.loads((self.run_dir / "error.json").read_text("utf-8"))
        return content


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    run_dir: Path
    family: list[psutil.Process] = field(default_factory=list)

    def wait_for(self, phase: Phase, answered: int = 0) -> None:
        """Watch the run's own counters until it is in a phase and has so many answers."""

        def reached() -> bool:
            try:
                progress = Progress(self.run_dir / ".progress")
            except (FileNotFoundError, ValueError):  # not there yet, or not filled yet
                return False
            try:
                return progress.phase() >= phase and progress.answered() >= answered
            finally:
                progress.close()

        self._until(reached, f"{phase.name} with {answered} answers")
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def finish(self) -> Outcome:
        stdout, stderr = self.process.communicate(timeout=_PATIENCE_SEC)
        return Outcome(self.process.returncode, stdout, stderr, self.run_dir)

    def orphans(self, within_sec: float) -> list[psutil.Process]:
        """The children seen by :meth:`wait_for` that are still alive after so many seconds."""
        end = time.monotonic() + within_sec
        while alive := [process for process in self.family if _alive(process)]:
            if time.monotonic() > end:
                return alive
            time.sleep(0.005)
        return []

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_SEC
        while not reached():
            assert self.process.poll() is None, f"ended before {what}: {self.finish()}"
            assert time.monotonic() < end, f"never came to {what}"
            time.sleep(0.005)


def _alive(process: psutil.Process) -> bool:
    try:
        # In a container nobody may be there to reap what was orphaned and has ended.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Command:
    """``loadgen-generic`` with ``directory`` as its current directory.

    ``shell`` is what a shell does before it starts the command, such as ``ulimit``.
    """

    directory: Path
    environ: Mapping[str, str]
    shell: str = ""

    def __call__(self, *arguments: object, **flags: object) -> Outcome:
        """``loadgen-generic ARGUMENTS --FLAG VALUE ...``; flags that are None are left out.

        A run that names no ``output_dir`` goes to ``out``.
        """
        return self.start(*arguments, **flags).finish()

    def run(self, model: object, /, **flags: object) -> Outcome:
        """``loadgen-generic run MODEL --FLAG VALUE ...``."""
        return self("run", model, **flags)

    def fake(self, behaviour: str = "", /, **flags: object) -> Outcome:
        """A run of the fake backend, with its ``--backend_options``."""
        return self("run", **fake(behaviour), **flags)

    def start(self, *arguments: object, **flags: object) -> Running:
        words = [str(argument) for argument in arguments]
        if words[:1] == ["run"]:
            flags.setdefault("output_dir", "out")
        run_dir = self.directory / str(flags.get("output_dir"))
        for name, value in flags.items():
            if value is not None:
                named = f"--no-{name}" if value is False else f"--{name}"
                words += [named] if isinstance(value, bool) else [named, str(value)]
        process = subprocess.Popen(
            within(self.shell, _PROGRAM + words),
            cwd=self.directory,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return Running(process, run_dir)

    def stop(self, running: Running) -> None:
        """Leave nothing behind, whatever a test did."""
        for process in running.family:
            if process.is_running():
                process.kill()
        if running.process.poll() is None:
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.communicate()


def logged(run_dir: Path) -> dict[str, Any]:
    """Key to value of LoadGen's detail log, read independently of the package."""
    lines = (run_dir / "mlperf_log_detail.txt").read_text("utf-8").splitlines()
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    return {entry["key"]: entry["value"] for entry in entries}


def within(shell: str, command: list[str]) -> list[str]:
    """The command as started by a shell that does something first, such as set a limit."""
    return ["sh", "-c", f'{shell}; exec "$@"', "sh", *command] if shell else command


def fake(behaviour: str = "") -> dict[str, object]:
    """The flags of a run of the fake backend."""
    options: dict[str, object] = {"backend_options": behaviour} if behaviour else {}
    return {"backend": "fake", **options}
