"""How charts look, in a page and as a picture."""

from __future__ import annotations

import re

from loadgen_generic.report.page.chart import Spec
from loadgen_generic.report.page.markup import asset

__all__ = ["CONFIG", "light_colours"]

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CONFIG: Spec = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "domainColor": "var(--axis)",
        "tickColor": "var(--axis)",
        "gridColor": "var(--grid)",
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "axisX": {"grid": False},
    "text": {"fontSize": 12},
}

_DECLARATION = re.compile(r"(--[\w-]+):\s*(#[0-9a-fA-F]{6});")


def light_colours() -> dict[str, str]:
    """CSS variable to the colour that it has in the light theme, which the style sheet begins
    with."""
    first, _, _ = asset("report.css").partition("}")
    return dict(_DECLARATION.findall(first))
