"""Samples that lie where the GPU reads them before the clock starts.

A residence is a copy of a pool of samples in the GPU's own memory or in page-locked memory of the
host. It is made anew whenever samples are loaded, which LoadGen does not time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from loadgen_generic.backends.card.memory import QUIET, Card, Memory, Stream
from loadgen_generic.placed import Pooled

__all__ = ["Residence", "Residences", "stretches"]


class Residence:
    """The copy of one pool.

    Args:
        on_card: in the GPU's memory, else page-locked.
    """

    def __init__(self, card: Card, stream: Stream, pool: Pooled, on_card: bool) -> None:
        self._card, self._stream, self._on_card = card, stream, on_card
        self._arrays = pool.arrays
        self._sizes = [each[:1].nbytes for each in self._arrays]
        allocate = card.on_card if on_card else card.page_locked
        self._memory: list[Memory] = [allocate(each.nbytes, "the samples") for each in self._arrays]
        self.refresh(max(map(len, self._arrays), default=0))
        pool.watch(self.refresh)

    def refresh(self, rows: int) -> None:
        """Copy the first rows of the pool, which were loaded just now."""
        with QUIET:
            self._card.use()
            for array, memory, size in zip(self._arrays, self._memory, self._sizes, strict=True):
                if self._on_card:
                    self._stream.to_card(memory.address, array.ctypes.data, rows * size)
                else:
                    source = array[:rows].reshape(-1).view(np.uint8)
                    np.copyto(memory.bytes()[: len(source)], source)
            self._stream.wait()

    def bring(self, slots: Sequence[int], targets: Sequence[int], stream: Stream) -> None:
        """Begin to gather samples in the GPU's memory.

        Args:
            targets: an address for each input.
        """
        copy = stream.on_card if self._on_card else stream.to_card
        whole = type(slots) is range  # side by side
        pieces = [(slots[0], len(slots))] if whole else list(stretches(slots))
        for memory, size, target in zip(self._memory, self._sizes, targets, strict=True):
            row = 0
            for first, count in pieces:
                copy(target + row * size, memory.address + first * size, count * size)
                row += count


class Residences:
    """The copies of all pools that one GPU's workers read."""

    def __init__(self, card: Card, on_card: bool) -> None:
        self._card, self._on_card = card, on_card
        self._stream = Stream(card)
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Pooled, Residence] = WeakKeyDictionary()

    def of(self, pool: Pooled) -> Residence:
        """The copy of a pool, made at first sight: before the test, as workers warm up."""
        with self._lock:
            found = self._known.get(pool)
            if found is None:
                found = Residence(self._card, self._stream, pool, self._on_card)
                self._known[pool] = found
            return found


def stretches(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first slot and the number of slots, for each stretch of slots side by side."""
    first, count = 0, 0
    for slot in slots:
        if count and slot == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = slot, 1
    if count:
        yield first, count
