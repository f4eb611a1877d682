"""The nodes of a Ray cluster as places for tests. Imports Ray, which is an extra."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loadgen_generic.campaigns.spreading.places import LostNodeError, Places, Ticket
from loadgen_generic.cluster import engine
from loadgen_generic.cluster.node import Node

__all__ = ["nodes_of_ray"]

# Between two looks at whether the user wants to stop, which Ray may not pass on while it waits.
_LOOK_SEC = 1.0
# For tests that are given up to end by themselves and take their files away.
_END_SEC = 5.0


@contextmanager
def nodes_of_ray(address: str | None) -> Iterator[Places]:
    """Join a cluster and leave it again, with which all that is under way there ends.

    Args:
        address: as :func:`engine.join` takes it.

    Raises:
        RunError: no cluster is there.
    """
    handler = signal.getsignal(signal.SIGTERM)
    with engine.joined(address):
        if threading.current_thread() is threading.main_thread():
            # Ray puts its own in place, which ends the process without a word.
            signal.signal(signal.SIGTERM, handler)
        nodes = _Ray()
        try:
            yield nodes
        finally:
            nodes.give_up()


class _Ray:
    def __init__(self) -> None:
        self._open: set[Ticket] = set()

    def nodes(self) -> list[Node]:
        return engine.nodes()

    def share(self, value: object) -> Any:
        return engine.ray.put(value)

    def start(
        self, node: Node, work: Callable[..., object], *given: object, whole: bool = False
    ) -> Ticket:
        cpus, gpus = (node.cpus, node.gpus) if whole else (0, 0)
        ticket: Ticket = engine.task_on(node, work, *given, cpus=cpus, gpus=gpus)
        self._open.add(ticket)
        return ticket

    def first(self, tickets: Sequence[Ticket]) -> Ticket:
        done: list[Ticket] = []
        while not done:
            done, _ = engine.ray.wait(
                list(tickets), num_returns=1, timeout=_LOOK_SEC, fetch_local=False
            )
        return done[0]

    def outcome(self, ticket: Ticket) -> Any:
        self._open.discard(ticket)
        try:
            return engine.ray.get(ticket)
        except engine.RayTaskError as error:
            raise engine.cause_of(error) from None
        except engine.RayError as error:
            words = str(error).strip() or type(error).__name__
            raise LostNodeError(words.splitlines()[0]) from None

    def give_up(self) -> None:
        """Interrupt what is under way, as Ctrl-C would there."""
        for ticket in self._open:
            engine.ray.cancel(ticket)
        if self._open:
            engine.wait_for(list(self._open), _END_SEC)
