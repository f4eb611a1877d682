"""A node of a cluster, and which of several gets how many replicas."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.errors import RequestError

__all__ = ["Node", "Room", "own_priority", "placed"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster, as Ray knows it.

    Attributes:
        id: Ray's, in hexadecimal digits.
        host: its own name.
        address: of its network interface.
        cpus, gpus: how many Ray may give out there, rounded down.
    """

    id: str
    host: str
    address: str
    cpus: int
    gpus: int

    def __str__(self) -> str:
        return f"{self.host} ({self.address})" if self.host != self.address else self.host

    def room(self, cpus: int, gpus: int) -> int:
        """How many replicas it has room for that take so much each."""
        return min(
            *(have // need for have, need in ((self.cpus, cpus), (self.gpus, gpus)) if need),
            self.cpus + self.gpus,
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What the nodes of a cluster have for replicas.

    Attributes:
        each: of each node, the GPUs where the provider runs on those, else the processors.
        cards: whether they are GPUs.
    """

    each: tuple[int, ...]
    cards: bool


def placed(nodes: Sequence[Node], replicas: int, cpus: int, gpus: int) -> list[Node]:
    """The node of each replica: one after the other to where most room is left.

    Args:
        cpus, gpus: that each takes; one of them at least is not 0.

    Raises:
        RequestError: there is not room for all.
    """
    left = [node.room(cpus, gpus) for node in nodes]
    if sum(left) < replicas:
        have = ", ".join(f"{node} {node.cpus} CPUs, {node.gpus} GPUs" for node in nodes)
        each = f"{gpus} GPU" if gpus else f"{cpus} CPU(s), see --intraop"
        raise RequestError(
            f"the cluster has room for {sum(left)} replicas of {each}: {have}.",
            flag="concurrency",
            value=replicas,
            remedy="Ask for fewer, or for fewer threads each, or add nodes.",
        )
    chosen = []
    for _ in range(replicas):
        at = max(range(len(left)), key=lambda at: left[at])
        left[at] -= 1
        chosen.append(nodes[at])
    return chosen


def own_priority() -> str:
    """Give this process the priority of others: Ray has its workers give way to all of them.

    Returns:
        What the user should know where that is not permitted; else empty.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
    if niceness <= 0:
        return ""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except PermissionError:
        return (
            f"Ray has its workers give way to other processes of their node (niceness {niceness}); "
            "RAY_worker_niceness=0 in the environment of `ray start` on each node changes that"
        )
    return ""
