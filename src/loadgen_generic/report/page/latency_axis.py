"""The axis of latency, and what is marked on it: the percentile and the bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.report.page.chart import (
    PLAIN,
    Floats,
    Spec,
    axis,
    colour,
    log_ticks,
)
from loadgen_generic.report.page.scale import Scale, scale_for
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.wording import format_measured, format_value

__all__ = ["Across", "Mark", "across", "drawn", "marks_of", "told", "typical_of"]

# Bins of latency widen to the right; over more than this their bars need a logarithmic axis.
_WIDE = 3.0
_ROOM = 1.08
_LABEL_LINE = 16
_HALF, _EDGE = 0.5, 0.28
_ONCE: Spec = {"values": [{}]}


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line at a latency. Attributes:
    value: in the unit of the axis.
    """

    value: float
    label: str
    css: str
    dash: list[int]


@dataclass(frozen=True, slots=True)
class Across:
    """The axis of latency, which both charts of the distribution share."""

    scale: Scale
    least: float
    most: float
    log: bool

    @property
    def encoding(self) -> Spec:
        kind = {"type": "log"} if self.log else {"zero": False}
        ticks = {"values": log_ticks(self.least, self.most)} if self.log else {"tickCount": 6}
        title = f"latency ({self.scale.unit}{', logarithmic' if self.log else ''})"
        return {
            "type": "quantitative",
            "axis": axis(title, PLAIN, **ticks),
            "scale": {**kind, "domain": [self.least, self.most], "nice": False},
        }

    def share(self, value: float) -> float:
        """How far along the axis it lies, from 0 to 1."""
        low, high = self.least, self.most
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def drawn(marks: Sequence[Mark], along: Across, *, top: int, down: bool) -> list[Spec]:
    """Upright lines and what they are.

    Args:
        top: of the first label, in points below the upper edge.
        down: whether the next label stands below it, or above.
    """
    step = _LABEL_LINE if down else -_LABEL_LINE
    layers: list[Spec] = []
    for mark in marks:
        rule = {"type": "rule", "color": mark.css, "strokeWidth": 2, "strokeDash": mark.dash}
        x = {"datum": mark.value, **along.encoding}
        layers.append({"data": _ONCE, "mark": rule, "encoding": {"x": x}})
    for number, mark in enumerate(marks):
        place, side = _beside(mark, marks, along)
        text: Spec = {"type": "text", "baseline": "middle", "fontWeight": "bold", **side}
        encoding = {
            "x": {"datum": place, **along.encoding},
            "y": {"value": top + number * step},
            "text": {"value": mark.label},
        }
        halo = {"stroke": "var(--surface)", "strokeWidth": 4, "strokeJoin": "round"}
        layers += [
            {"data": _ONCE, "mark": {**text, **look}, "encoding": encoding}
            for look in (halo, {"color": mark.css})
        ]
    return layers


def _beside(mark: Mark, marks: Sequence[Mark], along: Across) -> tuple[float, Spec]:
    """Where a label begins or ends: two look away from each other, unless one would leave the
    chart; then both stand on the side with more room, and on no line."""
    share = along.share(mark.value)
    values = [each.value for each in marks]
    right = share < _HALF if len(marks) == 1 else mark.value == max(values)
    right = (right or share < _EDGE) and share < 1 - _EDGE
    near = [value for value in values if abs(along.share(value) - share) < _EDGE]
    others = [value for value in near if (value > mark.value) == right] or [mark.value]
    if right:
        return max(others), {"align": "left", "dx": 5}
    return min(others), {"align": "right", "dx": -5}


def marks_of(figures: Figures, scale: Scale) -> list[Mark]:
    marks = []
    if figures.percentile is not None:
        name = f"p{figures.percentile:g}"
        if value := figures.latency_ns.get(name):
            label = f"{name} {format_measured(value, 'ns')}"
            marks.append(Mark(value / scale.divisor, label, colour(1), [1, 0]))
    if figures.bound_ns:
        label = f"bound {format_value(figures.bound_ns, 'ns')}"
        marks.append(Mark(figures.bound_ns / scale.divisor, label, "var(--bad)", [7, 4]))
    return marks


def typical_of(figures: Figures) -> float | None:
    """The percentile, in ns: its unit is that of all charts of latency."""
    if figures.percentile is None:
        return None
    return figures.latency_ns.get(f"p{figures.percentile:g}")


def told(marks: Sequence[Mark]) -> str:
    return f" Marked: {' and '.join(mark.label for mark in marks)}." if marks else ""


def across(edges: Floats, figures: Figures) -> Across:
    marked = [scaled.value for scaled in marks_of(figures, Scale(1.0, "ns"))]
    low, high = min(edges[0], *marked, edges[-1]), max(edges[-1], *marked, edges[0])
    low = max(low, 1.0)
    log = high > _WIDE * low
    scale = scale_for("ns", typical_of(figures) or (math.sqrt(low * high) if log else high))
    if log:
        low, high = low / _ROOM, high * _ROOM
    else:
        room = (_ROOM - 1) * (high - low) or low * (_ROOM - 1)
        low, high = max(low - room, 0.0), high + room
    return Across(scale, low / scale.divisor, high / scale.divisor, log)
