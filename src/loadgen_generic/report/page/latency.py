"""How long answers took: distribution, histogram, and over the time of the test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadgen_generic.report.page.chart import (
    HEIGHT,
    Chart,
    Floats,
    Line,
    Spec,
    axis,
    colour,
    nearest,
    number_format,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.latency_axis import (
    Across,
    Mark,
    across,
    drawn,
    marks_of,
    told,
    typical_of,
)
from loadgen_generic.report.page.lines import line_chart
from loadgen_generic.report.reading.figures import Figures, Histogram, Latencies
from loadgen_generic.wording import format_measured

__all__ = ["latency_charts"]

_GROUP = "Latency"
_BARS, _POINTS = 80, 400
_WIDENING = " Bars widen to the right, each by the same share."
# Above the highest bar there is room for labels.
_HEADROOM = 1.25


def latency_charts(figures: Figures) -> list[Chart]:
    """None in Offline, where a latency is how far the test was, and none without latencies."""
    latencies = figures.latencies
    if latencies is None or figures.scenario == "Offline" or not latencies.counted:
        return []
    edges, counts = _trimmed(latencies.histogram)
    along = across(edges, figures)
    marks = marks_of(figures, along.scale)
    return [
        _cumulative(edges, counts, along, marks, latencies),
        _histogram(edges, counts, along, marks, latencies),
        *_over_time(figures, latencies),
    ]


def _over_time(figures: Figures, latencies: Latencies) -> list[Chart]:
    over = latencies.over_time
    if not len(over.at_s):
        return []
    caption = (
        f"Of the {_plural(latencies)} issued in each stretch of {over.width_s:.2g} s: half took "
        f"no longer than the median, 90 % and 99 % no longer than the lines above it."
    )
    lines = [
        Line("maximum", _float(over.most), 1, peak=True),
        Line("99th percentile", _float(over.p99), 3),
        Line("90th percentile", _float(over.p90), 2),
        Line("median", _float(over.p50), 0),
    ]
    return [
        line_chart(
            "latency-time",
            _GROUP,
            "Latency over time",
            f"{caption} {_coverage(latencies)}",
            _float(over.at_s),
            lines,
            "ns",
            quantity="latency",
            may_be_log=True,
            typical=typical_of(figures),
        )
    ]


def _cumulative(
    edges: Floats, counts: Floats, along: Across, marks: Sequence[Mark], latencies: Latencies
) -> Chart:
    total = counts.sum()
    points = np.unique(np.linspace(0, len(counts), _POINTS + 1).round().astype(int))
    shares = 100 * np.concatenate([[0.0], np.cumsum(counts)])[points] / total
    values = edges[points]
    rows = [
        {"x": x, "y": y} for x, y in zip(along.scale(values).tolist(), shares.tolist(), strict=True)
    ]
    x = {"field": "x", **along.encoding}
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2, "color": colour(0)},
        "encoding": {
            "x": x,
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": axis(f"share of {_plural(latencies)} (%)", "~r", tickCount=5),
                "scale": {"domain": [0, 100]},
            },
        },
    }
    unit = along.scale.unit
    tips = [tip("x", f"latency ({unit})"), tip("y", "within it (%)", ",.4~r")]
    layers = [line, *drawn(marks, along, top=HEIGHT - 12, down=False), nearest(x, tips)]
    return Chart(
        "latency-cdf",
        _GROUP,
        "Latency distribution",
        f"How many of the {_plural(latencies)} were answered within a time."
        f"{told(marks)} {_coverage(latencies)}",
        spec_of(rows, layer=layers),
        table_of(
            ["latency", f"{_plural(latencies)} within it"],
            [
                (format_measured(value, "ns"), f"{share:.4g} %")
                for value, share in zip(values.tolist(), shares.tolist(), strict=True)
            ],
            "point",
        ),
    )


def _histogram(
    edges: Floats, counts: Floats, along: Across, marks: Sequence[Mark], latencies: Latencies
) -> Chart:
    edges, counts = _coarser(edges, counts)
    scaled = along.scale(edges)
    unit = along.scale.unit
    rows = [
        {"x": low, "x2": high, "y": count}
        for low, high, count in zip(
            scaled[:-1].tolist(), scaled[1:].tolist(), counts.tolist(), strict=True
        )
        if count
    ]
    bars: Spec = {
        "mark": {
            "type": "rect",
            "color": colour(0),
            "stroke": "var(--surface)",
            "strokeWidth": 0.5,
        },
        "encoding": {
            "x": {"field": "x", **along.encoding},
            "x2": {"field": "x2"},
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": axis(_plural(latencies), number_format(counts.max()), tickCount=5),
                "scale": {"domain": [0, _HEADROOM * counts.max()]},
            },
            "y2": {"datum": 0},
            "tooltip": [
                tip("x", f"from ({unit})", ",.4~r"),
                tip("x2", f"to ({unit})", ",.4~r"),
                tip("y", _plural(latencies), ","),
            ],
        },
    }
    kept = [
        (format_measured(low, "ns"), format_measured(high, "ns"), f"{count:,.0f}")
        for low, high, count in zip(
            edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
        )
        if count
    ]
    return Chart(
        "latency-histogram",
        _GROUP,
        "Latency histogram",
        f"How many {_plural(latencies)} took how long; a bar may be too low to be seen, the table "
        f"has it.{'' if along.log else _WIDENING}{told(marks)} {_coverage(latencies)}",
        spec_of(rows, layer=[bars, *drawn(marks, along, top=10, down=True)]),
        table_of(["from", "to", _plural(latencies)], kept, "bar"),
    )


def _trimmed(histogram: Histogram) -> tuple[Floats, Floats]:
    """Without the empty bins at both ends."""
    edges, counts = _float(histogram.edges), _float(histogram.counts)
    filled = np.flatnonzero(counts)
    first, last = filled[0], filled[-1]
    return edges[first : last + 2], counts[first : last + 1]


def _coarser(edges: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """About as many bars as can be seen, each of as many bins, so that none looks high by its
    width alone."""
    size = math.ceil(len(counts) / _BARS)
    starts = np.arange(0, len(counts), size)
    return np.append(edges[starts], edges[-1]), np.add.reduceat(counts, starts)


def _coverage(latencies: Latencies) -> str:
    """Where the latencies come from; a part is never passed off as the whole."""
    if latencies.source == "trace":
        return f"From LoadGen's trace, all {latencies.counted:,} {_plural(latencies)}."
    every = max(1, round(latencies.total / max(1, latencies.counted)))
    what = "all timed" if every == 1 else f"one in {every:,} timed"
    return (
        f"{latencies.counted:,} of {latencies.total:,} {_plural(latencies)}, {what} by this "
        "harness; LoadGen's own percentiles are over all of them."
    )


def _plural(latencies: Latencies) -> str:
    return "queries" if latencies.unit == "query" else "samples"


def _float(values: object) -> Floats:
    return np.asarray(values, dtype=np.float64)
