"""An environment with Ray, a cluster of three nodes on this machine, and runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command import Command
from made_environments import environment
from nodes import OPEN, Cluster

_RAY = ["ray==2.60.0", "onnxruntime==1.32.0"]
_OURS = ["ml_dtypes", "mlcommons-loadgen==6.0.17", "numpy", "onnx", "psutil", "pydantic"]


@pytest.fixture(scope="session")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of environments, of which ``ray`` has Ray."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if base.name.startswith("popen-") else base) / "cluster"
    directory.mkdir(exist_ok=True)
    return environment("ray", [*_RAY, *_OURS], directory)


@pytest.fixture
def on_ray(command: Command, ray: Path) -> Command:
    """The command, which finds the environment with Ray."""
    places = {"LOADGEN_GENERIC_ENVIRONMENTS": str(ray)}
    without = {k: v for k, v in command.environ.items() if not k.startswith("RAY_")}
    return Command(command.directory, {**without, **places, **OPEN})


@pytest.fixture(scope="session")
def begin_cluster(ray: Path, models: Callable[[str], Path]) -> Callable[..., Cluster]:
    """Starts a cluster; its nodes lack the directory of the tiny models, so that they are sent."""
    hidden = models("matmul").parent
    return lambda *cpus: Cluster(ray / "ray" / "bin" / "python", cpus or (2, 2, 2), hidden)


@pytest.fixture(scope="session")
def cluster(begin_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """Three nodes of two processors, for tests that leave them as they are."""
    started = begin_cluster()
    yield started
    started.stop()


@pytest.fixture
def own_cluster(begin_cluster: Callable[..., Cluster]) -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster with so many processors on each node, for a test that ends nodes."""
    started: list[Cluster] = []

    def start(*cpus: int) -> Cluster:
        started.append(begin_cluster(*cpus))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def beside(on_ray: Command) -> Callable[[Cluster], Command]:
    """The command, on the machine of a cluster's head."""
    return lambda cluster: replace(on_ray, shell=cluster.beside_the_head)
