"""A child under an environment's interpreter: asked once, watched, and ended if it hangs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from loadgen_generic.environments import Environment, ended_by, start_module

__all__ = ["Ask", "ask"]

Ask = Callable[[Environment, Mapping[str, Any], Callable[[], None]], dict[str, Any]]
_SAY_AFTER_SEC = 2.0
_PATIENCE_SEC = 120.0  # a GPU that nobody uses may take half a minute to wake
_LINES_SHOWN = 5


def ask(
    environment: Environment, job: Mapping[str, Any], slow: Callable[[], None]
) -> dict[str, Any]:
    """What :mod:`loadgen_generic.doctor.probe` answers under an environment's interpreter.

    Args:
        slow: called once if that takes over two seconds.

    Returns:
        Its answer; ``starts`` False, ``problem`` and ``remedy`` if it crashes or hangs.
    """
    with tempfile.TemporaryFile() as log:
        try:
            child = start_module(
                environment, "loadgen_generic.doctor.probe", log, own_session=False
            )
        except OSError as error:
            return _failed(f"{environment.python} does not start: {error}.", "Make it again.")
        with child:
            try:
                answer = _wait(child, json.dumps(job) + "\n", slow)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return _failed(
                    f"It does not start within {_PATIENCE_SEC:g} s.",
                    "A driver or a card that hangs does this; nvidia-smi shows whether it answers.",
                )
            log.seek(0)
            said = log.read().decode("utf-8", "replace")
    try:
        told: dict[str, Any] = json.loads(answer)
        return told
    except ValueError:
        return _crashed(child.returncode, said)


def _wait(child: subprocess.Popen[str], job: str, slow: Callable[[], None]) -> str:
    try:
        return child.communicate(job, timeout=_SAY_AFTER_SEC)[0]
    except subprocess.TimeoutExpired:
        slow()
        return child.communicate(timeout=_PATIENCE_SEC - _SAY_AFTER_SEC)[0]


def _crashed(code: int, said: str) -> dict[str, Any]:
    last = "\n".join(said.strip().splitlines()[-_LINES_SHOWN:])
    return _failed(
        f"Trying it ended the process ({ended_by(code)})"
        + (f", which said: {last}" if last else "."),
        "Its libraries do not fit together: see which versions of CUDA, cuDNN and the driver are "
        "listed here, and which it was built for.",
    )


def _failed(problem: str, remedy: str) -> dict[str, Any]:
    return {"starts": False, "problem": problem, "remedy": remedy}
