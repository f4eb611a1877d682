"""What several runs for one question found: repeated runs, and the trials of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loadgen_generic.report.page.chart import (
    CROSS,
    Chart,
    Spec,
    axis,
    colour,
    log_ticks,
    number_format,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.scale import amount, scale_for
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.many_runs import Repetition, Search
from loadgen_generic.wording import format_measured, format_value

__all__ = ["trial_charts"]

_GROUP = "Runs"
_PADDING = 0.15
_FLAT = 0.01


def trial_charts(figures: Figures) -> tuple[list[Chart], list[str]]:
    """The charts, and why one that belongs there is not."""
    result = figures.result
    if result is None:
        return [], []
    charts = [_repeated(result.repeat, result.metric.unit)] if result.repeat else []
    if result.search is None:
        return charts, []
    try:
        runs = _trials(figures.directory, result.search)
    except (OSError, ValueError) as error:
        return charts, [f"The trials of the search cannot be read: {error}."]
    if result.search.layout is None:
        return [*charts, _loads(runs, figures)], []
    return [*charts, _layouts(runs, result.search)], []


def _repeated(repeat: Repetition, unit: str) -> Chart:
    scale = scale_for(unit, repeat.median)
    values = scale(repeat.values)
    low, high = scale(repeat.interval).tolist()
    least, most = min(*values, low), max(*values, high)
    room = _PADDING * (most - least) or most * _FLAT
    y: Spec = {
        "type": "quantitative",
        "axis": axis(f"result ({scale.unit})", ",.5~r", tickCount=5),
        "scale": {"domain": [least - room, most + room], "nice": False, "zero": False},
    }
    once: Spec = {"values": [{}]}
    band = {
        "data": once,
        "mark": {"type": "rect", "color": colour(0), "opacity": 0.2},
        "encoding": {"y": {"datum": low, **y}, "y2": {"datum": high}},
    }
    median = {
        "data": once,
        "mark": {"type": "rule", "color": colour(0), "strokeDash": [7, 3], "strokeWidth": 2},
        "encoding": {"y": {"datum": scale(repeat.median).item(), **y}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 90, "color": colour(1), "opacity": 1},
        "encoding": {
            "x": {
                "field": "run",
                "type": "ordinal",
                "sort": None,
                "axis": {"title": "run", "labelAngle": 0},
            },
            "y": {"field": "y", **y},
            "tooltip": [
                {"field": "run", "type": "nominal", "title": "run"},
                tip("y", f"result ({scale.unit})", ",.4~r"),
            ],
        },
    }
    rows = [{"run": str(i + 1), "y": value} for i, value in enumerate(values.tolist())]
    return Chart(
        "repeat",
        _GROUP,
        "Repeated runs",
        f"The result of each of {repeat.runs} runs. The dashed line is their median, "
        f"{amount(repeat.median, unit)}; the band is where it lies with "
        f"{100 * repeat.confidence:g} % confidence, {amount(repeat.interval[0], unit)} to "
        f"{amount(repeat.interval[1], unit)}. The runs lie "
        f"{format_measured(100 * repeat.spread, '%', spread=0.1)} apart. "
        "The upright axis does not begin at 0.",
        spec_of(rows, layer=[band, median, points]),
        table_of(
            ["run", "result"],
            [(str(i + 1), amount(value, unit)) for i, value in enumerate(repeat.values)],
        ),
    )


def _loads(runs: list[dict[str, Any]], figures: Figures) -> Chart:
    search = figures.result.search if figures.result else None
    unit = search.unit if search else ""
    measured = [run for run in runs if run.get("percentile_ns")]
    highest = max((run["percentile_ns"] for run in measured), default=1)
    lowest = min((run["percentile_ns"] for run in measured), default=1)
    scale = scale_for("ns", (highest * lowest) ** 0.5)
    percentile = f"p{figures.percentile:g}" if figures.percentile is not None else "percentile"
    bound = figures.bound_ns
    limits = [lowest / scale.divisor / 1.3, highest / scale.divisor * 1.3]
    if bound:
        limits = [
            min(limits[0], bound / scale.divisor / 1.3),
            max(limits[1], bound / scale.divisor),
        ]
    y: Spec = {
        "type": "quantitative",
        "axis": axis(
            f"{percentile} latency ({scale.unit}, logarithmic)", ",.4~r", values=log_ticks(*limits)
        ),
        "scale": {"type": "log", "domain": limits, "nice": False},
    }
    tips = [
        {"field": "trial", "type": "nominal", "title": "trial"},
        tip("x", f"load ({unit})", ",.4~r"),
        tip("y", f"{percentile} latency ({scale.unit})"),
        {"field": "outcome", "type": "nominal", "title": "outcome"},
    ]
    rows = [
        {
            "trial": str(run.get("number", i + 1)),
            "x": run["load"],
            "y": run["percentile_ns"] / scale.divisor,
            "outcome": _outcome(run),
        }
        for i, run in enumerate(measured)
    ]
    most = max((run["load"] for run in measured), default=0)
    layers: list[Spec] = [
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {
                "x": {
                    "field": "x",
                    "type": "quantitative",
                    "axis": axis(f"load ({unit})", number_format(most), tickCount=6),
                    "scale": {"zero": False, "padding": 12},
                },
                "y": {"field": "y", **y},
                **_by_outcome(),
                "tooltip": tips,
            },
        }
    ]
    if bound:
        layers.insert(
            0,
            {
                "data": {"values": [{}]},
                "mark": {"type": "rule", "color": "var(--bad)", "strokeDash": [7, 4]},
                "encoding": {"y": {"datum": bound / scale.divisor, **y}},
            },
        )
    lost = len(runs) - len(measured)
    return Chart(
        "trials",
        _GROUP,
        "Trials of the search",
        f"{search.sentence if search else ''} Circles passed, crosses did not"
        + (f"; the dashed line is the bound of {format_value(bound, 'ns')}." if bound else ".")
        + (f" Without a latency, and only in the table: {lost}." if lost else ""),
        spec_of(rows, layer=layers),
        _table(runs, ("load", unit), percentile),
    )


def _layouts(runs: list[dict[str, Any]], search: Search) -> Chart:
    measured = [run for run in runs if run.get("value") is not None]
    typical = max((run["value"] for run in measured), default=1.0)
    scale = scale_for(search.unit, typical)
    rows = [
        {
            "trial": str(run.get("number", i + 1)),
            "layout": _layout(run),
            "y": run["value"] / scale.divisor,
            "outcome": _outcome(run),
        }
        for i, run in enumerate(measured)
    ]
    spec: Spec = {
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {
            "x": {
                "field": "trial",
                "type": "ordinal",
                "sort": None,
                "axis": {"title": "trial", "labelAngle": 0, "labelOverlap": "greedy"},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": axis(f"result ({scale.unit})", number_format(typical), tickCount=5),
                "scale": {"zero": False, "padding": 16},
            },
            **_by_outcome(),
            "tooltip": [
                {"field": "trial", "type": "nominal", "title": "trial"},
                {"field": "layout", "type": "nominal", "title": "layout"},
                tip("y", f"result ({scale.unit})", ",.4~r"),
                {"field": "outcome", "type": "nominal", "title": "outcome"},
            ],
        },
    }
    return Chart(
        "trials",
        _GROUP,
        "Trials of the search",
        f"{search.sentence} Circles are valid tests, crosses are not. The upright axis does not "
        "begin at 0.",
        spec_of(rows, **spec),
        _table(runs, ("layout", ""), ""),
    )


def _by_outcome() -> Spec:
    domain = ["passed", "did not pass"]
    return {
        "shape": {
            "field": "outcome",
            "legend": None,
            "scale": {"domain": domain, "range": ["circle", CROSS]},
        },
        "color": {
            "field": "outcome",
            "legend": None,
            "scale": {"domain": domain, "range": [colour(0), "var(--bad)"]},
        },
    }


def _table(runs: list[dict[str, Any]], varied: tuple[str, str], percentile: str) -> Any:
    name, unit = varied
    columns = ["trial", name, "result", "outcome", "why"]
    if percentile:
        columns[2] = f"{percentile} latency"
    rows: list[tuple[str, ...]] = []
    for i, run in enumerate(runs):
        load = _layout(run) if name == "layout" else format_value(float(run["load"]), unit)
        rows.append((str(run.get("number", i + 1)), load, _reached(run), _outcome(run), _why(run)))
    if any("node" in run for run in runs):
        columns.insert(1, "node")
        nodes = [str(run.get("node", "")) for run in runs]
        rows = [(row[0], node, *row[1:]) for row, node in zip(rows, nodes, strict=True)]
    return table_of(columns, rows, "trial")


def _reached(run: dict[str, Any]) -> str:
    if run.get("value") is not None:
        return amount(run["value"], str(run.get("unit", "")))
    if run.get("percentile_ns"):
        return format_measured(run["percentile_ns"], "ns")
    return "none"


def _why(run: dict[str, Any]) -> str:
    return str(run.get("why") or ("full length" if run.get("full") else ""))


def _outcome(run: dict[str, Any]) -> str:
    return "passed" if run.get("passed") else "did not pass"


def _layout(run: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in run.get("layout", {}).items())


def _trials(directory: Path, search: Search) -> list[dict[str, Any]]:
    """Of the journal beside the result, wherever both were moved, or where it was written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or names no trial.
    """
    file = Path(search.file)
    beside = directory / file.name
    place = beside if beside.is_file() else file
    try:
        runs: list[dict[str, Any]] = json.loads(place.read_text(encoding="utf-8"))["runs"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{place} is damaged ({error!r})") from None
    if not runs:
        raise ValueError(f"{place} names none")
    return runs
