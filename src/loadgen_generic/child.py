"""One child process: start it, watch it, and end it if need be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.diagnosis import explain_failure
from loadgen_generic.environments import Environment, ended_by, start_module
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.progress import Phase, Progress
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.telemetry.live import Glance, Live

if TYPE_CHECKING:
    from loadgen_generic.telemetry.collect import Collector

__all__ = ["HARNESS_LOG", "Lookout", "Observer", "SilentObserver", "run_child"]

HARNESS_LOG = "harness.log"
# Called several times a second during the test, with the time in s and the samples answered; what it
# raises ends the run.
Lookout = Callable[[float, int], None]

_PROGRESS = ".progress"
_POLL_SEC = 0.1
_LOG_TAIL = 2000


class Observer(Protocol):
    """Who shows the user what is going on."""

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def update(self, glance: Glance) -> None:
        """How far it is; several times a second."""
        ...


class SilentObserver:
    def note(self, text: str) -> None:
        pass

    def update(self, glance: Glance) -> None:
        pass


@dataclass(slots=True)
class _Story:
    """What the child told."""

    facts: dict[str, Any] = field(default_factory=dict)
    error: LoadgenGenericError | None = None
    done: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def effective(self) -> dict[str, Any]:
        """The configuration in force; empty before the child tells it."""
        found: dict[str, Any] = self.facts.get("effective", {})
        return found

    def nodes(self) -> list[dict[str, Any]]:
        """Of a cluster, what was seen on each; empty where the run is on none."""
        found: list[dict[str, Any]] = self.facts.get("cluster", {}).get("nodes", [])
        return found

    def listen(self, pipe: IO[str], note: Callable[[str], None]) -> None:
        for line in pipe:
            message = json.loads(line)
            match message.pop("event"):
                case "note":
                    note(message["text"])
                    # What is said before the facts stands in them.
                    self.facts.get("notes", []).append(message["text"])
                case "facts":
                    self.facts = message
                case (
                    "conditions" | "answers" | "devices" | "cluster" | "phases" | "profile" as name
                ):
                    self.facts[name] = message
                case "error":
                    self.error = _error_of(message["exit_code"], message["message"])
                case "done":
                    self.done = True
        self.over.set()


def _error_of(exit_code: int, message: str) -> LoadgenGenericError:
    return RequestError(message) if exit_code == RequestError.exit_code else RunError(message)


def run_child(
    config: BenchmarkConfig,
    model_path: str,
    run_dir: Path,
    observer: Observer,
    environment: Environment,
    lookout: Lookout | None = None,
) -> dict[str, Any]:
    """Run one LoadGen test in a process of its own, under the interpreter of an environment.

    Returns:
        What the child told of itself before the test, and as ``conditions`` and ``answers`` after
        it; as ``telemetry``, what was seen of it.

    Raises:
        RequestError, RunError: as the child said, or because it died or hung; or as the lookout says.
    """
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
    moved = [] if environment.is_here else [f"measured under {environment.in_words()}"]
    for note in moved:
        observer.note(note)
    with (run_dir / HARNESS_LOG).open("wb") as log:
        child = start_module(environment, "loadgen_generic.benchmark", log)
    assert child.stdin is not None
    assert child.stdout is not None
    listener = threading.Thread(
        target=story.listen, args=(child.stdout, observer.note), daemon=True
    )
    listener.start()
    collector: Collector | None = None
    try:
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
        if config.telemetry == "on":
            # While the child starts, which takes longer.
            from loadgen_generic.telemetry.collect import Collector

            collector = Collector(child.pid, run_dir)
        _watch(story, progress, observer, collector, config.stall_timeout_sec, lookout)
    except BrokenPipeError:
        pass  # the child is gone; how it ended is looked at below
    finally:
        if not story.done and story.error is None:
            _end(child)
        child.wait()
        listener.join()
        if collector is not None:
            collector.stop(progress.answered(), story.effective())
            for text in collector.trouble if not story.done else []:
                observer.note(text)
        progress.close()
        progress_file.unlink(missing_ok=True)
    if story.error is not None:
        raise story.error
    if not story.done:
        raise _died(child.returncode, run_dir / HARNESS_LOG, config.execution_provider)
    story.facts["effective"]["environment"] = {
        "name": environment.name,
        "python": str(environment.python),
        "package": environment.described(),
    }
    story.facts["notes"] = [*moved, *story.facts["notes"]]
    if collector is not None:
        story.facts["telemetry"] = collector.write(run_dir, story.nodes())
        story.facts["notes"] += collector.notes
    return story.facts


def _watch(
    story: _Story,
    progress: Progress,
    observer: Observer,
    collector: Collector | None,
    stall_timeout: float,
    lookout: Lookout | None,
) -> None:
    """Wait for the child to end; raise if it stops getting anywhere."""
    live = Live()
    last_change, last_seen = time.monotonic(), (Phase.STARTING, 0, 0)
    while not story.over.wait(_POLL_SEC):
        now = time.monotonic()
        phase, answered = progress.phase(), progress.answered()
        effective = story.effective()
        if collector is not None and phase is Phase.TESTING and effective:
            collector.look(answered, effective)
        elif collector is not None and phase > Phase.TESTING:
            collector.stop(answered, effective)
        if lookout is not None and phase is Phase.TESTING:
            lookout(now, answered)
        latencies = collector.latencies() if collector is not None else None
        observer.update(live.glance(now, phase, answered, effective, latencies))
        seen = (phase, answered, progress.beats())
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


def _died(returncode: int, log: Path, provider: str) -> RunError:
    if returncode == -9:
        why = (
            "the system killed the measured process (SIGKILL), which most often means that the "
            "machine ran out of memory; a smaller --batch_size, --concurrency or "
            "--distinct_samples needs less"
        )
    elif returncode < 0:
        why = f"the measured process crashed ({ended_by(returncode)})"
    else:
        why = f"the measured process ended early, with exit code {returncode}"
    tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:].strip()
    known = explain_failure(provider, tail)
    if known:
        return RunError(f"{why}. {known}; see {log}")
    if facts_of(provider).cards:
        why += "; `loadgen-generic doctor` shows whether the provider starts at all"
    return RunError(f"{why}; see {log}" + (f". Its last words:\n{tail}" if tail else ""))
