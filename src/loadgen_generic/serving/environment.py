"""Which interpreter serves: one that has kserve as well as the execution provider.

kserve brings some hundred packages, and wants other versions of a few that are here; so it may
live in an environment of its own, named serve.
"""

from __future__ import annotations

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment, environment_with
from loadgen_generic.supervisor import find_environment

__all__ = ["find_server_environment"]


def find_server_environment(config: BenchmarkConfig) -> Environment:
    """The environment that a run would measure in if it has kserve, else the one named serve.

    Raises:
        RunError: neither has both kserve and the provider; names the remedy.
    """
    provider = config.execution_provider if config.backend == "onnxruntime" else None
    return environment_with("kserve", "serve", find_environment(config), provider, "serving")
