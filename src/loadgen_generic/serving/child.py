"""The command's side of a server: starts it in a process of its own, and ends it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.serving.environment import find_server_environment
from loadgen_generic.serving.service import Listening, Service
from loadgen_generic.supervisor import find_model, interruptible

__all__ = ["serve"]

# kserve reads the command line of the process that imports it; this one has none.
_CHILD = (
    "import sys; sys.path[0] = sys.argv.pop(); "
    "from loadgen_generic.serving.entry import main; main()"
)
_PATIENCE_SEC = 25.0  # more than the child gives to requests under way, by REST and then gRPC


def serve(
    config: BenchmarkConfig, service: Service, ready: Callable[[Listening, Environment], None]
) -> None:
    """Serve a model until Ctrl-C or SIGTERM.

    Args:
        config: with :data:`loadgen_generic.serving.loading.SERVED`.
        ready: called once clients are answered.

    Raises:
        RequestError: there is no such model, a port is taken, the protocol lacks a type.
        RunError: the model does not load, kserve is missing, or the server died.
    """
    job = {
        "config": config.model_dump(),
        "model_path": find_model(config),
        "service": asdict(service.checked()),
    }
    environment = find_server_environment(config)
    with interruptible(), _start(environment) as child:
        try:
            _follow(child, job, lambda listening: ready(listening, environment))
            _wait(child)
        except KeyboardInterrupt:
            child.terminate()
            _wait(child)
            return
        finally:
            child.kill()  # nothing, where it has ended
    if child.returncode:
        raise RunError(_death(child.returncode))


def _start(environment: Environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [environment.python, "-c", _CHILD, str(Path(__file__).resolve().parents[2])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment.environ(),
        # Ctrl-C goes to this process alone, which then ends the child.
        start_new_session=True,
    )


def _follow(child: subprocess.Popen[str], job: object, ready: Callable[[Listening], None]) -> None:
    """Listen to the child's story until it ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
    except BrokenPipeError:  # it has ended already; how, its exit code says
        with suppress(BrokenPipeError):
            child.stdin.close()
    for line in child.stdout:
        message = json.loads(line)
        if message.pop("event") == "ready":
            ready(Listening(**message))
        else:
            kind = RequestError if message["exit_code"] == RequestError.exit_code else RunError
            raise kind(message["message"])


def _wait(child: subprocess.Popen[str]) -> None:
    """Let it finish what it is at, unless there is one more Ctrl-C."""
    with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        child.wait(_PATIENCE_SEC)


def _death(code: int) -> str:
    try:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        how = f"signal {-code}"
    return f"the server died ({how})"
