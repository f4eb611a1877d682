"""Speed against error: what each candidate of ``tune`` trades for what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from loadgen_generic.report.page.chart import (
    CROSS,
    SHAPES,
    Chart,
    Spec,
    Table,
    axis,
    colour,
    number_format,
    spec_of,
)
from loadgen_generic.report.page.error_axis import ErrorAxis, error_axis
from loadgen_generic.report.page.scale import Scale, scale_for
from loadgen_generic.report.tuning import (
    TIMED,
    best_first,
    candidate_table,
    named,
)
from loadgen_generic.results.tuning import TunedCandidate, Tuning

__all__ = ["frontier_chart"]

_HEIGHT = 330
_HEADROOM = 1.17
# Below 0, for candidates that were not timed; as a share of the highest value.
_STRIP = 0.13
_STEPS = (1, 2, 5, 10)
# Values whose names would be written over each other, as a share of the highest.
_CLOSE = 0.15
_MOST_TICKS = 6
_SHOWN = {"filter": "indexof(hidden, datum.series) < 0"}
_TABLE = ("number", "which", "family", "settings", "result", "worst error", "answers")

Row = Mapping[str, Any]


def frontier_chart(found: Tuning, group: str) -> Chart | None:
    """None where no candidate has both a value and an error."""
    drawn = [each for each in best_first(found) if each.value and each.stage in TIMED]
    if not any(each.max_abs_error is not None for each in drawn):
        return None
    refused = [each for each in best_first(found) if each.stage == "refused"]
    across = error_axis(each.max_abs_error for each in (*drawn, *refused))
    most = max(max(each.value or 0.0, each.high or 0.0) for each in drawn)
    up = scale_for(found.unit, most)
    families = list(dict.fromkeys(each.family for each in found.candidates))
    keys = {family: f"s{place}" for place, family in enumerate(families)}
    texts, tips = _tooltips(found)

    def row(each: TunedCandidate, value: float) -> dict[str, Any]:
        place = {"x": across(each.max_abs_error), "value": value, "series": keys[each.family]}
        return place | texts[each.number]

    top = up(most).item()
    points = [row(each, up(each.value).item()) for each in drawn]
    crosses = [row(each, -top * _STRIP / 2) for each in refused]
    at = {"x": {"field": "x", **across.encoding}, "y": _upright(found, up, top, bool(refused))}
    colours = {"color": _scaled([colour(i) for i in range(len(keys))])}
    shapes = {"shape": _scaled([SHAPES[i % len(SHAPES)] for i in range(len(keys))])}
    layers = [
        *(_strip(at, top) if refused else ()),
        _front([point for each, point in zip(drawn, points, strict=True) if each.on_front], at),
        _bars(drawn, points, up, {**at, **colours}),
        {
            "transform": [_SHOWN],
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 0.85},
            "encoding": {**at, **colours, **shapes, "tooltip": tips},
        },
        {
            "data": _data(crosses),
            "transform": [_SHOWN],
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1, "shape": CROSS},
            "encoding": {**at, **colours, "tooltip": tips},
        },
        *_marked(drawn, points, found, across, at),
        _better(found, at),
    ]
    spec = spec_of(points, layer=layers, params=[{"name": "hidden", "value": []}])
    spec["height"] = _HEIGHT
    columns, cells = candidate_table(found, [*drawn, *refused], _TABLE)
    legend = [(key, _label(family, found), i) for i, (family, key) in enumerate(keys.items())]
    return Chart(
        "speed-error",
        group,
        "Speed against error",
        _caption(found, drawn, refused, across),
        spec,
        Table(tuple(columns), cells),
        legend,
        points=True,
    )


def _data(rows: Sequence[Row]) -> Spec:
    data: Spec = spec_of(rows)["data"]
    return data


def _tooltips(found: Tuning) -> tuple[dict[int, dict[str, str]], list[Spec]]:
    """By number all that is known of a candidate, and the lines that show it."""
    columns, cells = candidate_table(found, found.candidates)
    texts = {
        each.number: {f"t{i}": text or "-" for i, text in enumerate(row)}
        | {"options": ", ".join(f"{key} {value}" for key, value in each.settings.items()) or "none"}
        for each, row in zip(found.candidates, cells, strict=True)
    }
    titles = {f"t{i}": name for i, name in enumerate(columns)} | {"options": "options"}
    return texts, [{"field": key, "type": "nominal", "title": n} for key, n in titles.items()]


def _upright(found: Tuning, up: Scale, top: float, strip: bool) -> Spec:
    power = 10.0 ** math.floor(math.log10(top / _MOST_TICKS))
    step = next(power * each for each in _STEPS if top / (power * each) <= _MOST_TICKS)
    ticks = [step * place for place in range(int(top * _HEADROOM / step) + 1)]
    better = "higher" if found.higher_is_better else "lower"
    title = f"result, {better} is better ({up.unit})"
    return {
        "field": "value",
        "type": "quantitative",
        "axis": axis(title, number_format(top), values=ticks),
        "scale": {"domain": [-top * _STRIP * strip, top * _HEADROOM], "nice": False, "zero": False},
    }


def _scaled(values: list[str]) -> Spec:
    domain = [f"s{place}" for place in range(len(values))]
    scale = {"domain": domain, "range": values}
    return {"field": "series", "type": "nominal", "legend": None, "scale": scale}


def _strip(at: Spec, top: float) -> list[Spec]:
    """The place of those that have no value, and what it is."""
    name = {"value": -top * _STRIP / 2, "name": "refused, not timed"}
    return [
        {
            "data": {"values": [{"value": -top * _STRIP, "end": 0}]},
            "mark": {"type": "rect", "color": "var(--bad)", "opacity": 0.12},
            "encoding": {"y": at["y"], "y2": {"field": "end"}},
        },
        {
            "data": {"values": [name]},
            "mark": {"type": "text", "align": "left", "color": "var(--bad)"},
            "encoding": {"x": {"value": 6}, "y": at["y"], "text": {"field": "name"}},
        },
    ]


def _front(points: Sequence[Row], at: Spec) -> Spec:
    mark = {"type": "line", "interpolate": "step-after", "color": "var(--axis)", "strokeWidth": 2}
    rows = [{key: point[key] for key in ("x", "value")} for point in points]
    return {"data": _data(rows), "mark": mark, "encoding": at}


def _bars(
    drawn: Sequence[TunedCandidate], points: Sequence[Row], up: Scale, encoding: Spec
) -> Spec:
    """From the lowest to the highest of the tests of full length."""
    rows = [
        {key: point[key] for key in ("x", "series")}
        | {"value": up(each.low).item(), "high": up(each.high).item()}
        for each, point in zip(drawn, points, strict=True)
        if each.low is not None and each.high is not None
    ]
    return {
        "data": _data(rows),
        "transform": [_SHOWN],
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {**encoding, "y2": {"field": "high"}},
    }


def _marked(
    drawn: Sequence[TunedCandidate],
    points: Sequence[Row],
    found: Tuning,
    across: ErrorAxis,
    at: Spec,
) -> list[Spec]:
    """A ring and a name for default and winner, where no slower one of the family is."""
    layers: list[Spec] = []
    shown = [pair for pair in zip(drawn, points, strict=True) if named(pair[0], found)]
    values = [point["value"] for _, point in shown]
    close = max(values, default=0.0) - min(values, default=0.0) < _CLOSE * max(
        point["value"] for point in points
    )
    for each, point in shown:
        name = named(each, found)
        over = found.higher_is_better != (close and each.number != found.winner)
        right = across.is_right(point["x"])
        data = _data([{"x": point["x"], "value": point["value"], "name": name}])
        ring = {"type": "point", "size": 300, "filled": False, "color": "var(--text)", "opacity": 1}
        label = {
            "type": "text",
            "color": "var(--text)",
            "fontWeight": "bold",
            "align": "right" if right else "left",
            "dx": -8 if right else 8,
            "dy": -17 if over else 19,
        }
        halo = {**label, "color": "var(--surface)", "stroke": "var(--surface)", "strokeWidth": 3}
        layers += [
            {"data": data, "mark": {**ring, "strokeWidth": 2}, "encoding": at},
            *(
                {"data": data, "mark": mark, "encoding": {**at, "text": {"field": "name"}}}
                for mark in (halo, label)
            ),
        ]
    return layers


def _better(found: Tuning, at: Spec) -> Spec:
    """The corner where one would like to be."""
    up = found.higher_is_better
    where: Spec = {"y": {"value": 14}} if up else {"y": at["y"]}
    return {
        "data": {"values": [{"value": 0, "name": "best corner"}]},
        "mark": {"type": "text", "align": "left", "baseline": "bottom", "color": "var(--muted)"},
        "encoding": {"x": {"value": 6}, **where, "text": {"field": "name"}},
    }


def _label(family: str, found: Tuning) -> str:
    stages = {each.stage for each in found.candidates if each.family == family}
    return f"{family} ({stages.pop()})" if stages in ({"refused"}, {"failed"}) else family


def _caption(
    found: Tuning,
    drawn: Sequence[TunedCandidate],
    refused: Sequence[TunedCandidate],
    across: ErrorAxis,
) -> str:
    corner = "upper" if found.higher_is_better else "lower"
    about = (
        f"Each point is one of the {len(drawn)} candidates that were timed, at the worst error of "
        f"its family against the float32 reference; the {corner} left corner is the best. The "
        "line joins those that no other one beats in both."
    )
    parts = [about]
    if any(each.low is not None and each.high is not None for each in drawn):
        parts.append(
            "Upright bars go from the highest load that passed to the lowest that did not."
            if found.bounds_a_load
            else "Upright bars go from the lowest to the highest of the tests of full length."
        )
    if refused:
        parts.append("Crosses gave wrong answers and were not timed.")
    if across.none is not None:
        parts.append("What has no error that can be computed stands at none.")
    return " ".join(parts)
