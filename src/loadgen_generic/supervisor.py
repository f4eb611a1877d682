"""The parent: one LoadGen test in one child process.

LoadGen is global to a process, cannot be stopped and aborts the process when something goes
wrong, so it runs in a child that this module starts, watches and, if need be, ends. Whatever
the child does, the caller gets a result or one clear error, and files already written stay.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RequestError, RunError
from loadgen_generic.progress import Phase, Progress
from loadgen_generic.results.result import Result, write_json
from loadgen_generic.rundir import cache_dir, claim_run_dir

__all__ = ["ERROR_FILE", "HARNESS_LOG", "Observer", "SilentObserver", "run"]

ERROR_FILE = "error.json"
HARNESS_LOG = "harness.log"
_REQUEST = "request.json"
_PROGRESS = ".progress"
_POLL_SEC = 0.1
_LOG_TAIL = 2000
_CHILD = "import sys; sys.path[0] = sys.argv[1]; from loadgen_generic.benchmark import main; main()"


class Observer(Protocol):
    """Who shows the user what is going on."""

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def update(self, phase: Phase, answered: int, testing_sec: float) -> None:
        """How far it is: samples answered, and seconds since the test began."""
        ...


class SilentObserver:
    def note(self, text: str) -> None:
        pass

    def update(self, phase: Phase, answered: int, testing_sec: float) -> None:
        pass


def run(config: BenchmarkConfig, observer: Observer | None = None) -> Result:
    """Measure a model and write ``result.json`` and LoadGen's logs into a directory of their own.

    Args:
        config: what to run.
        observer: told of notes and progress; silent by default.

    Raises:
        RequestError: the request cannot be carried out as it stands.
        RunError: the run failed.
        InterruptedRunError: SIGTERM or Ctrl-C.
    """
    observer = observer or SilentObserver()
    with _interruptible():
        model_path = _find_model(config, observer)
        run_dir = claim_run_dir(config.output_dir, f"{_name(config)}-{config.scenario}")
        write_json(run_dir / _REQUEST, requested(config))
        started_at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            facts = _run_child(config, model_path, run_dir, observer)
        except KeyboardInterrupt:
            error = InterruptedRunError(f"interrupted; what was written is in {run_dir}")
            _write_error(run_dir, error)
            raise error from None
        except LoadgenGenericError as error:
            _write_error(run_dir, error)
            raise
        from loadgen_generic.results.build import build_result

        result = build_result(config, requested(config), facts, run_dir, started_at)
        write_json(result.path, result.model_dump())
        return result


def requested(config: BenchmarkConfig) -> dict[str, Any]:
    """The options that the user gave, without the defaults."""
    return config.model_dump(exclude_unset=True)


def _find_model(config: BenchmarkConfig, observer: Observer) -> str:
    """The path of the model file; empty for a backend that needs none."""
    if config.model_path is not None:
        path = Path(config.model_path).expanduser()
        if not path.is_file():
            raise RequestError(
                "there is no such file." if not path.is_dir() else "this is a directory.",
                flag="modelpath",
                value=config.model_path,
                remedy="Give the path of an ONNX model.",
            )
        return str(Path(os.path.abspath(path)))
    if config.model is not None:
        from loadgen_generic.models import builtin_model

        try:
            return str(builtin_model(config.model, cache_dir()))
        except OSError as error:
            raise RunError(
                f"cannot keep the built model in {cache_dir()}: {error.strerror}. Set "
                "LOADGEN_GENERIC_CACHE to a directory that can be written to."
            ) from None
    if config.backend == "fake":
        return ""
    raise RequestError(
        "no model was named. Give the path of an ONNX model (--model_path FILE), or --model demo "
        "for a ResNet-50 that is built on the spot."
    )


def _name(config: BenchmarkConfig) -> str:
    if config.model_path is not None:
        return Path(config.model_path).stem
    return config.model or config.backend


@dataclass(slots=True)
class _Story:
    """What the child told."""

    facts: dict[str, Any] = field(default_factory=dict)
    error: LoadgenGenericError | None = None
    done: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def listen(self, pipe: IO[str], note: Callable[[str], None]) -> None:
        for line in pipe:
            message = json.loads(line)
            match message.pop("event"):
                case "note":
                    note(message["text"])
                case "facts":
                    self.facts = message
                case "error":
                    self.error = _error_of(message["exit_code"], message["message"])
                case "done":
                    self.done = True
        self.over.set()


def _error_of(exit_code: int, message: str) -> LoadgenGenericError:
    return RequestError(message) if exit_code == RequestError.exit_code else RunError(message)


def _run_child(
    config: BenchmarkConfig, model_path: str, run_dir: Path, observer: Observer
) -> dict[str, Any]:
    progress_file = run_dir / _PROGRESS
    Progress.create(progress_file)
    progress = Progress(progress_file)
    job = {
        "config": config.model_dump(),
        "model_path": model_path,
        "run_dir": str(run_dir),
        "progress": str(progress_file),
    }
    story = _Story()
    with (run_dir / HARNESS_LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(Path(__file__).resolve().parent.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # Ctrl-C goes to this process alone, which then ends the child.
            start_new_session=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    listener = threading.Thread(
        target=story.listen, args=(child.stdout, observer.note), daemon=True
    )
    listener.start()
    try:
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
        _watch(story, progress, observer, config.stall_timeout_sec)
    except BrokenPipeError:
        pass  # the child is gone; how it ended is looked at below
    finally:
        if not story.done and story.error is None:
            _end(child)
        child.wait()
        listener.join()
        progress.close()
        progress_file.unlink(missing_ok=True)
    if story.error is not None:
        raise story.error
    if not story.done:
        raise _died(child.returncode, run_dir / HARNESS_LOG)
    return story.facts


def _watch(story: _Story, progress: Progress, observer: Observer, stall_timeout: float) -> None:
    """Wait for the child to end; raise if it stops getting anywhere."""
    began_testing = 0.0
    last_change, last_seen = time.monotonic(), (Phase.STARTING, 0, 0)
    while not story.over.wait(_POLL_SEC):
        now = time.monotonic()
        phase, answered = progress.phase(), progress.answered()
        seen = (phase, answered, progress.beats())
        if phase == Phase.TESTING and not began_testing:
            began_testing = now
        observer.update(phase, answered, now - began_testing if began_testing else 0.0)
        if seen != last_seen:
            last_change, last_seen = now, seen
        elif now - last_change > stall_timeout:
            raise RunError(
                f"the run hung: nothing happened for {stall_timeout:g} s while "
                f"{phase.name.lower().replace('_', ' ')}, after {answered} samples. If one "
                "inference may take that long, raise --stall_timeout_sec."
            )


def _end(child: subprocess.Popen[str]) -> None:
    """End the child and whatever it started, now: LoadGen cannot be asked to stop."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    else:
        child.kill()


def _died(returncode: int, log: Path) -> RunError:
    if returncode == -9:
        why = (
            "the system killed the measured process (SIGKILL), which most often means that the "
            "machine ran out of memory"
        )
    elif returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        why = f"the measured process crashed ({name})"
    else:
        why = f"the measured process ended early, with exit code {returncode}"
    tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:].strip()
    return RunError(f"{why}; see {log}" + (f". Its last words:\n{tail}" if tail else ""))


def _write_error(run_dir: Path, error: LoadgenGenericError) -> None:
    write_json(run_dir / ERROR_FILE, {"exit_code": error.exit_code, "error": str(error)})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does. Signals reach only the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
