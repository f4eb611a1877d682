"""The layouts that a search may choose from: what the request, the machine and the model leave
open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from loadgen_generic.config import ONE_AT_A_TIME
from loadgen_generic.runners.auto import LARGEST_BATCH_BYTES, LONGEST_BATCH_SEC
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import (
    RIVALS_PER_CARD,
    RIVALS_REMOTE,
    Wish,
    layout_by_rule,
    rivals,
)

__all__ = ["Facts", "Space", "facts_shown", "layout_distance"]

_POOLS = ("threadpool", "threadpool+replication", "processpool")
_LARGEST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first test, whose layout was chosen automatically, showed.

    Attributes:
        threaded: the backend has threads inside one operator.
        batch_size: that can alone be asked for; 0 if the model leaves it open.
        bytes_per_sample: of the inputs.
        cards: how many the run is spread over; 0 on a processor.
    """

    threaded: bool
    batch_size: int
    bytes_per_sample: int
    cards: int = 0


def facts_shown(effective: Mapping[str, Any]) -> Facts:
    """By the options that were in force in the first test."""
    dimension = str(effective["batch_dim"])
    return Facts(
        threaded="intra_op_threads" in effective,
        batch_size=1 if dimension == "none" else int(dimension) if dimension.isdecimal() else 0,
        bytes_per_sample=effective["sample_pool_bytes"] // effective["samples_in_memory"],
        cards=len(effective["devices"]),
    )


class Space:
    """All layouts that may be tried; workers times threads is at most the cores, unless the user
    said otherwise of one of them.

    Args:
        measured: the layouts tried so far and their samples/s, None where one failed. How large
            a batch may be follows from them: its inference takes no longer than a calibration
            would allow.
    """

    def __init__(self, wish: Wish, facts: Facts, measured: Mapping[Layout, float | None]) -> None:
        self._wish = wish
        self._facts = facts
        self._at_once = max(
            max(layout.batch_size * layout.workers, int(rate * LONGEST_BATCH_SEC))
            for layout, rate in measured.items()
            if rate
        )
        self.runners = _runners(wish)

    def workers(self, runner: str) -> tuple[int, int]:
        """Fewest and most."""
        if runner == "inline":
            return 1, 1
        if self._wish.workers:
            return self._wish.workers, self._wish.workers
        if self._wish.cards:
            return self._wish.cards, self._wish.cards * max(RIVALS_PER_CARD)
        if self._wish.remote:
            return 1, max(RIVALS_REMOTE)
        return 1, max(1, self._wish.cores // (self._wish.intra_op_threads or 1))

    def threads(self, workers: int) -> tuple[int, int]:
        """Fewest and most, for each of so many workers."""
        if not self._facts.threaded:
            return 1, 1
        if self._wish.intra_op_threads:
            return self._wish.intra_op_threads, self._wish.intra_op_threads
        if self._wish.cards:
            return 1, 1
        return 1, max(1, self._wish.cores // workers)

    @property
    def batch_size(self) -> int:
        """Where it is settled; 0 where it is open."""
        if self._wish.scenario in ONE_AT_A_TIME:
            return self._wish.batch_size or 1
        return self._wish.batch_size or self._facts.batch_size

    def doublings(self, workers: int) -> int:
        """The largest batch of each of so many workers, as a power of two."""
        by_bytes = LARGEST_BATCH_BYTES // max(1, self._facts.bytes_per_sample)
        by_time = self._at_once // workers
        return int(log2(max(1, min(_LARGEST_BATCH, by_bytes, by_time))))

    def __iter__(self) -> Iterator[Layout]:
        for runner in self.runners:
            fewest, most = self.workers(runner)
            for workers in range(fewest, most + 1, max(1, self._wish.cards)):
                least, highest = self.threads(workers)
                for threads in range(least, highest + 1):
                    for batch_size in self._batch_sizes(workers):
                        yield Layout(runner, workers, threads, batch_size)

    def _batch_sizes(self, workers: int) -> list[int]:
        if self.batch_size:
            return [self.batch_size]
        return [2**n for n in range(self.doublings(workers) + 1)]

    def by_rule(self, batch_size: int) -> Iterator[Layout]:
        """The layouts that a calibration would compare, at one batch size.

        Raises:
            RequestError: the options contradict each other.
        """
        rule = layout_by_rule(self._wish)
        for layout in (rule, *rivals(rule, self._wish)):
            fewest, most = self.threads(layout.workers)
            threads = min(max(layout.intra_op_threads, fewest), most)
            yield Layout(layout.runner, layout.workers, threads, batch_size)


def _runners(wish: Wish) -> tuple[str, ...]:
    if wish.runner != "auto":
        return (wish.runner,)
    inline = ("inline",) if wish.workers in (None, 1) and wish.cards < 2 else ()
    if wish.scenario in ONE_AT_A_TIME and not wish.workers:
        # To hand a lone query over to another thread only adds to its latency.
        return ("inline",)
    # Streams of one session know of each other; sessions side by side take the same processors.
    if wish.remote:
        return (*inline, "inflight")
    pools = _POOLS[:1] if wish.streams else _POOLS
    return inline + tuple(p for p in pools if not (wish.in_process and p == "processpool"))


def layout_distance(one: Layout, other: Layout) -> tuple[float, float]:
    """How different two layouts are: another runner counts one, and so does any change of a
    number up to its double. Of those equally far the one that changes more comes first, since a
    small change brings little."""
    ratios = (
        abs(log2(one.workers / other.workers)),
        abs(log2(one.intra_op_threads / other.intra_op_threads)),
        abs(log2(one.batch_size / other.batch_size)),
    )
    return (one.runner != other.runner) + sum(map(ceil, ratios)), -sum(ratios)
