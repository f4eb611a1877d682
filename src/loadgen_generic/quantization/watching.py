"""The process that quantises: started, watched, and ended whatever happens."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

from loadgen_generic.environments import Environment, ended_by, start_module
from loadgen_generic.errors import RequestError, RunError

__all__ = ["watch"]

_SAY_AFTER_SEC = 2.0
_POLL_SEC = 0.1
_LAST_SEC = 10.0
_LINES_SHOWN = 5


def watch(
    environment: Environment,
    job: Mapping[str, Any],
    patience_sec: float,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Have :mod:`loadgen_generic.quantization.worker` do a job.

    Args:
        patience_sec: how long it may say nothing.
        tell: told what goes on if it takes over two seconds.

    Returns:
        What it says of what it made.

    Raises:
        RequestError, RunError: as it said, or because it died or hung.
    """
    with tempfile.TemporaryFile() as log:
        try:
            child = start_module(environment, "loadgen_generic.quantization.worker", log)
        except OSError as error:
            raise RunError(f"{environment.python} does not start: {error}.") from None
        try:
            made = _listen(child, job, patience_sec, tell)
            if made is None:
                with suppress(subprocess.TimeoutExpired):  # it is on its way out
                    child.wait(_LAST_SEC)
        finally:
            _end(child)
        if made is not None:
            return made
        log.seek(0)
        raise _died(child.returncode, log.read().decode("utf-8", "replace"))


def _listen(
    child: subprocess.Popen[str],
    job: Mapping[str, Any],
    patience_sec: float,
    tell: Callable[[str], None],
) -> dict[str, Any] | None:
    """What it says at the end; None if it ends without a word."""
    assert child.stdin is not None
    assert child.stdout is not None
    heard: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_hear, args=(child.stdout, heard), daemon=True).start()
    try:
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        return None
    started = last = time.monotonic()
    doing, said = "", False
    while True:
        now = time.monotonic()
        if doing and not said and now - started > _SAY_AFTER_SEC:
            tell(doing)
            said = True
        if now - last > patience_sec:
            raise RunError(
                f"the quantisation to int8 hung: nothing happened for {patience_sec:g} s. If one "
                "inference may take that long, raise --stall_timeout_sec."
            )
        try:
            message = heard.get(timeout=_POLL_SEC)
        except queue.Empty:
            continue
        last = time.monotonic()
        if message is None:
            return None
        match message.pop("event"):
            case "doing":
                doing = message["what"]
            case "error":
                kind = RequestError if message["exit_code"] == RequestError.exit_code else RunError
                raise kind(message["message"])
            case "made":
                return message


def _hear(pipe: IO[str], heard: queue.Queue[dict[str, Any] | None]) -> None:
    for line in pipe:
        heard.put(json.loads(line))
    heard.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """It has told all that it will, or nobody listens any more."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # of a job that it did not live to read
                pipe.close()


def _died(code: int, said: str) -> RunError:
    if code == -9:
        return RunError(
            "the system killed the quantisation to int8 (SIGKILL), which most often means that "
            "the machine ran out of memory."
        )
    last = "\n".join(said.strip().splitlines()[-_LINES_SHOWN:])
    return RunError(
        f"the quantisation to int8 crashed ({ended_by(code)})"
        + (f", its last words:\n{last}" if last else "")
    )
