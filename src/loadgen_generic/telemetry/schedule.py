"""When LoadGen's queries are due in Server, where latency counts from then.

LoadGen draws the time from one query to the next from ``std::exponential_distribution`` over a
``std::mt19937`` with the schedule's seed: 53 random bits out of two numbers, the lower one first.
NumPy's ``RandomState`` is the same generator with the same seeding, so the times can be had again,
to the nanosecond; the first query is due at once.
"""

from __future__ import annotations

from array import array

import numpy as np

__all__ = ["Schedule"]

_BLOCK = 4096  # queries whose times are drawn at once


class Schedule:
    """When every so-many-th query is due.

    Args:
        seed: ``schedule_rng_seed``.
        rate: ``target_qps``.
        every: which ones are asked for.
    """

    def __init__(self, seed: int, rate: float, every: int) -> None:
        self._random = np.random.RandomState(seed % 2**32)  # as std::mt19937 takes it
        self._rate, self._every = rate, every
        self._last_ns = 0
        self._due = array("q", [0])

    def due_ns(self, number: int) -> int:
        """ns after the first query.

        Args:
            number: of the query, from 0; a multiple of ``every``.
        """
        position = number // self._every
        while position >= len(self._due):
            self._draw()
        return self._due[position]

    def _draw(self) -> None:
        steps = max(1, _BLOCK // self._every)
        words = self._random.randint(0, 1 << 32, 2 * steps * self._every, dtype=np.uint32)
        shares = (words[::2] + words[1::2] * 2.0**32) / 2.0**64
        # Whole nanoseconds each, as LoadGen adds them up.
        gaps = (-np.log1p(-shares) / self._rate * 1e9).astype(np.int64)
        due = self._last_ns + np.cumsum(gaps)
        self._last_ns = int(due[-1])
        self._due.extend(due[self._every - 1 :: self._every].tolist())
