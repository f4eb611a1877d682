"""What LoadGen calls during a test, kept from breaking it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

__all__ = ["Callbacks"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(slots=True)
class Callbacks:
    """Those of one test.

    Attributes:
        over: set when the test has ended, or is lost.
        error: the first one of any callback; None without.
    """

    over: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self.over.set()

    def guard(self, call: Callable[_P, _T], otherwise: _T) -> Callable[_P, _T]:
        """The same, which gives ``otherwise`` where it fails: LoadGen aborts the process if an
        exception escapes."""

        def guarded(*given: _P.args, **named: _P.kwargs) -> _T:
            try:
                return call(*given, **named)
            except BaseException as error:  # noqa: BLE001
                self.fail(error)
                return otherwise

        return guarded
