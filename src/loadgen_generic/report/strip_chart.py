"""Few values on a line each, as a drawing inside a page: no library, no script, and the colours
of the page's theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Strip", "strip_chart"]

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 40, 44, 24, 8, 44
_DOT = 5
_TICKS = 8
_MARGIN = 0.06  # of the range, on both sides


@dataclass(frozen=True, slots=True)
class Strip:
    """One line.

    Attributes:
        points: value and what the pointer is told of it.
        middle: an upright mark; None for none.
        span: a bar from one value to another; None for none.
        style: class of the marks, which gives them their colour.
    """

    label: str
    points: Sequence[tuple[float, str]]
    middle: float | None = None
    span: tuple[float, float] | None = None
    style: str = ""


def strip_chart(
    strips: Sequence[Strip],
    axis: str,
    description: str,
    zero: bool = False,
    band: tuple[float, float] | None = None,
) -> str:
    """The chart as an ``svg`` element.

    Args:
        axis: title of the axis, with the unit.
        description: for those who do not see it.
        zero: draw a line at 0.
        band: values that are shaded.
    """
    low, high = _range(strips, (0.0,) if zero else (), band or ())
    height = _TOP + _ROW * len(strips) + _BOTTOM

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    base = _TOP + _ROW * len(strips)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(description)}">']
    if band is not None:
        parts.append(
            f'<rect class="band" x="{x(band[0]):.1f}" y="{_TOP}" '
            f'width="{x(band[1]) - x(band[0]):.1f}" height="{base - _TOP}"/>'
        )
    for tick, text in _ticks(low, high):
        parts.append(_upright("axis", x(tick), _TOP, base))
        parts.append(
            f'<text class="quiet" x="{x(tick):.1f}" y="{base + 17}" text-anchor="middle">{text}</text>'
        )
    if zero:
        parts.append(_upright("zero", x(0.0), _TOP, base))
    for number, strip in enumerate(strips):
        parts += _marks(strip, _TOP + _ROW * (number + 0.5), x)
    parts.append(
        f'<text class="quiet" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{base + 36}" '
        f'text-anchor="middle">{escape(axis)}</text></svg>'
    )
    return "\n".join(parts)


def _marks(strip: Strip, y: float, x: Callable[[float], float]) -> list[str]:
    parts = [f'<text x="8" y="{y + 5:.1f}">{escape(strip.label)}</text>']
    if strip.span is not None:
        ends = [x(end) for end in strip.span]
        parts.append(
            f'<line class="span {strip.style}" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    if strip.middle is not None:
        parts.append(_upright("middle", x(strip.middle), y - 12, y + 12))
    parts += [
        f'<circle class="dot {strip.style}" cx="{x(value):.1f}" cy="{y:.1f}" r="{_DOT}">'
        f"<title>{escape(text)}</title></circle>"
        for value, text in strip.points
    ]
    return parts


def _upright(style: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def _range(strips: Sequence[Strip], *more: Sequence[float]) -> tuple[float, float]:
    values = [value for strip in strips for value, _ in strip.points]
    values += [end for strip in strips for end in strip.span or ()]
    values += [value for each in more for value in each]
    low, high = min(values), max(values)
    margin = _MARGIN * (high - low) or _MARGIN * abs(high) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values and their labels, with the digits that tell them apart."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [(at * step, f"{at * step:,.{decimals}f}") for at in range(first, last + 1)]
