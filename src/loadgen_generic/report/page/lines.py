"""Lines over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loadgen_generic.report.page.chart import (
    DASHES,
    PLAIN,
    Chart,
    Floats,
    Line,
    Spec,
    axis,
    colour,
    log_ticks,
    nearest,
    number_format,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.scale import amount, scale_for

__all__ = ["line_chart"]

# A phone is 390 points wide; more than this on a line are not seen.
_POINTS = 300
_WIDE = 20.0
_ROOM = 1.15
_TIME = "time since the first query (s)"


def line_chart(
    identity: str,
    group: str,
    title: str,
    caption: str,
    at_s: Floats,
    lines: Sequence[Line],
    unit: str,
    *,
    quantity: str,
    may_be_log: bool = False,
    typical: float | None = None,
    most: float | None = None,
) -> Chart:
    """Several series over the time since the first query.

    Args:
        unit: of the values; ns and bytes become readable ones.
        quantity: what the upright axis is of.
        may_be_log: where values lie far apart, the upright axis is logarithmic.
        typical: value that chooses the unit; None for one in the middle.
        most: of the upright axis, in ``unit``; None to make room for the values.
    """
    at_s, lines, merged = _merged(at_s, lines)
    if merged > 1:
        which = "mean, or the largest of the largest" if any(i.peak for i in lines) else "mean"
        caption += f" Each point is of {merged} neighbouring ones: their {which}."
    everything = np.concatenate([line.values for line in lines])
    known = everything[np.isfinite(everything)]
    top = float(known.max()) if known.size else 1.0
    positive = known[known > 0]
    log = bool(
        may_be_log
        and positive.size == known.size
        and positive.size
        and top > _WIDE * float(positive.min())
    )
    typical = typical or (math.sqrt(top * float(positive.min())) if log else top)
    scale = scale_for(unit, typical)
    heading = f"{quantity} ({scale.unit})"
    keys = [f"s{i}" for i in range(len(lines))]
    columns = dict(zip(keys, (scale(line.values) for line in lines), strict=True))
    rows = [
        {"x": float(at), **{key: float(column[i]) for key, column in columns.items()}}
        for i, at in enumerate(at_s)
    ]
    limit = scale(top if most is None else most).item()
    low = scale(positive.min()).item() if log else 0.0
    y = _log(heading, low, limit) if log else _linear(heading, limit, fixed=most is not None)
    table = table_of(
        ["time (s)", *(line.label for line in lines)],
        [
            (f"{at:.3g}", *(_cell(line.values[i], unit) for line in lines))
            for i, at in enumerate(at_s)
        ],
        "point",
    )
    if log:
        caption += " The upright axis is logarithmic."
    spec = spec_of(rows, **_layers(lines, keys, y, scale.unit, single=len(at_s) == 1))
    legend = [(key, line.label, line.style) for key, line in zip(keys, lines, strict=True)]
    return Chart(identity, group, title, caption, spec, table, legend if len(legend) > 1 else [])


def _layers(lines: Sequence[Line], keys: list[str], y: Spec, unit: str, *, single: bool) -> Spec:
    x = {"field": "x", "type": "quantitative", "axis": axis(_TIME, ",.4~r", tickCount=6)}
    x["scale"] = {"nice": False, "zero": True}
    styles = [line.style for line in lines]
    drawn: Spec = {
        "transform": [
            {"fold": keys, "as": ["series", "value"]},
            {"filter": "indexof(hidden, datum.series) < 0 && isValid(datum.value)"},
        ],
        "mark": {"type": "point", "filled": True, "size": 60}
        if single
        else {"type": "line", "strokeWidth": 1.8, "interpolate": "linear"},
        "encoding": {
            "x": x,
            "y": {"field": "value", "type": "quantitative", **y},
            "color": {
                "field": "series",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": keys, "range": [colour(style) for style in styles]},
            },
        },
    }
    if not single:
        drawn["encoding"]["strokeDash"] = {
            "field": "series",
            "type": "nominal",
            "legend": None,
            "scale": {"domain": keys, "range": [DASHES[style % len(DASHES)] for style in styles]},
        }
    tips = [tip("x", "time (s)", ",.4~r")]
    tips += [tip(key, f"{line.label} ({unit})") for key, line in zip(keys, lines, strict=True)]
    return {
        "params": [{"name": "hidden", "value": []}],
        "layer": [drawn, nearest(x, tips)],
    }


def _linear(heading: str, most: float, *, fixed: bool) -> Spec:
    top = most if fixed else most * _ROOM or 1.0
    scale = {"domain": [0, top], "nice": not fixed}
    return {"axis": axis(heading, number_format(top), tickCount=5), "scale": scale}


def _log(heading: str, least: float, most: float) -> Spec:
    low, high = least / _ROOM, most * _ROOM
    ticks = axis(heading, PLAIN, values=log_ticks(low, high))
    return {"axis": ticks, "scale": {"type": "log", "domain": [low, high], "nice": False}}


def _cell(value: float, unit: str) -> str:
    return amount(float(value), unit) if math.isfinite(value) else "not read"


def _merged(at_s: Floats, lines: Sequence[Line]) -> tuple[Floats, list[Line], int]:
    """Means of neighbours, where there are more points than can be seen."""
    size = math.ceil(len(at_s) / _POINTS)
    if size <= 1:
        return at_s, list(lines), 1
    starts = np.arange(0, len(at_s), size)

    def merge(line: Line) -> Floats:
        if line.peak:
            return np.asarray(np.fmax.reduceat(line.values, starts))
        return mean(line.values)

    def mean(values: Floats) -> Floats:
        known = np.isfinite(values)
        sums = np.add.reduceat(np.where(known, values, 0.0), starts)
        counts = np.add.reduceat(known.astype(np.float64), starts)
        nothing: Floats = np.full(len(starts), np.nan)
        return np.divide(sums, counts, out=nothing, where=counts > 0)

    return mean(at_s), [replace(line, values=merge(line)) for line in lines], size
