"""Which of several takes the next request."""

from __future__ import annotations

import heapq

__all__ = ["Balance"]


class Balance:
    """Gives each request to whoever has the fewest outstanding; of several such, to the one that was
    given the fewest so far.

    For one thread at a time. A turn takes a few comparisons, also among a thousand.
    """

    def __init__(self, count: int) -> None:
        self._now: list[tuple[int, int] | None] = [(0, 0)] * count  # outstanding, given; None: gone
        # With entries that are outdated, which are passed over when they come up.
        self._heap = [(0, 0, at) for at in range(count)]

    def take(self) -> int:
        """The position of the next one, or -1 if all are gone."""
        while self._heap:
            outstanding, given, at = heapq.heappop(self._heap)
            if self._now[at] == (outstanding, given):
                self._set(at, outstanding + 1, given + 1)
                return at
        return -1

    def back(self, at: int) -> None:
        """A request that this one was given is outstanding no longer."""
        known = self._now[at]
        if known is not None:
            self._set(at, known[0] - 1, known[1])

    def drop(self, at: int) -> None:
        """This one takes no more."""
        self._now[at] = None

    def outstanding(self) -> int:
        """Of all that are there."""
        return sum(known[0] for known in self._now if known is not None)

    def _set(self, at: int, outstanding: int, given: int) -> None:
        self._now[at] = outstanding, given
        heapq.heappush(self._heap, (outstanding, given, at))
