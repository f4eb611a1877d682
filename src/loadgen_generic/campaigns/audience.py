"""Who watches a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loadgen_generic.child import Observer, SilentObserver
from loadgen_generic.telemetry.live import Glance

__all__ = ["Audience", "OnlyProgress", "SilentAudience"]


class Audience(Observer, Protocol):
    """Who shows the user what is going on, in one run and across them."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The finished runs so far, in words; called again with each."""
        ...


class SilentAudience(SilentObserver):
    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        pass


class OnlyProgress:
    """One run's observer that passes on its progress, and its notes if they are news.

    The runs of a campaign say the same of their layout, and their lengths stand in the table.
    """

    def __init__(self, audience: Audience, notes: bool) -> None:
        self._audience = audience
        self._notes = notes

    def note(self, text: str) -> None:
        if self._notes:
            self._audience.note(text)

    def update(self, glance: Glance) -> None:
        self._audience.update(glance)
