"""Which unit makes the values of a chart readable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadgen_generic.report.page.chart import Floats
from loadgen_generic.wording import format_measured

__all__ = ["Scale", "amount", "scale_for"]

_STEPS = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us")),
    "bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")),
}
_NAMES = {"1/s": "per second"}


@dataclass(frozen=True, slots=True)
class Scale:
    """Values divided by ``divisor`` are in ``unit``."""

    divisor: float
    unit: str

    def __call__(self, values: object) -> Floats:
        return np.asarray(values, dtype=np.float64) / self.divisor


def scale_for(unit: str, typical: float) -> Scale:
    """The largest unit in which a typical value is at least 1."""
    for divisor, name in _STEPS.get(unit, ()):
        if typical >= divisor:
            return Scale(divisor, name)
    return Scale(1.0, _NAMES.get(unit, unit))


def amount(value: float, unit: str, spread: float = 0.01) -> str:
    """A measured value for people, in the unit that makes it readable.

    Args:
        spread: how far it may be off, as a share of it.
    """
    if unit == "ns":
        return format_measured(value, unit, spread)
    scale = scale_for(unit, abs(value))
    return format_measured(value / scale.divisor, scale.unit, spread)
