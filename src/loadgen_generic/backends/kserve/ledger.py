"""Who has how many requests: the endpoint of each one, and what failed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.backends.balance import Balance
from loadgen_generic.errors import RunError

__all__ = ["Ledger"]

# How long a first failure waits for what is under way, so that a server that is gone is said to
# have failed all that it had.
_GRACE_SEC = 1.0


@dataclass(slots=True)
class _Account:
    """Of one endpoint.

    Attributes:
        first: why the first request failed; empty if none has.
    """

    endpoint: str
    sent: int = 0
    failed: int = 0
    first: str = ""

    def __str__(self) -> str:
        told = f"{self.endpoint}: {self.failed} of {self.sent} requests failed"
        return f"{told}, the first with: {self.first}" if self.failed else told


class Ledger:
    """Gives each request to an endpoint, see :class:`Balance`. For any number of threads.

    A request that fails is the end: nothing is given out after it.
    """

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._accounts = [_Account(endpoint) for endpoint in endpoints]
        self._balance = Balance(len(endpoints))
        self._changed = threading.Condition()
        self._lost = False

    def take(self) -> int:
        """The position of the endpoint for one more request.

        Raises:
            RunError: one has failed before.
        """
        with self._changed:
            if self._lost:
                raise self._settled()
            at = self._balance.take()
            self._accounts[at].sent += 1
        return at

    def answered(self, at: int) -> None:
        """A request that this endpoint was given is answered."""
        with self._changed:
            self._balance.back(at)
            if self._lost:
                self._changed.notify_all()

    def failed(self, at: int, why: str) -> RunError:
        """The error to raise for a request that this endpoint was given and did not answer, once
        those that were under way have ended as well, or a moment has passed."""
        with self._changed:
            account = self._accounts[at]
            self._balance.back(at)
            account.failed += 1
            account.first = account.first or why.rstrip(".")
            self._lost = True
            self._changed.notify_all()
            return self._settled()

    def sent(self) -> list[int]:
        """How many requests each endpoint was given so far."""
        with self._changed:
            return [account.sent for account in self._accounts]

    def _settled(self) -> RunError:
        self._changed.wait_for(lambda: not self._balance.outstanding(), _GRACE_SEC)
        return self._error()

    def _error(self) -> RunError:
        told = "; ".join(map(str, self._accounts))
        return RunError(f"{told}. None is sent again, since that would change what is measured.")
