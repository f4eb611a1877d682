"""Which interpreter serves: one that has kserve as well as the execution provider.

kserve brings some hundred packages, and wants other versions of a few that are here; so it may
live in an environment of its own, named serve.
"""

from __future__ import annotations

import subprocess

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment, how_to_make, named
from loadgen_generic.errors import RunError
from loadgen_generic.supervisor import find_environment

__all__ = ["find_server_environment"]

_OWN = "serve"
_LOOK = "import importlib.util as u, sys; sys.exit(u.find_spec('kserve') is None)"
_PATIENCE_SEC = 60.0


def find_server_environment(config: BenchmarkConfig) -> Environment:
    """The environment that a run would measure in if it has kserve, else the one named serve.

    Raises:
        RunError: neither has both kserve and the provider; names the remedy.
    """
    usual = find_environment(config)
    if _has_kserve(usual):
        return usual
    own = named(_OWN)
    needs_provider = config.backend == "onnxruntime"
    if own is not None and _has_kserve(own):
        if not needs_provider or own.has(config.execution_provider):
            return own
        raise RunError(
            f"kserve is in {own.in_words()}, which has no {config.execution_provider}, and "
            f"that is in {usual.in_words()}, which has no kserve. Install it there: "
            f"{usual.python} -m pip install kserve"
        )
    raise RunError(_no_kserve(usual))


def _no_kserve(usual: Environment) -> str:
    where = f"{usual.python} has none" if usual.is_here else f"{usual.in_words()} has none"
    return (
        f"serving needs the package kserve, and {where}. It brings some hundred packages, and older "
        "versions of a few, so give it an environment of its own: "
        f"{how_to_make(_OWN, 'kserve onnxruntime')}"
    )


def _has_kserve(environment: Environment) -> bool:
    try:
        looked = subprocess.run(
            [environment.python, "-c", _LOOK],
            env=environment.environ(),
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_SEC,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(
            f"{environment.in_words()} does not start: {error}. Make it again."
        ) from None
    return looked.returncode == 0
