"""Counters in shared memory: what the measured process writes and the supervisor reads.

A file that both map, so that reading costs the measured process nothing. Layout: 64-bit
little-endian words; word 0 is the phase, word 1 the signs of life before the test, the others
count answered samples, one word for each worker on a cache line of its own.
"""

from __future__ import annotations

import enum
import mmap
from pathlib import Path

__all__ = ["Counter", "Phase", "Progress"]

_WORD = 8
_STRIDE = 8  # words from one counter to the next: a cache line
_MOST_COUNTERS = 4096 + 1


class Phase(enum.IntEnum):
    STARTING = 0
    LOADING = 1
    WARMING_UP = 2
    PROBING = 3
    TESTING = 4
    FINISHING = 5


class Counter:
    """One worker's count; written by one thread."""

    __slots__ = ("_count", "_position", "_words")

    def __init__(self, words: memoryview, position: int) -> None:
        self._words = words
        self._position = position
        self._count = 0

    def add(self, samples: int) -> None:
        self._count += samples
        self._words[self._position] = self._count


class Progress:
    """Either side's view of the file.

    Args:
        path: the file; made by :meth:`create`, opened by both.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map).cast("q")
        self._used = 0
        self._beats = 0

    @staticmethod
    def create(path: Path) -> None:
        path.write_bytes(bytes(_WORD * _STRIDE * (_MOST_COUNTERS + 1)))

    def counter(self) -> Counter:
        self._used += 1
        return Counter(self._words, self._used * _STRIDE)

    def enter(self, phase: Phase) -> None:
        self._words[0] = phase

    def beat(self) -> None:
        """A sign of life: an inference before the test is done."""
        self._beats += 1
        self._words[1] = self._beats

    def beats(self) -> int:
        return self._words[1]

    def phase(self) -> Phase:
        return Phase(self._words[0])

    def answered(self) -> int:
        """Samples answered so far, over all workers."""
        return sum(self._words[_STRIDE::_STRIDE])

    def close(self) -> None:
        self._words.release()
        self._map.close()
