"""The replicas of a run: who takes the next batch, who is gone, and what each node did."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadgen_generic.backends.balance import Balance
from loadgen_generic.cluster.engine import RayError, ray
from loadgen_generic.cluster.node import Node
from loadgen_generic.errors import RunError

__all__ = ["NodeCounts", "Roster"]


@dataclass(slots=True)
class NodeCounts:
    """Of one node, since :meth:`Roster.begin`.

    Attributes:
        replicas: that it had then.
        lost: how many died, also before.
    """

    replicas: int = 0
    lost: int = 0
    batches: int = 0
    samples: int = 0


class Roster:
    """For any number of threads.

    Args:
        actors: one for each replica.
        places: the node of each.

    Attributes:
        moved: batches that a replica was given and did not answer, and that another answered,
            since :meth:`begin`.
    """

    def __init__(self, actors: Sequence[Any], places: Sequence[Node]) -> None:
        self._actors, self._places = actors, places
        self._balance = Balance(len(actors))
        self._lock = threading.Lock()
        self._gone: dict[int, str] = {}
        self._counts: dict[str, NodeCounts] = {}
        self.moved = 0
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        with self._lock:
            self.moved = 0
            lost = {identity: known.lost for identity, known in self._counts.items()}
            self._counts = {node.id: NodeCounts(lost=lost.get(node.id, 0)) for node in self._places}
            for at in self._alive():
                self._counts[self._places[at].id].replicas += 1

    def counts(self) -> dict[str, NodeCounts]:
        """What each node did, by its id."""
        with self._lock:
            return dict(self._counts)

    def take(self) -> tuple[int, Any]:
        """The replica for one more batch: its number and its actor.

        Raises:
            RunError: all are gone.
        """
        with self._lock:
            at = self._balance.take()
        if at < 0:
            raise self.all_gone()
        return at, self._actors[at]

    def answered(self, at: int, samples: int) -> None:
        """A batch that this replica was given is answered."""
        with self._lock:
            self._balance.back(at)
            counts = self._counts[self._places[at].id]
            counts.batches += 1
            counts.samples += samples

    def failed(self, at: int) -> None:
        """A batch that this replica was given failed, and the replica lives on."""
        with self._lock:
            self._balance.back(at)

    def lose(self, at: int, error: BaseException) -> None:
        """This replica did not answer a batch, since it is gone; the batch goes to another."""
        with self._lock:
            self.moved += 1
            if at in self._gone:
                return
            self._balance.drop(at)
            self._gone[at] = " ".join(str(error).split())
            self._counts[self._places[at].id].lost += 1
        # One that cannot be reached may still be there.
        with contextlib.suppress(RayError):  # it is gone either way
            ray.kill(self._actors[at])

    def alive(self) -> list[tuple[int, Any]]:
        """Number and actor of each replica that is there."""
        with self._lock:
            return [(at, self._actors[at]) for at in self._alive()]

    def _alive(self) -> list[int]:
        return [at for at in range(len(self._actors)) if at not in self._gone]

    def all_gone(self) -> RunError:
        """The error to raise where none is left."""
        with self._lock:
            at, why = next(reversed(self._gone.items()))
            return RunError(
                f"no replica is left of {len(self._actors)}; the last was on {self._places[at]}: {why}"
            )
