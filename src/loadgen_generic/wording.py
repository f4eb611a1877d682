"""Numbers in words."""

from __future__ import annotations

import math

__all__ = ["digits", "format_beside", "format_measured", "format_value"]

# Runs of the same test on an idle machine differ by 1 to 3 %.
_USUAL_SPREAD = 0.01
_MOST_DIGITS = 6

_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))


def format_measured(value: float, unit: str, spread: float = _USUAL_SPREAD) -> str:
    """A measured value for people, with the digits that its spread supports.

    Args:
        unit: ``ns`` becomes the unit that makes it readable.
        spread: how far it may be off, as a share of it; by default that of a single run.
    """
    if unit == "ns":
        for factor, name in _UNITS:
            if value >= factor:
                return f"{_rounded(value / factor, spread)} {name}"
    return f"{_rounded(value, spread)} {unit}".rstrip()


def format_beside(value: float, limit: float, unit: str) -> str:
    """A measured value that stands beside its limit, with digits enough to tell them apart."""
    apart = abs(value / limit - 1) if limit else _USUAL_SPREAD
    return format_measured(value, unit, min(apart, _USUAL_SPREAD))


def _rounded(value: float, spread: float) -> str:
    """The last digit is the first that is uncertain: one for a spread of 30 %, three for 1 %."""
    kept = 1 - math.floor(math.log10(spread)) if spread > 0 else _MOST_DIGITS
    kept = max(1, min(kept, _MOST_DIGITS))
    if not value or not math.isfinite(value):
        return f"{value:g}"
    decimals = kept - 1 - math.floor(math.log10(abs(float(f"{value:.{kept - 1}e}"))))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def format_value(value: float, unit: str) -> str:
    """A value that was set, for people: four digits, and the unit that makes it readable."""
    if unit == "ns":
        for factor, name in _UNITS:
            if value >= factor:
                return f"{value / factor:.4g} {name}"
        return f"{value:.0f} ns"
    if value >= 1000:
        return f"{value:,.0f} {unit}"
    return f"{value:.4g} {unit}"


def digits(value: float, significant: int = _MOST_DIGITS) -> str:
    """A bare number: rounded, and without an exponent up to any rate that a machine reaches."""
    return f"{float(f'{value:.{significant}g}'):.12g}"
