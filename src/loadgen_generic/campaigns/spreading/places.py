"""Nodes that carry functions out, seen without the engine that runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from loadgen_generic.cluster.node import Node

__all__ = ["LostNodeError", "Places", "Ticket", "names_of"]

Ticket = Hashable


class LostNodeError(Exception):
    """A node, or the process there, is gone: what it was to do has no outcome."""


class Places(Protocol):
    """The nodes of one cluster."""

    def nodes(self) -> list[Node]:
        """Those that are alive, in an order that stays."""
        ...

    def share(self, value: object) -> Any:
        """A stand-in for a large value, which :meth:`start` takes in its place for any node."""
        ...

    def start(
        self, node: Node, work: Callable[..., object], *given: object, whole: bool = False
    ) -> Ticket:
        """Have a node call a function of a module.

        Args:
            whole: it waits until it has all processors and GPUs of the node for itself.
        """
        ...

    def first(self, tickets: Sequence[Ticket]) -> Ticket:
        """Wait until one of these calls has an outcome; that one."""
        ...

    def outcome(self, ticket: Ticket) -> Any:
        """What the function returned, or what it raised.

        Raises:
            LostNodeError: it came to no end.
        """
        ...


def names_of(nodes: Sequence[Node]) -> dict[str, str]:
    """What each is called, by its id: the host, with as much beside it as tells it from the others."""
    hosts, places = Counter(node.host for node in nodes), Counter(map(str, nodes))
    return {node.id: _name(node, hosts[node.host], places[str(node)]) for node in nodes}


def _name(node: Node, of_host: int, of_place: int) -> str:
    if of_host == 1:
        return node.host
    return str(node) if of_place == 1 else f"{node.host} (node {node.id[:8]})"
