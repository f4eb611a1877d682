"""Counters in shared memory: what the measured process writes and the supervisor reads.

A file that both map, so that reading costs the measured process nothing. Layout: 64-bit
little-endian words; word 0 is the phase, word 1 the signs of life before the test, word 2 how
many of the following counters are in use. They count answered samples, one word for each worker
on a cache line of its own.
"""

from __future__ import annotations

import enum
import mmap
from pathlib import Path

__all__ = ["Phase", "Progress"]

_WORD = 8
_STRIDE = 8  # words from one counter to the next: a cache line
_MOST_COUNTERS = 4096 + 1


class Phase(enum.IntEnum):
    STARTING = 0
    LOADING = 1
    CALIBRATING = 2
    WARMING_UP = 3
    PROBING = 4
    TESTING = 5
    VERIFYING = 6
    FINISHING = 7


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

    def counter(self) -> tuple[memoryview, int]:
        """Where one worker, and no other thread, writes how many samples it has answered."""
        self._used += 1
        self._words[2] = self._used
        return self._words, self._used * _STRIDE

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
        return sum(self.answered_each())

    def answered_each(self) -> list[int]:
        """Samples answered so far by each worker, in the order of their numbers."""
        return self._words[_STRIDE : _STRIDE * (self._words[2] + 1) : _STRIDE].tolist()

    def close(self) -> None:
        self._words.release()
        self._map.close()
