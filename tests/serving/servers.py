"""Real servers in environments of their own, on loopback, and a bare client to ask them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import Command

__all__ = [
    "Client",
    "RefusedError",
    "Server",
    "start_kserve",
    "start_mlserver",
    "start_plain_kserve",
    "tensor",
]

_PATIENCE_SEC = 120.0
_READY = re.compile(r"gRPC at (\S+), REST at (\S+);")


class RefusedError(Exception):
    """What a server answered instead, with gRPC's word for it in ``status``."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


def tensor(name: str, datatype: str, data: Any, shape: Sequence[int] | None = None) -> Any:
    """A tensor for :meth:`Client.infer`; ``shape`` where it is not that of nested lists."""
    if shape is None:
        shape, level = [], data
        while isinstance(level, list):
            shape, level = [*shape, len(level)], level[0]
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


@dataclass
class Client:
    """A bare client of one server.

    Attributes:
        root: the certificate to trust, for TLS.
    """

    process: subprocess.Popen[str]
    endpoint: str
    root: str | None = None

    def __call__(self, call: str, **given: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"call": call, "endpoint": self.endpoint, "root": self.root, "given": given}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        if "error" in told:
            raise RefusedError(told["error"], str(told["status"]))
        return told["answer"]

    def infer(self, model: str, *inputs: Any, outputs: Sequence[str] = ()) -> Any:
        return self("infer", model=model, inputs=inputs, outputs=outputs)


@dataclass
class Server:
    """A server under way.

    Attributes:
        endpoint: for gRPC.
        rest: its address for REST.
        log: what it says on standard error.
    """

    process: subprocess.Popen[str]
    endpoint: str
    rest: str
    log: Path

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal and wait for the end; exit code and what it said."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str]:
        """Wait for the end; exit code and what it said."""
        return self.process.wait(_PATIENCE_SEC), self.log.read_text("utf-8")


def start_kserve(
    command: Command, log: Path, arguments: Sequence[object], **flags: object
) -> Server:
    """``loadgen-generic serve ARGUMENTS --FLAG VALUE ...`` on free ports, once it is ready.

    Args:
        command: says where, and with which variables.
    """
    words = [str(word) for word in arguments]
    for name, value in {"port": 0, "http_port": 0, **flags}.items():
        words += [f"--{name}", str(value)]
    with log.open("w") as file:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("loadgen-generic"), "serve", *words],
            cwd=command.directory,
            env=dict(command.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    assert process.stdout is not None
    said = process.stdout.readline()
    found = _READY.search(said)
    assert found is not None, f"not ready: {said}{log.read_text('utf-8')}"
    return Server(process, found[1], found[2], log)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start_mlserver(
    python: Path,
    directory: Path,
    model: Path,
    ask: Callable[[str], Client],
    *,
    inputs: Sequence[Mapping[str, object]],
    outputs: Sequence[Mapping[str, object]],
    extra: Mapping[str, object] | None = None,
) -> Server:
    """MLServer with a model behind ``mlserver_model.OnnxModel``, once it answers.

    Args:
        directory: an empty one for its settings.
        ask: makes a client of an endpoint.
        inputs, outputs: as the model's metadata lists them.
        extra: what ``mlserver_model`` takes.
    """
    port, http_port, metrics_port = free_ports(3)
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": http_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    about = {
        "name": model.stem,
        "implementation": "mlserver_model.OnnxModel",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"uri": str(model), "extra": extra or {}},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    (directory / "model-settings.json").write_text(json.dumps(about))
    server = _started([python.with_name("mlserver"), "start", "."], directory, (port, http_port))
    _wait(server, ask(server.endpoint), model.stem)
    return server


def start_plain_kserve(
    python: Path, directory: Path, model: Path, ask: Callable[[str], Client], extra: object
) -> Server:
    """kserve's own ModelServer with ``kserve_model``, once it answers.

    Args:
        directory: for its log.
        extra: what ``kserve_model`` takes.
    """
    ports = free_ports(2)
    program = Path(__file__).with_name("kserve_model.py")
    words = [python, program, model, *map(str, ports), json.dumps(extra)]
    server = _started(words, directory, ports)
    _wait(server, ask(server.endpoint), model.stem)
    return server


def _started(words: Sequence[str | Path], directory: Path, ports: Sequence[int]) -> Server:
    log = directory / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            words,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return Server(process, f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", log)


def _wait(server: Server, client: Client, model: str) -> None:
    end = time.monotonic() + _PATIENCE_SEC
    while not _answers(client, model):
        assert server.process.poll() is None, f"it ended: {server.log.read_text('utf-8')}"
        assert time.monotonic() < end, f"it never came up: {server.log.read_text('utf-8')}"
        time.sleep(0.05)


def _answers(client: Client, model: str) -> bool:
    try:
        return all(client("ready", model=model))
    except RefusedError:
        return False
