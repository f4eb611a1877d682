"""What went through the system over time, and what the machine did meanwhile."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from loadgen_generic.report.page.chart import (
    Chart,
    Floats,
    Line,
    Spec,
    axis,
    colour,
    number_format,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.lines import line_chart
from loadgen_generic.report.reading.figures import Figures, Histogram, OverTime
from loadgen_generic.results.telemetry import Series, Timeline

__all__ = ["load_charts", "machine_charts"]

_LOAD, _MACHINE = "Load", "Machine"
# More lines than this are no longer told apart.
_MOST_LINES = 16
_MOST_BATCHES = 40
_ALL = 100.0


def load_charts(figures: Figures) -> list[Chart]:
    """Throughput, and in Server the queue and the batches."""
    charts = []
    if figures.throughput is not None and figures.throughput.at_s:
        charts += _charts_of(
            figures.throughput,
            "throughput",
            _LOAD,
            "Samples answered in each stretch of time, for each second of it.",
        )
    if figures.waiting is not None and len(figures.waiting.at_s):
        charts.append(_waiting(figures.waiting))
    if figures.batches is not None and np.any(figures.batches.counts):
        charts.append(_batches(figures.batches))
    return charts


def machine_charts(figures: Figures) -> list[Chart]:
    charts: list[Chart] = []
    for number, timeline in enumerate(figures.machine):
        if timeline.at_s:
            charts += _charts_of(timeline, f"machine-{number}", _MACHINE, "")
    return charts


def _charts_of(timeline: Timeline, identity: str, group: str, caption: str) -> list[Chart]:
    """One chart, or one for each unit."""
    units = list(dict.fromkeys(series.unit for series in timeline.series))
    charts = []
    for number, unit in enumerate(units):
        series = [each for each in timeline.series if each.unit == unit]
        lines, more = _lines(series)
        if not any(np.isfinite(line.values).any() for line in lines):
            continue
        title = timeline.title
        if len(units) > 1:
            title += f": {', '.join(each.name for each in series[:3])}"
        charts.append(
            line_chart(
                identity if not number else f"{identity}-{number}",
                group,
                title,
                " ".join(filter(None, (caption or _told(series), more))),
                np.asarray(timeline.at_s, dtype=np.float64),
                lines,
                unit,
                quantity=timeline.title.lower().replace("cpu", "CPU").replace("gpu", "GPU"),
                most=_ALL if unit == "%" and _within(lines) else None,
            )
        )
    return charts


def _within(lines: list[Line]) -> bool:
    return all(np.nanmax(line.values, initial=0.0) <= _ALL for line in lines)


def _told(series: list[Series]) -> str:
    how = {
        "%": "over each interval that ends at a point",
        "1/s": "how often a second, over each interval that ends at a point",
    }.get(series[0].unit, "as it was at each point")
    if len(series) > 1:
        return f"{how[0].upper()}{how[1:]}."
    name = series[0].name
    return f"{name[0].upper()}{name[1:]}, {how}."


def _lines(series: list[Series]) -> tuple[list[Line], str]:
    """The series, or what is least, mean and most of them where they are too many."""
    columns = [_values(each) for each in series]
    if len(series) <= _MOST_LINES:
        named = zip(series, columns, strict=True)
        return [Line(each.name, column, i) for i, (each, column) in enumerate(named)], ""
    rows = np.vstack(columns)
    known = np.isfinite(rows)
    counts = known.sum(axis=0)
    nothing = np.full(rows.shape[1], np.nan)
    mean = np.divide(np.where(known, rows, 0).sum(axis=0), counts, out=nothing, where=counts > 0)
    least = np.where(counts > 0, np.where(known, rows, np.inf).min(axis=0), np.nan)
    most = np.where(counts > 0, np.where(known, rows, -np.inf).max(axis=0), np.nan)
    lines = [
        Line("highest", most, 1, peak=True),
        Line("mean", mean, 0),
        Line("lowest", least, 2),
    ]
    return lines, f"{len(series)} series are too many to draw: their highest, mean and lowest."


def _values(series: Series) -> Floats:
    return np.array([np.nan if value is None else value for value in series.values], np.float64)


def _waiting(waiting: OverTime) -> Chart:
    lines = [
        Line("most", np.asarray(waiting.most, np.float64), 1, peak=True),
        Line("99th percentile", np.asarray(waiting.p99, np.float64), 3),
        Line("median", np.asarray(waiting.p50, np.float64), 0),
    ]
    return line_chart(
        "waiting",
        _LOAD,
        "Queue depth over time",
        "Samples that were issued and not answered, at the moments at which queries were issued. "
        "If it grows until the end, the system does not keep up.",
        np.asarray(waiting.at_s, np.float64),
        lines,
        "samples",
        quantity="waiting",
    )


def _batches(histogram: Histogram) -> Chart:
    edges = np.asarray(histogram.edges, np.float64)
    counts = np.asarray(histogram.counts, np.float64)
    total = counts.sum()
    starts = np.arange(0, len(counts), math.ceil(len(counts) / _MOST_BATCHES))
    edges, counts = np.append(edges[starts], edges[-1]), np.add.reduceat(counts, starts)
    sizes = [_size(low, high) for low, high in pairwise(edges)]
    rows = [
        {"size": size, "y": count, "share": 100 * count / total}
        for size, count in zip(sizes, counts.tolist(), strict=True)
    ]
    spec: Spec = {
        "mark": {"type": "bar", "color": colour(2)},
        "encoding": {
            "x": {
                "field": "size",
                "type": "ordinal",
                "sort": None,
                "axis": {"title": "batch (samples)", "labelAngle": 0, "labelOverlap": "greedy"},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": axis("queries", number_format(counts.max()), tickCount=5),
            },
            "tooltip": [
                {"field": "size", "type": "nominal", "title": "batch (samples)"},
                tip("y", "queries", ","),
                tip("share", "share (%)"),
            ],
        },
    }
    return Chart(
        "batches",
        _LOAD,
        "Batch sizes",
        "How many samples were answered together with each query of the charts of latency, itself "
        "included.",
        spec_of(rows, **spec),
        table_of(
            ["batch (samples)", "queries", "share"],
            [
                (size, f"{count:,.0f}", f"{100 * count / total:.3g} %")
                for size, count in zip(sizes, counts.tolist(), strict=True)
            ],
        ),
    )


def _size(low: float, high: float) -> str:
    return f"{low:.0f}" if high - low <= 1 else f"{low:.0f} to {high - 1:.0f}"
