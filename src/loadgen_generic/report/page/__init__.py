"""A report as one self-contained web page, or its charts as one picture.

Charts are Vega-Lite specifications, drawn as SVG by the reader's browser or, for a picture, by
the same library without one. Their colours are CSS variables, so that a theme, or paper, changes
them without drawing again.
"""

from __future__ import annotations

from loadgen_generic.report.page.document import write_page
from loadgen_generic.report.page.png import write_png

__all__ = ["write_page", "write_png"]
