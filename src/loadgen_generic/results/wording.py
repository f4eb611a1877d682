"""Numbers in words."""

from __future__ import annotations

__all__ = ["digits", "format_value"]

_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))


def format_value(value: float, unit: str) -> str:
    """A value for people: four digits, and the unit that makes it readable."""
    if unit == "ns":
        for factor, name in _UNITS:
            if value >= factor:
                return f"{value / factor:.4g} {name}"
        return f"{value:.0f} ns"
    if value >= 1000:
        return f"{value:,.0f} {unit}"
    return f"{value:.4g} {unit}"


def digits(value: float, significant: int) -> str:
    """Rounded, and without an exponent up to any rate that a machine reaches."""
    return f"{float(f'{value:.{significant}g}'):.12g}"
