"""Loaded samples that every node has: sent when LoadGen's QSL loads them, before the clock starts."""

from __future__ import annotations

import threading
from typing import Any

from loadgen_generic.backends.replicas.roster import Roster
from loadgen_generic.cluster.engine import LOST, RayError, cause_of, ray
from loadgen_generic.errors import RunError
from loadgen_generic.placed import Pooled

__all__ = ["Pools"]


class _Sent:
    """One pool. Ray's store on this machine has the samples, and each node fetches them once."""

    def __init__(self, roster: Roster, key: int, pool: Pooled) -> None:
        self._roster, self.key, self._pool = roster, key, pool
        self._reference: Any = None
        self.refresh(max(map(len, pool.arrays), default=0))
        pool.watch(self.refresh)

    def refresh(self, rows: int) -> None:
        """Send the first rows of the pool, which were loaded just now."""
        arrays = [each[:rows] for each in self._pool.arrays]
        size = sum(each.nbytes for each in arrays)
        try:
            reference = ray.put(arrays)
            asked = [
                (at, actor.hold.remote(self.key, self._pool.batched, reference))
                for at, actor in self._roster.alive()
            ]
            for at, done in asked:
                try:
                    ray.get(done)
                except LOST as error:
                    self._roster.lose(at, error)
        except RayError as error:
            raise RunError(
                f"{size / 2**20:,.0f} MiB of samples do not reach the nodes: {cause_of(error)}. Fewer "
                "samples at once (--distinct_samples, --samples_in_memory) or a larger "
                "--object-store-memory of `ray start` may help."
            ) from error
        self._reference = reference  # the samples before these are let go of


class Pools:
    """The pools that the replicas hold."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._lock = threading.Lock()
        self._known: dict[Pooled, _Sent] = {}

    def key_of(self, pool: Pooled) -> int:
        """What the replicas know a pool by; it is sent at first sight, as workers warm up."""
        found = self._known.get(pool)
        if found is None:
            with self._lock:
                found = self._known.get(pool) or _Sent(self._roster, len(self._known), pool)
                self._known[pool] = found
        return found.key
