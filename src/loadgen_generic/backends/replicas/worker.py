"""One worker: a batch at a time, to whichever replica has the least to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from loadgen_generic.backends.replicas.pools import Pools
from loadgen_generic.backends.replicas.roster import Roster
from loadgen_generic.cluster.engine import LOST, cause_of, ray
from loadgen_generic.errors import RunError
from loadgen_generic.placed import PlacedBatch
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array

__all__ = ["ReplicaWorker"]


class ReplicaWorker:
    """A batch that a replica took with it when it died goes to another one: nothing is lost, and
    none is answered twice as far as the caller can see."""

    def __init__(self, roster: Roster, pools: Pools) -> None:
        self._roster, self._pools = roster, pools
        self._answers: Sequence[Array] | None = None

    def infer(self, batch: Batch) -> None:
        method, given = self._call(batch)
        self._answers = self._ask(batch.count, method, given)

    def timed(self, batch: Batch) -> int:
        """Answer a batch of placed samples; what that took on the node, in ns."""
        _, given = self._call(batch)
        return int(self._ask(batch.count, "timed", given))

    def send(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        self._begin(batch.count, *self._call(batch), done)

    def everywhere(self, batch: Batch) -> None:
        """Answer a batch by each of the replicas."""
        method, given = self._call(batch)
        asked = [(at, getattr(actor, method).remote(*given)) for at, actor in self._roster.alive()]
        for at, reference in asked:
            try:
                ray.get(reference)
            except LOST as error:
                self._roster.lose(at, error)
            except Exception as error:
                raise cause_of(error) from error

    def outputs(self) -> Sequence[Array]:
        if self._answers is None:
            raise RunError("the answers stayed on their nodes, since nobody was to look at them")
        return self._answers

    def _call(self, batch: Batch) -> tuple[str, tuple[object, ...]]:
        """The replica's method that answers a batch, and what it is given."""
        if isinstance(batch, PlacedBatch):
            return "answer", (self._pools.key_of(batch.pool), batch.count, batch.slots)
        return "compute", (batch.count, batch.arrays)

    def _ask(self, count: int, method: str, given: tuple[object, ...]) -> Any:
        while True:
            at, actor = self._roster.take()
            try:
                found = ray.get(getattr(actor, method).remote(*given))
            except LOST as error:
                self._roster.lose(at, error)
                continue
            except Exception as error:
                self._roster.failed(at)
                raise cause_of(error) from error
            self._roster.answered(at, count)
            return found

    def _begin(
        self,
        count: int,
        method: str,
        given: tuple[object, ...],
        done: Callable[[BaseException | None], None],
    ) -> None:
        at, actor = self._roster.take()
        future = getattr(actor, method).remote(*given).future()
        again = partial(self._begin_again, count, method, given, done)
        future.add_done_callback(partial(self._ended, at, count, again, done))

    def _ended(
        self,
        at: int,
        count: int,
        again: Callable[[int, BaseException], None],
        done: Callable[[BaseException | None], None],
        future: Future[Any],
    ) -> None:
        """On the one thread of Ray's that brings all answers."""
        error = future.exception()
        if error is None:
            self._answers = future.result()
            self._roster.answered(at, count)
            done(None)
        elif isinstance(error, LOST):
            # What is asked of Ray from its own thread could wait for that thread.
            threading.Thread(
                target=again, args=(at, error), name="moved-batch", daemon=True
            ).start()
        else:
            self._roster.failed(at)
            done(cause_of(error))

    def _begin_again(
        self,
        count: int,
        method: str,
        given: tuple[object, ...],
        done: Callable[[BaseException | None], None],
        at: int,
        lost: BaseException,
    ) -> None:
        try:
            self._roster.lose(at, lost)
            self._begin(count, method, given, done)
        except BaseException as error:  # noqa: BLE001 - nobody above would see it
            done(error)
