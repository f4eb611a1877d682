"""The charts of a run in one picture, drawn without a browser."""

from __future__ import annotations

import copy
import json
import re
import textwrap
from pathlib import Path
from typing import Any

from loadgen_generic.errors import RunError
from loadgen_generic.report.page.chart import Chart, Spec
from loadgen_generic.report.page.charts import charts_of
from loadgen_generic.report.page.theme import CONFIG, light_colours
from loadgen_generic.report.reading.figures import Figures

__all__ = ["write_png"]

_WIDTH = 900
_SCALE = 1.5
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
# Of titles; longer lines are cut by the edge of the picture.
_LINE = 120


def write_png(figures: Figures, path: Path) -> None:
    """Write all charts, one below the other, under the verdict.

    Raises:
        RunError: there is nothing to draw.
        OSError: the picture cannot be written.
    """
    import vl_convert

    charts, missing = charts_of(figures)
    if not charts:
        raise RunError(f"{figures.directory} has nothing to draw. {' '.join(missing)}".strip())
    colours = light_colours()
    spec = {
        "title": {
            "text": _wrapped(figures.verdict),
            "anchor": "start",
            "fontSize": 16,
            "offset": 18,
            "color": "var(--text)",
        },
        "vconcat": [_still(chart) for chart in charts],
        "config": {**CONFIG, "background": "var(--surface)"},
        "padding": 16,
        # Each chart has colours of its own, under the same keys.
        "resolve": {
            "scale": {"color": "independent", "strokeDash": "independent", "shape": "independent"}
        },
        "spacing": 36,
    }
    resolved = _VARIABLE.sub(lambda found: colours[found.group(1)], json.dumps(spec))
    picture: bytes = vl_convert.vegalite_to_png(json.loads(resolved), scale=_SCALE)
    path.write_bytes(picture)


def _still(chart: Chart) -> Spec:
    """Without what answers to a pointer, and with a legend of its own."""
    spec: Spec = copy.deepcopy(chart.spec)
    spec.pop("params", None)
    spec["width"] = _WIDTH
    spec["title"] = {
        "text": chart.title,
        "anchor": "start",
        "frame": "group",
        "color": "var(--text)",
    }
    if "layer" in spec:
        spec["layer"] = [layer for layer in spec["layer"] if "params" not in layer]
    for layer in spec.get("layer", [spec]):
        for step in layer.get("transform", []):
            if "filter" in step:
                step["filter"] = "isValid(datum.value)"
        if chart.legend:
            _name(layer["encoding"], chart)
    return spec


def _name(encoding: dict[str, Any], chart: Chart) -> None:
    labels = json.dumps({key: label for key, label, _ in chart.legend})
    legend: Spec = {
        "title": None,
        "orient": "bottom",
        "columns": 6,
        "labelColor": "var(--text)",
        "labelExpr": f"{labels}[datum.label]",
        "labelFontSize": 12,
    }
    if not chart.points:
        legend |= {"symbolType": "stroke", "symbolSize": 400}
    for channel in ("color", "strokeDash", "shape"):
        if channel in encoding:
            encoding[channel]["legend"] = legend


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _LINE) or [""]
