"""Changes in words, with the digits that their intervals support."""

from __future__ import annotations

__all__ = ["change_in_words", "interval_in_words"]

Interval = tuple[float, float]

_WIDE_PERCENT = 10.0


def change_in_words(percent: float, interval: Interval | None) -> str:
    """``2.9 % slower``; a percentage above 0 is faster."""
    size = f"{abs(percent):,.{_decimals(interval)}f}"
    if not float(size.replace(",", "")):
        return "no change"
    return f"{size} % {'faster' if percent > 0 else 'slower'}"


def interval_in_words(interval: Interval) -> str:
    """``2.1 % slower to 3.8 % slower``, the end nearer to no change first."""
    return " to ".join(change_in_words(end, interval) for end in sorted(interval, key=abs))


def _decimals(interval: Interval | None) -> int:
    """Single runs differ by a percent or more, so there a tenth says nothing."""
    return int(interval is not None and interval[1] - interval[0] < _WIDE_PERCENT)
