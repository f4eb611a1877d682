"""A logarithmic axis of errors, which may be exactly 0 or not to be computed at all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from loadgen_generic.report.page.chart import Spec, axis, log_ticks

__all__ = ["ErrorAxis", "error_axis"]

_ROOM = 2.0
# From the last ordinary error to a place beside the scale, as a share of its width.
_ASIDE = 0.12
_JUST = 0.001


@dataclass(frozen=True, slots=True)
class ErrorAxis:
    """The places of errors. Attributes:
    low, high: its ends.
    zero, none: places of errors that a logarithm has none for; None where there are no such.
    """

    low: float
    high: float
    ticks: list[float]
    zero: float | None = None
    none: float | None = None

    def __call__(self, error: float | None) -> float:
        place = self.none if error is None else error or self.zero
        assert place is not None
        return place

    @property
    def encoding(self) -> Spec:
        """Of a channel, without its field."""
        number = "datum.value >= 0.001 && datum.value < 10000 ? '~g' : '~e'"
        label = f"format(datum.value, {number})"
        if self.zero is not None:
            label = f"datum.value <= {self.zero * (1 + _JUST)!r} ? '0' : {label}"
        if self.none is not None:
            label = f"datum.value >= {self.none * (1 - _JUST)!r} ? 'none' : {label}"
        title = "worst error (absolute, logarithmic)"
        return {
            "type": "quantitative",
            "axis": axis(title, "", labelExpr=label, values=self.ticks, labelSeparation=6),
            "scale": {"type": "log", "domain": [self.low, self.high], "nice": False},
        }

    def is_right(self, place: float) -> bool:
        """Whether it is in the right half."""
        return place**2 > self.low * self.high


def error_axis(errors: Iterable[float | None]) -> ErrorAxis:
    """An axis with a place for each of these."""
    everything = list(errors)
    positive = [error for error in everything if error]
    low, high = min(positive, default=1.0) / _ROOM, max(positive, default=1.0) * _ROOM
    ticks = log_ticks(low, high) if positive else []
    aside = (high / low) ** _ASIDE
    zero = none = None
    if 0.0 in everything:
        zero = float(f"{low / aside:.3g}")
        ticks, low = [zero, *ticks], zero / math.sqrt(aside)
    if None in everything:
        none = float(f"{high * aside:.3g}")
        ticks, high = [*ticks, none], none * math.sqrt(aside)
    return ErrorAxis(low, high, ticks, zero, none)
