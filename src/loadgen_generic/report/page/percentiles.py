"""LoadGen's own percentiles, where nothing finer is there: all that another program's logs hold."""

from __future__ import annotations

import numpy as np

from loadgen_generic.report.page.chart import (
    HEIGHT,
    Chart,
    Floats,
    Spec,
    axis,
    colour,
    nearest,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.latency_axis import across, drawn, marks_of, told
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.wording import format_measured

__all__ = ["percentile_charts"]

_FEWEST = 3


def percentile_charts(figures: Figures) -> list[Chart]:
    """One chart of the smallest latency, the percentiles and the largest; none where single
    latencies or, in Offline, the throughput over time say the same and more."""
    finer = figures.throughput if figures.scenario == "Offline" else figures.latencies
    values, shares = _points(figures.latency_ns)
    if finer is not None or len(np.unique(values)) < _FEWEST:
        return []
    along = across(values, figures)
    marks = marks_of(figures, along.scale)
    x = {"field": "x", **along.encoding}
    offline = figures.scenario == "Offline"
    of = "samples" if offline else "queries"
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2, "color": colour(0), "point": True},
        "encoding": {
            "x": x,
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": axis(f"share of {of} (%)", "~r", tickCount=5),
                "scale": {"domain": [0, 100]},
            },
        },
    }
    tips = [tip("x", f"latency ({along.scale.unit})"), tip("y", "within it (%)", ",.4~r")]
    caption = "How far the test was at a time." if offline else "How long answers took."
    return [
        Chart(
            "percentiles",
            "Latency",
            "Samples answered" if offline else "Latency percentiles",
            f"{caption} LoadGen's own figures, joined by straight lines.{told(marks)}",
            spec_of(
                [
                    {"x": value, "y": share}
                    for value, share in zip(along.scale(values).tolist(), shares, strict=True)
                ],
                layer=[line, *drawn(marks, along, top=HEIGHT - 12, down=False), nearest(x, tips)],
            ),
            table_of(
                ["latency", f"{of} within it"],
                [
                    (format_measured(value, "ns"), f"{share:g} %")
                    for value, share in zip(values.tolist(), shares, strict=True)
                ],
            ),
        )
    ]


def _points(latency_ns: dict[str, int]) -> tuple[Floats, list[float]]:
    """Latencies in ns, ascending, and the share of answers within each, in %."""
    shares = {"min": 0.0, "max": 100.0}
    shares |= {name: float(name[1:]) for name in latency_ns if name.startswith("p")}
    kept = sorted((shares[name], value) for name, value in latency_ns.items() if name in shares)
    return np.array([value for _, value in kept], np.float64), [share for share, _ in kept]
