"""One in so many queries, timed where they pass: the measured process writes, the supervisor reads.

LoadGen keeps single latencies nowhere but in its trace, which costs a microsecond a sample. Here
the queries between two timed ones cost a countdown at the issue and the test of an empty dict at
the completion. Where one worker answers one query after another, they cost a comparison at the
completion alone: a query begins when the one before it is answered, and that is as exact, since
LoadGen takes a microsecond between them. What is timed goes through a ring in a file that both processes map, so that
fetching it costs the measured process nothing.

Times are those of ``time.perf_counter_ns``, one clock for all processes of a system: on Linux
CLOCK_MONOTONIC, the clock that LoadGen uses.

Layout: native 64-bit integers; word 0 counts the rows written so far, word 1 is ``every``, word 2
the time of the first query (0 before it); from word 8 on the ring of rows, each of them
number of the query, issued at (ns), latency (ns), samples waiting, samples in the batch.
"""

from __future__ import annotations

import math
import mmap
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["PULSE_FILE", "Pulse", "PulseReader", "Row", "how_often"]

PULSE_FILE = ".pulse"
_WORD = 8
_HEADER = 8 * _WORD
_ROW = struct.Struct("=5q")
# At 200 rows/s, what is written while the supervisor does not get to run for forty seconds.
_CAPACITY = 8192
_ROWS_PER_SEC = 200
_MOST_ROWS = 50_000
_NEVER = sys.maxsize

Row = tuple[int, int, int, int, int]
Issue = Callable[[Sequence[int], Sequence[int]], None]


def how_often(rate: float | None, queries: float) -> int:
    """One query in how many to time.

    Args:
        rate: queries/s that are expected; None if nothing is known, and then as many are
            timed as if the test took a second.
        queries: that are expected in the test.
    """
    known = queries if rate is None else rate
    return max(1, math.ceil(known / _ROWS_PER_SEC), math.ceil(queries / _MOST_ROWS))


class Pulse:
    """The measured process's side; one for each test.

    Args:
        path: of the file, which is made.
        every: one query in so many is timed; 0 for none, and only the first query's time is
            noted.
        per_query: samples in a query.
        answered: gives how many samples of the test are answered.
        in_turn: one worker answers one query after another.

    Attributes:
        due: timed queries under way, by the ids of their samples. Whoever completes samples
            looks whether it is empty, which is all that it costs most queries.
    """

    def __init__(
        self,
        path: Path,
        every: int,
        per_query: int,
        answered: Callable[[], int],
        in_turn: bool = False,
    ) -> None:
        path.write_bytes(bytes(_HEADER + _CAPACITY * _ROW.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map)[:_HEADER].cast("q")
        self._words[1] = every
        self._every, self._per_query, self._answered = every, per_query, answered
        self._next = 0  # number, from 0, of the first sample of the next query to be timed
        self._written = 0
        self._lock = threading.Lock()
        # Issued at, number, samples waiting, samples left: shared by all ids of a query.
        self.due: dict[int, list[int]] = {}
        self._in_turn = in_turn
        self._since = 0  # when the timed query began, in turn; 0 if none is timed

    @property
    def first_look(self) -> int:
        """After how many answered samples to call :meth:`look` first."""
        return self._per_query if self._in_turn else _NEVER

    def look(self, answered: int, batch: int) -> int:
        """A query was answered, in turn; gives after how many samples to look again.

        Args:
            answered: samples, those of this query included.
            batch: of which so many were answered together at the end.
        """
        now = time.perf_counter_ns()
        query = answered // self._per_query - 1
        if self._since:
            took = now - self._since
            if not self._written:
                self._words[2] -= took  # until now it was when the first query was answered
            self._write(query, self._since, took, self._per_query, batch)
            self._since = 0
        elif not self._words[2]:
            self._words[2] = now
        if not self._every:
            return _NEVER
        if (query + 1) % self._every == 0:
            self._since = now
            return answered + self._per_query
        return (query // self._every + 1) * self._every * self._per_query

    def issue(self, inner: Issue, several_at_once: bool) -> Issue:
        """LoadGen's way to the runner.

        Args:
            several_at_once: whether LoadGen may hand over several queries, of one sample each.
        """
        if self._in_turn:
            return inner
        if not self._every:
            return self._only_the_first(inner)
        if several_at_once:
            return self._by_sample(inner)
        every, watch = self._every, self._watch
        left = 1

        def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
            nonlocal left
            left -= 1
            if not left:
                left = every
                watch(ids)
            inner(ids, indices)

        return issue

    def _by_sample(self, inner: Issue) -> Issue:
        watch_some = self._watch_some
        left = 0  # samples to pass over before the next that is timed

        def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
            nonlocal left
            left -= len(ids)
            if left < 0:
                left = watch_some(ids, left + len(ids))
            inner(ids, indices)

        return issue

    def _only_the_first(self, inner: Issue) -> Issue:
        words, new = self._words, True

        def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
            nonlocal new
            if new:
                new = False
                words[2] = time.perf_counter_ns()
            inner(ids, indices)

        return issue

    def _watch(self, ids: Sequence[int]) -> None:
        """Time this query, which is due to be."""
        first = self._next
        self._next += self._every * self._per_query
        self._note(ids, first // self._per_query, first + len(ids) - self._answered())

    def _watch_some(self, ids: Sequence[int], first: int) -> int:
        """Time the query at ``first`` and each that is due after it; gives how many samples to
        pass over after these before the next that is."""
        issued = self._next - first + len(ids)
        waiting = issued - self._answered()
        for at in range(first, len(ids), self._every):
            self._note(ids[at : at + 1], self._next, waiting)
            self._next += self._every
        return self._next - issued

    def _note(self, ids: Sequence[int], number: int, waiting: int) -> None:
        row = [0, number, waiting, len(ids)]
        for identity in ids:
            self.due[identity] = row
        # Last, as what is done here is no part of the latency.
        row[0] = now = time.perf_counter_ns()
        if not self._words[2]:
            self._words[2] = now

    def saw(self, ids: Sequence[int]) -> None:
        """These samples, a batch, are answered; before LoadGen knows, as it uses ids again."""
        now = time.perf_counter_ns()
        if self.due.keys().isdisjoint(ids):
            return
        with self._lock:  # several workers' at once
            for identity in ids:
                row = self.due.pop(identity, None)
                if row is None:
                    continue
                row[3] -= 1
                if not row[3]:
                    issued, number, waiting, _ = row
                    self._write(number, issued, now - issued, waiting, len(ids))

    def _write(self, *row: int) -> None:
        _ROW.pack_into(self._map, _HEADER + self._written % _CAPACITY * _ROW.size, *row)
        self._written += 1
        self._words[0] = self._written  # after the row: a reader trusts what is counted


class PulseReader:
    """The supervisor's side.

    Attributes:
        every: as in :class:`Pulse`.
        lost: rows that were overwritten before they were fetched.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map)[:_HEADER].cast("q")
        self._fetched = 0
        self.every = self._words[1]
        self.lost = 0

    def begin_ns(self) -> int:
        """When the first query was issued; 0 if none was yet."""
        return self._words[2]

    def fetch(self) -> list[Row]:
        """The rows since the last call, oldest first."""
        written = self._words[0]
        first = max(self._fetched, written - _CAPACITY)
        rows = self._rows(first, written)
        # Meanwhile the writer went on, and may be within the row after those that it counted.
        overwritten = self._words[0] + 1 - _CAPACITY
        whole = rows[max(0, overwritten - first) :]
        self.lost += written - self._fetched - len(whole)
        self._fetched = written
        return whole

    def _rows(self, first: int, end: int) -> list[Row]:
        if first == end:
            return []
        begin, stop = first % _CAPACITY, (end - 1) % _CAPACITY + 1
        parts = [(begin, stop)] if begin < stop else [(begin, _CAPACITY), (0, stop)]
        copied = b"".join(
            self._map[_HEADER + at * _ROW.size : _HEADER + to * _ROW.size] for at, to in parts
        )
        return [(a, b, c, d, e) for a, b, c, d, e in _ROW.iter_unpack(copied)]

    def close(self) -> None:
        self._words.release()
        self._map.close()
