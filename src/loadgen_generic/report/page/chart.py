"""A chart: what it shows in words, as a Vega-Lite specification, and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CROSS",
    "DASHES",
    "HEIGHT",
    "PLAIN",
    "SHAPES",
    "Chart",
    "Floats",
    "Line",
    "Spec",
    "Table",
    "axis",
    "colour",
    "log_ticks",
    "nearest",
    "number_format",
    "spec_of",
    "table_of",
    "tip",
]

Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]

HEIGHT = 250
COLOURS = 8
# The first is solid. Lines are told apart by these as well as by their colours.
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4])
# Points are told apart by these as well as by their colours; each is a path in a square of 2 x 2.
SHAPES = (
    "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "M-0.85,-0.85L0.85,-0.85L0.85,0.85L-0.85,0.85Z",
    "M0,-1.2L1,0L0,1.2L-1,0Z",
    "M0,-1.1L1.1,0.85L-1.1,0.85Z",
    "M0,1.1L-1.1,-0.85L1.1,-0.85Z",
    "M-0.5,-1L0.5,-1L1.1,0L0.5,1L-0.5,1L-1.1,0Z",
)
# As they are: a diagonal one.
CROSS = "M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z"
_ROWS = 50
_DIGITS = 5
# Of each decade, where the axis has at most so many of them.
_TICKS = ((0.9, (1, 1.5, 2, 3, 4, 5, 6, 8)), (2.5, (1, 2, 5)), (math.inf, (1,)))
# From here on 12k is easier to read than 12,000.
_SHORTENED_FROM = 10_000
# In d3's notation; k and m beside a unit such as ms would be misread.
PLAIN = ",.4~r"


@dataclass(frozen=True, slots=True)
class Line:
    """One series. Attributes:
    values: NaN where there is none.
    style: which colour and dash; lines of one chart differ in it.
    peak: of each stretch of time these are the largest values.
    """

    label: str
    values: Floats
    style: int = 0
    peak: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """What a chart shows, for those who do not see it. Attributes:
    note: what was left out, if anything.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Attributes:
    identity: of the figure in the page, after ``chart-``.
    group: heading that it stands under.
    caption: what is drawn, in sentences.
    spec: of one view, layered or not, whose width is that of its container.
    legend: the series that can be hidden: key in the data, label, style.
    points: the series are points, told apart by shape, rather than lines.
    """

    identity: str
    group: str
    title: str
    caption: str
    spec: Spec
    table: Table
    legend: list[tuple[str, str, int]] = field(default_factory=list)
    points: bool = False


def colour(style: int) -> str:
    """A CSS variable, so that a theme changes the colours of what is already drawn."""
    return f"var(--series-{style % COLOURS})"


def axis(title: str, numbers: str, **more: Any) -> Spec:
    """Args: numbers: of tick labels, in d3's notation, which has 0k for a nought."""
    label = f"datum.value ? format(datum.value, '{numbers}') : '0'"
    return {"title": title, "labelExpr": label, "labelOverlap": True, **more}


def number_format(most: float) -> str:
    """Of tick labels, in d3's notation."""
    return "~s" if most >= _SHORTENED_FROM else PLAIN


def log_ticks(least: float, most: float) -> list[float]:
    """Round values, fewer of each decade the more decades there are."""
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    width = math.log10(most / least)
    steps = next(steps for limit, steps in _TICKS if width <= limit)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [tick for tick in ticks if least * 0.999 <= tick <= most * 1.001]


def tip(key: str, title: str, numbers: str = ",.3~r") -> Spec:
    """One line of a tooltip; the digits are those that a single run supports."""
    return {"field": key, "type": "quantitative", "title": title, "format": numbers}


def nearest(x: Spec, tips: Sequence[Spec]) -> Spec:
    """A layer with an upright line at the place nearest to the pointer, and its tooltip."""
    return {
        "params": [
            {
                "name": "hover",
                "select": {
                    "type": "point",
                    "encodings": ["x"],
                    "nearest": True,
                    "on": "pointermove",
                    "clear": "pointerout",
                },
            }
        ],
        "mark": {"type": "rule", "color": "var(--axis)"},
        "encoding": {
            "x": x,
            "opacity": {
                "condition": {"param": "hover", "empty": False, "value": 1},
                "value": 0,
            },
            "tooltip": list(tips),
        },
    }


def spec_of(rows: Sequence[Mapping[str, Any]], **content: Any) -> Spec:
    """A view on rows of values; those that are not numbers are left out, and so are the digits
    that no screen shows."""
    values = [
        {key: kept for key, value in row.items() if (kept := _kept(value)) is not None}
        for row in rows
    ]
    return {"data": {"values": values}, "width": "container", "height": HEIGHT, **content}


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    rounded = float(f"{number:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def table_of(columns: Sequence[str], rows: Sequence[tuple[str, ...]], what: str = "row") -> Table:
    """All rows, or evenly spaced ones with a note that says so."""
    if len(rows) <= _ROWS:
        return Table(tuple(columns), list(rows))
    step = math.ceil(len(rows) / _ROWS)
    shown = list(rows[::step])
    if shown[-1] != rows[-1]:
        shown.append(rows[-1])
    note = f"One {what} in {step} of {len(rows):,} is shown, and the last; the chart has them all."
    return Table(tuple(columns), shown, note)
