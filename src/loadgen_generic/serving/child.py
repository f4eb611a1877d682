"""The command's side of a server: starts it in a process of its own, and ends it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment, ended_by, start_module
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.serving.environment import find_server_environment
from loadgen_generic.serving.service import Listening, Service
from loadgen_generic.supervisor import find_model, interruptible

__all__ = ["serve"]

_ENTRY = "loadgen_generic.serving.entry"
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
    with interruptible(), start_module(environment, _ENTRY, None) as child:
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
        raise RunError(f"the server died ({ended_by(child.returncode)})")


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
