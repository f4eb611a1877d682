"""One worker: a batch at a time, to whichever replica has the least to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class _Call:
    """What answers a batch of ``count`` samples: a method of a replica, and what it is given."""

    count: int
    method: str
    given: tuple[object, ...]

    def on(self, actor: Any) -> Any:
        """The reference to what this replica will answer."""
        return getattr(actor, self.method).remote(*self.given)


_Done = Callable[[BaseException | None], None]


class ReplicaWorker:
    """A batch that a replica took with it when it died goes to another one: nothing is lost, and
    none is answered twice as far as the caller can see."""

    def __init__(self, roster: Roster, pools: Pools) -> None:
        self._roster, self._pools = roster, pools
        self._answers: Sequence[Array] | None = None

    def infer(self, batch: Batch) -> None:
        self._answers = self._ask(self._call(batch))

    def timed(self, batch: Batch) -> int:
        """Answer a batch of placed samples; what that took on the node, in ns."""
        return int(self._ask(replace(self._call(batch), method="timed")))

    def send(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        self._begin(self._call(batch), done)

    def everywhere(self, batch: Batch) -> None:
        """Answer a batch by each of the replicas."""
        call = self._call(batch)
        for at, reference in [(at, call.on(actor)) for at, actor in self._roster.alive()]:
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

    def _call(self, batch: Batch) -> _Call:
        if isinstance(batch, PlacedBatch):
            key = self._pools.key_of(batch.pool)
            return _Call(batch.count, "answer", (key, batch.count, batch.slots))
        return _Call(batch.count, "compute", (batch.count, batch.arrays))

    def _ask(self, call: _Call) -> Any:
        while True:
            at, actor = self._roster.take()
            try:
                found = ray.get(call.on(actor))
            except LOST as error:
                self._roster.lose(at, error)
                continue
            except Exception as error:
                self._roster.failed(at)
                raise cause_of(error) from error
            self._roster.answered(at, call.count)
            return found

    def _begin(self, call: _Call, done: _Done) -> None:
        at, actor = self._roster.take()
        call.on(actor).future().add_done_callback(partial(self._ended, at, call, done))

    def _ended(self, at: int, call: _Call, done: _Done, future: Future[Any]) -> None:
        """On the one thread of Ray's that brings all answers."""
        error = future.exception()
        if error is None:
            self._answers = future.result()
            self._roster.answered(at, call.count)
            done(None)
        elif isinstance(error, LOST):
            # What is asked of Ray from its own thread could wait for that thread.
            threading.Thread(
                target=self._begin_again, args=(at, error, call, done), name="moved", daemon=True
            ).start()
        else:
            self._roster.failed(at)
            done(cause_of(error))

    def _begin_again(self, at: int, lost: BaseException, call: _Call, done: _Done) -> None:
        try:
            self._roster.lose(at, lost)
            self._begin(call, done)
        except BaseException as error:  # noqa: BLE001 - nobody above would see it
            done(error)
