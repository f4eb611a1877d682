"""Environments with a real kserve and a real MLServer, and servers in them, on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from command import Command
from made_environments import environment
from servers import (
    Client,
    Server,
    start_kserve,
    start_mlserver,
    start_plain_kserve,
)

_KSERVE = ["kserve==0.21.0", "tritonclient[grpc]==2.73.0", "onnxruntime==1.32.0"]
_OURS = ["ml_dtypes", "mlcommons-loadgen==6.0.17", "onnx", "psutil", "pydantic"]
_MLSERVER = ["mlserver==1.7.1", "onnxruntime==1.32.0"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all processes of one test run."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if base.name.startswith("popen-") else base) / "serving"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def kserve(shared: Path) -> Path:
    """A directory of environments, of which ``serve`` has kserve and tritonclient."""
    return environment("serve", [*_KSERVE, *_OURS], shared)


@pytest.fixture(scope="session")
def mlserver_python(shared: Path) -> Path:
    return environment("mlserver", _MLSERVER, shared) / "mlserver" / "bin" / "python"


@pytest.fixture(scope="session")
def ask(kserve: Path) -> Iterator[Callable[..., Client]]:
    """Makes a bare client of an endpoint."""
    python = kserve / "serve" / "bin" / "python"
    process = subprocess.Popen(
        [python, Path(__file__).with_name("bare_client.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield lambda endpoint, root=None: Client(process, endpoint, root)
    process.communicate()


@pytest.fixture
def at_kserve(command: Command, kserve: Path) -> Command:
    """The command, which finds the environment with kserve."""
    places = {"LOADGEN_GENERIC_ENVIRONMENTS": str(kserve)}
    return Command(command.directory, {**command.environ, **places})


@pytest.fixture
def serving(at_kserve: Command) -> Iterator[Callable[..., Server]]:
    """Starts ``loadgen-generic serve`` on free ports; those that a test leaves are ended."""
    started: list[Server] = []

    def start(*arguments: object, **flags: object) -> Server:
        log = at_kserve.directory / f"serve-{len(started)}.log"
        started.append(start_kserve(at_kserve, log, arguments, **flags))
        return started[-1]

    yield start
    _end(started)


@pytest.fixture
def mlserver(
    mlserver_python: Path, tmp_path: Path, ask: Callable[..., Client]
) -> Iterator[Callable[..., Server]]:
    """Starts MLServer with a model; those that a test leaves are ended."""
    started: list[Server] = []

    def start(
        model: Path,
        inputs: Sequence[Mapping[str, object]],
        outputs: Sequence[Mapping[str, object]],
        **extra: Any,
    ) -> Server:
        directory = tmp_path / f"mlserver-{len(started)}"
        directory.mkdir()
        started.append(
            start_mlserver(
                mlserver_python, directory, model, ask, inputs=inputs, outputs=outputs, extra=extra
            )
        )
        return started[-1]

    yield start
    _end(started)


@pytest.fixture
def plain_kserve(
    kserve: Path, tmp_path: Path, ask: Callable[..., Client]
) -> Iterator[Callable[..., Server]]:
    """Starts kserve's own ModelServer with a model; those that a test leaves are ended."""
    started: list[Server] = []
    python = kserve / "serve" / "bin" / "python"

    def start(model: Path, **extra: Any) -> Server:
        directory = tmp_path / f"kserve-{len(started)}"
        directory.mkdir()
        started.append(start_plain_kserve(python, directory, model, ask, extra))
        return started[-1]

    yield start
    _end(started)


def _end(servers: Sequence[Server]) -> None:
    for server in servers:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.communicate()
