"""What is asked of the nodes around a test that runs elsewhere as well: servers, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from loadgen_generic.seams import Backend, Elsewhere

__all__ = ["Nodes", "Spread"]

Tell = Callable[[str, Mapping[str, object]], None]


@runtime_checkable
class Spread(Protocol):
    """What a :class:`Backend` has as well that runs on the nodes of a cluster."""

    def watch(self, watcher: type) -> None:
        """Start a watcher on each node."""
        ...

    def told(self, method: str, *given: object) -> Mapping[str, Any]:
        """What each watcher says, by the id of its node; nothing of a node that is gone."""
        ...

    def begin(self) -> None:
        """Count what each node does from now on."""
        ...

    def spread(self) -> dict[str, Any]:
        """What each node did since then, as fields of a result's ``cluster``."""
        ...


class Nodes:
    """Of one run.

    Attributes:
        network_name: asks servers for their names; None where there are none.
        roots: processes of this machine whose children belong to the system under test.
    """

    def __init__(self, backend: Backend) -> None:
        self._elsewhere = backend if isinstance(backend, Elsewhere) else None
        self._spread = backend if isinstance(backend, Spread) else None
        self.network_name: Callable[[], str] | None = None
        if self._elsewhere is not None:
            self.network_name = self._elsewhere.network_name
        self.roots: list[int] = []

    def begin(self, telemetry: bool) -> None:
        """The test is about to begin.

        Args:
            telemetry: look at the nodes while it runs, not only before and after it.
        """
        if self._spread is None:
            return
        # Only now: the process that measures is to start without it.
        from loadgen_generic.telemetry.nodes import NodeWatcher, this_machine

        self._spread.watch(NodeWatcher)
        roots: dict[str, list[int]] = {this_machine(): []}
        for machine, root in self._spread.told("who").values():
            roots.setdefault(machine, []).append(root)
        self.roots = list(roots[this_machine()])
        roots[this_machine()].append(os.getppid())
        self._spread.told("begin", roots, telemetry)
        self._spread.begin()

    def tell(self, tell: Tell) -> None:
        """The test is over: tell ``cluster``, and notes."""
        for text in [] if self._elsewhere is None else self._elsewhere.shares():
            tell("note", {"text": text})
        if self._spread is None:
            return
        seen, found = self._spread.told("end"), self._spread.spread()
        for node in found["nodes"]:
            node |= seen.get(node["id"], {})
        tell("cluster", found)
