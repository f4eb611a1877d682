"""A Ray cluster on this machine, each node in a network of its own where that is permitted.

A node in a network of its own also has a file system in which one directory is empty, so that what
is there has to be sent to it; the head has that directory, and the commands that run beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["OPEN", "Cluster", "Node"]

# Whatever token the user's own clusters have.
OPEN = {"RAY_AUTH_MODE": "disabled"}

_SOURCES = Path(__file__).resolve().parents[2] / "src"
_PATIENCE_SEC = 60.0
_STARTED = "Ray runtime started."
_STORE_BYTES = 100_000_000  # the least that Ray takes is 75 MiB
# A node that is gone is noticed within three seconds, and one that is busy is not thought gone.
_SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
    # Only the processes that somebody asks for: a machine has few cores for three nodes.
    "enable_worker_prestart": False,
    "prestart_worker_first_driver": False,
}
# For tests of networks (RFC 2544), so nobody's address; without networks, all of loopback.
_APART, _TOGETHER = "198.18.0.{}", "127.0.1.{}"
_MAY_BE_APART = (
    "ip link add bridge0 type bridge && ip link add name port0 type veth peer name port1 "
    "&& mount -t tmpfs none /mnt"
)
_WAIT_FOR_THE_NETWORK = (
    'echo; read -r hidden; [ -z "$hidden" ] || mount -t tmpfs none "$hidden"; exec "$@"'
)


@dataclass
class Node:
    """A node under way.

    Attributes:
        name: its address.
        cache: where what is sent to it is kept.
    """

    name: str
    process: subprocess.Popen[str]
    log: Path
    cache: Path

    def kill(self) -> None:
        """End everything that runs there, at once and without a word."""
        try:
            head = psutil.Process(self.process.pid)
            family = [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went with its parent
                each.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=_PATIENCE_SEC)

    def wait(self) -> None:
        """Until it has joined the cluster."""
        end = time.monotonic() + _PATIENCE_SEC
        while _STARTED not in self.log.read_text("utf-8"):
            assert self.process.poll() is None, f"it ended: {self.log.read_text('utf-8')}"
            assert time.monotonic() < end, f"it never came up: {self.log.read_text('utf-8')}"
            time.sleep(0.05)


@dataclass
class Cluster:
    """A head and other nodes.

    Args:
        python: the interpreter of an environment that has Ray.
        cpus: that Ray may give out on each node, the head first.
        hidden: the directory that only the head has, where the nodes have networks.

    Attributes:
        address: HOST:PORT of the head.
        together: why the nodes share this machine's network; empty if each has one of its own.
    """

    python: Path
    cpus: Sequence[int] = (2, 2, 2)
    hidden: Path | None = None
    nodes: list[Node] = field(default_factory=list)
    address: str = ""
    together: str = ""

    def __post_init__(self) -> None:
        # Not below pytest's directory: the path of a socket has a limit.
        self._directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.together = _why_together()
        host = (_TOGETHER if self.together else _APART).format(1)
        self.address = f"{host}:{_free_port()}"
        try:
            for at in range(len(self.cpus)):
                self._add(at)
                if at == 0:
                    self.nodes[0].wait()
            for node in self.nodes:
                node.wait()
        except BaseException:
            self.stop()
            raise

    @property
    def flags(self) -> dict[str, object]:
        """Of a run on it."""
        return {"runner": "ray", "ray_address": self.address}

    @property
    def beside_the_head(self) -> str:
        """What a shell does so that a command runs on the head's machine, see
        :class:`~command.Command`."""
        if self.together:
            return ""
        return f'exec nsenter --net=/proc/{self.nodes[0].process.pid}/ns/net -- "$@"'

    def unplug(self, at: int) -> None:
        """Cut a node other than the head off from the rest."""
        assert at > 0
        assert not self.together
        _in_network_of(self.nodes[0], f"ip link set port{at} down")

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _add(self, at: int) -> None:
        """Begin to start a node."""
        directory = self._directory / str(at)
        directory.mkdir()
        name = (_TOGETHER if self.together else _APART).format(at + 1)
        words = ["sh", "-c", _WAIT_FOR_THE_NETWORK, "sh", *self._ray(at, name, directory)]
        apart = [] if self.together else ["unshare", "--net", "--mount"]
        log, cache = directory / "log", directory / "cache"
        with log.open("w") as file:
            process = subprocess.Popen(
                [*apart, *words],
                env=_environ(cache),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        node = Node(name, process, log, cache)
        self.nodes.append(node)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # now it is in a network of its own
        if not self.together:
            self._connect(at)
        hidden = self.hidden if at and not self.together else None
        process.stdin.write(f"{hidden or ''}\n")
        process.stdin.close()

    def _connect(self, at: int) -> None:
        """The head's network has a bridge, and each other node is on one end of a cable to it."""
        head, node = self.nodes[0], self.nodes[at]
        device = "port0" if at else "bridge0"
        if at:
            _in_network_of(
                head,
                f"ip link add name port{at} type veth peer name port0 netns {node.process.pid}",
                f"ip link set port{at} master bridge0",
                f"ip link set port{at} up",
            )
        else:
            _in_network_of(head, "ip link add bridge0 type bridge")
        _in_network_of(
            node,
            "ip link set lo up",
            f"ip address add {node.name}/24 dev {device}",
            f"ip link set {device} up",
        )

    def _ray(self, at: int, name: str, directory: Path) -> list[str]:
        port = self.address.rpartition(":")[2]
        head = [
            "--head",
            f"--port={port}",
            f"--system-config={json.dumps(_SYSTEM)}",
            "--include-dashboard=false",
            "--no-monitor",
        ]
        return [
            *("sh", "-c", f'exec "$@" >{directory}/log 2>&1', "sh"),
            *(str(self.python), "-m", "ray.scripts.scripts", "start", "--block"),
            *(head if at == 0 else [f"--address={self.address}"]),
            f"--node-ip-address={name}",
            f"--num-cpus={self.cpus[at]}",
            "--num-gpus=0",
            f"--object-store-memory={_STORE_BYTES}",
            f"--temp-dir={directory}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--dashboard-agent-listen-port=0",
            "--include-log-monitor=false",
            "--disable-usage-stats",
        ]


def _why_together() -> str:
    """Why this process may not make networks; empty if it may."""
    try:
        tried = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", _MAY_BE_APART],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip() or "not permitted"


def _in_network_of(node: Node, *commands: str) -> None:
    enter = ["nsenter", f"--net=/proc/{node.process.pid}/ns/net", "--"]
    for each in commands:
        subprocess.run([*enter, *each.split()], check=True)


def _environ(cache: Path) -> dict[str, str]:
    ours = {"PYTHONPATH": str(_SOURCES), "LOADGEN_GENERIC_CACHE": str(cache)}
    return {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CM_"))} | ours | OPEN


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])
