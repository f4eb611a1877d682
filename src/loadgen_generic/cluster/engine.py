"""The only importer of Ray: joining a cluster and leaving it, its nodes, actors and tasks on them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from loadgen_generic.cluster.node import Node
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.machine import available_cores

# Where there is a token `ray start` asks for it, and Ray gives it to a cluster that it finds by itself,
# but to none at an address. Both sides have to be of one mind. It is read as Ray is imported.
if (Path.home() / ".ray" / "auth_token").is_file():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

try:
    import ray
    from ray.exceptions import (
        NodeDiedError,
        ObjectFetchTimedOutError,
        ObjectLostError,
        RayActorError,
        RayError,
        RayTaskError,
    )
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise RequestError(
        f"--runner ray and --trials_on ray need Ray, which is not installed here ({error}).",
        remedy='Install it with pip install "loadgen-generic[ray]", here and on every node.',
    ) from None

__all__ = [
    "LOST",
    "RayError",
    "RayTaskError",
    "actor_on",
    "cause_of",
    "join",
    "joined",
    "nodes",
    "ray",
    "task_on",
    "wait_for",
]

# What became of a call whose replica, or the node with its answer, is gone.
LOST = (RayActorError, NodeDiedError, ObjectLostError, ObjectFetchTimedOutError)
_CONNECT_SEC = 10.0
_VARIABLE = "RAY_ADDRESS"
NICENESS = "RAY_worker_niceness"
_QUIET = {"include_dashboard": False}


def join(address: str | None) -> None:
    """Join a cluster, if this process is in none yet.

    Args:
        address: HOST:PORT of its head node. None for what ``RAY_ADDRESS`` says, else for the cluster
            that was started on this machine, else for one of this machine alone, which ends with
            this process.

    Raises:
        RunError: no cluster is there.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Of a cluster of this machine alone: its workers would give way to everybody, LoadGen first.
    os.environ.setdefault(NICENESS, "0")
    given = address or os.environ.get(_VARIABLE)
    how = {"log_to_driver": False, "logging_level": "ERROR"}
    if given and given not in ("auto", "local"):
        _check_there(given)
    try:
        if given != "local":
            with contextlib.suppress(*([] if given else [ConnectionError])):
                ray.init(address=given or "auto", **how)
                return
        ray.init(address="local", num_cpus=available_cores(), **_QUIET, **how)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise RunError(
            f"cannot join the Ray cluster at {given or 'this machine'}: {error}. `ray status` on its "
            "head node shows whether it runs; Ray and Python have to be of the same versions here "
            "and there, and RAY_AUTH_MODE and ~/.ray/auth_token as well."
        ) from error


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[None]:
    """:func:`join`, and leave again."""
    join(address)
    try:
        yield
    finally:
        ray.shutdown()


def _check_there(address: str) -> None:
    """A look of our own, since Ray tries for a minute before it gives up."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SEC).close()
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Ray cluster answers at {address} ({error}). Give HOST:PORT of its head node, as "
            "`ray start --head` printed it, with --ray_address."
        ) from None


def nodes() -> list[Node]:
    """The nodes that are alive, in an order that stays."""
    found = [
        Node(
            id=each["NodeID"],
            host=each["NodeManagerHostname"],
            address=each["NodeManagerAddress"],
            cpus=int(each["Resources"].get("CPU", 0)),
            gpus=int(each["Resources"].get("GPU", 0)),
        )
        for each in ray.nodes()
        if each["Alive"]
    ]
    return sorted(found, key=lambda node: (node.host, node.address, node.id))


def actor_on(
    node: Node, kind: type, *given: object, cpus: float = 0, gpus: float = 0, **options: Any
) -> Any:
    """An actor of a class on a node. It is not started again when it dies, nor are its calls."""
    return (
        ray.remote(kind)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,  # for a dashboard; they cost memory and time for each call
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            **options,
        )
        .remote(*given)
    )


def task_on(
    node: Node, work: Callable[..., object], *given: object, cpus: float = 0, gpus: float = 0
) -> Any:
    """The reference to the result of a function that runs on a node, once."""
    return (
        ray.remote(work)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        .remote(*given)
    )


def cause_of(error: BaseException) -> BaseException:
    """What was raised on a node, without what Ray puts around it."""
    inner = getattr(error, "cause", None) if isinstance(error, RayTaskError) else None
    return inner if isinstance(inner, BaseException) else error


def wait_for(references: Sequence[Any], timeout: float) -> list[Any]:
    """Those of the references that have no result after so many seconds."""
    _, pending = ray.wait(list(references), num_returns=len(references), timeout=timeout)
    return list(pending)
