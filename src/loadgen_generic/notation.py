"""Sizes, shapes, ranges and values as people write them.

Without numpy, so that a wrong request is refused before that is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["SizeRange", "parse_fill", "parse_range", "parse_shape", "parse_size"]

_OPEN = "?"
_FILLS = {"zeros": 0.0, "ones": 1.0, "nan": math.nan}


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Sizes that a dimension takes in turn: ``low``, ``low + step`` and so on up to ``high``,
    which is one of them."""

    low: int
    high: int
    step: int = 1


def parse_size(text: str) -> int | SizeRange:
    """``128`` as a size, ``32:512`` and ``32:512:32`` as a range of sizes with both its ends.

    Raises:
        ValueError: anything else.
    """
    parts = [int(part) if part.isascii() and part.isdigit() else 0 for part in text.split(":")]
    if len(parts) > 3 or min(parts) < 1 or (len(parts) > 1 and parts[0] > parts[1]):
        raise ValueError(
            "expected a size of at least 1, or LOW:HIGH or LOW:HIGH:STEP such as 32:512, got "
            f"{text!r}"
        )
    if len(parts) == 1:
        return parts[0]
    low, high, step = (*parts, 1)[:3]
    return low if low == high else SizeRange(low, high - (high - low) % step, step)


def parse_shape(text: str) -> tuple[int | None, ...]:
    """``1x128`` as (1, 128), ``?x128`` as (None, 128), and nothing as the shape of a scalar.

    Raises:
        ValueError: a part is neither a whole number from 0 on nor ``?``.
    """
    dims: list[int | None] = []
    for part in text.split("x") if text else ():
        if part != _OPEN and not (part.isascii() and part.isdigit()):
            raise ValueError(f"expected sizes such as 1x128 (? leaves one open), got {text!r}")
        dims.append(None if part == _OPEN else int(part))
    return tuple(dims)


def parse_range(text: str) -> tuple[float, float]:
    """``0:30522`` as (0, 30522); the upper end is not drawn.

    Raises:
        ValueError: not two numbers, or the second is not the larger one.
    """
    low, separator, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        separator = ""
    if not separator or not bounds[0] < bounds[1] or math.isinf(bounds[1] - bounds[0]):
        raise ValueError(f"expected LOW:HIGH with LOW below HIGH, got {text!r}")
    return bounds


def parse_fill(text: str) -> float:
    """``ones``, ``zeros``, ``nan`` or a number.

    Raises:
        ValueError: anything else.
    """
    try:
        return _FILLS[text] if text in _FILLS else float(text)
    except ValueError:
        raise ValueError(f"expected ones, zeros, nan or a number, got {text!r}") from None
