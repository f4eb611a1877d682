"""The whole page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from loadgen_generic.report.page.bundle import vega_script
from loadgen_generic.report.page.chart import DASHES, SHAPES, Chart, colour
from loadgen_generic.report.page.charts import charts_of
from loadgen_generic.report.page.markup import (
    asset,
    details,
    element,
    embedded,
    items,
    table,
    text,
)
from loadgen_generic.report.page.particulars import glossary, particulars
from loadgen_generic.report.page.summary import cards, doubts, next_step, verdict
from loadgen_generic.report.page.theme import CONFIG
from loadgen_generic.report.page.tuning import TUNING, candidates
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.result import write_text

__all__ = ["write_page"]

_SWATCH = 26
_WITHOUT = "The charts need JavaScript; the tables below each hold the same values."


def write_page(figures: Figures, path: Path) -> None:
    """Write one HTML file that needs no other and no network.

    Raises:
        OSError: it cannot be written.
    """
    charts, missing = charts_of(figures)
    write_text(path, _document(figures, charts, missing))


def _document(figures: Figures, charts: list[Chart], missing: list[str]) -> str:
    name = figures.model or figures.directory.name
    title = f"{name}, {figures.scenario}: LoadGen report"
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # A browser asks for an icon that a page does not name.
        '<link rel="icon" href="data:,">'
        + element("title", text(title))
        + element("style", asset("report.css"))
    )
    body = (
        element("a", "Skip to the verdict", href="#verdict", class_="skip")
        + _header(name, figures, charts)
        + element("main", _main(figures, charts, missing))
        + _footer(figures)
        + _scripts(charts)
    )
    return (
        "<!DOCTYPE html>\n"
        + element("html", element("head", head) + element("body", body), lang="en")
        + "\n"
    )


def _header(name: str, figures: Figures, charts: list[Chart]) -> str:
    links = [("#summary", "Summary")]
    links += [(f"#{_anchor(group)}", group) for group, _ in groupby(charts, lambda c: c.group)]
    if figures.result is not None and figures.result.tuning is not None:
        after = 2 if charts and charts[0].group == TUNING else 1
        links.insert(after, ("#candidates", "Candidates"))
    links += [("#particulars", "Particulars"), ("#glossary", "Glossary")]
    menu = "".join(element("a", text(label), href=target) for target, label in links)
    toggle = element("button", "Dark theme", type="button", id="theme", aria_pressed="false")
    heading = element("h1", text(name) + element("span", text(f" {figures.scenario}")))
    return element(
        "header", heading + toggle + element("nav", menu, aria_label="Parts of the report")
    )


def _main(figures: Figures, charts: list[Chart], missing: list[str]) -> str:
    parts = [
        element("noscript", element("p", _WITHOUT)),
        verdict(figures),
        next_step(figures),
        doubts(figures),
        _part("summary", "Summary", cards(figures)),
    ]
    tuned = [chart for chart in charts if chart.group == TUNING]
    parts += _groups(tuned)
    if listed := candidates(figures):
        parts.append(_part("candidates", "Candidates", listed))
    parts += _groups(charts[len(tuned) :])
    if missing:
        parts.append(_part("missing", "What is not shown", items(missing)))
    parts.append(_part("particulars", "Particulars", particulars(figures)))
    parts.append(_part("glossary", "Glossary", glossary()))
    return "".join(parts)


def _groups(charts: list[Chart]) -> Iterator[str]:
    for group, members in groupby(charts, lambda chart: chart.group):
        drawn = "".join(map(_figure, members))
        yield _part(_anchor(group), group, element("div", drawn, class_="charts"))


def _part(identity: str, title: str, content: str) -> str:
    if not content:
        content = element("p", "The logs do not tell.")
    return element("section", element("h2", text(title)) + content, id=identity, class_="part")


def _anchor(group: str) -> str:
    return f"part-{group.lower()}"


def _figure(chart: Chart) -> str:
    drawing = element(
        "div",
        "",
        class_="drawing",
        role="img",
        data_chart=chart.identity,
        aria_label=f"{chart.title}. {chart.caption} The figures are in the table below.",
    )
    columns, rows = chart.table.columns, chart.table.rows
    values = table(columns, rows, f"{chart.title}: values")
    if chart.table.note:
        values = element("p", text(chart.table.note), class_="note") + values
    return element(
        "figure",
        element("h3", text(chart.title))
        + _legend(chart)
        + drawing
        + element("figcaption", text(chart.caption))
        + details("Values as a table", values, "values"),
        id=f"chart-{chart.identity}",
    )


def _legend(chart: Chart) -> str:
    if not chart.legend:
        return ""
    buttons = "".join(
        element(
            "button",
            (_symbol(style) if chart.points else _swatch(style)) + text(label),
            type="button",
            aria_pressed="true",
            data_series=key,
        )
        for key, label, style in chart.legend
    )
    return element("div", buttons, class_="legend", role="group", aria_label="Series shown")


def _swatch(style: int) -> str:
    """A bit of the line, as it is drawn."""
    dash = " ".join(map(str, DASHES[style % len(DASHES)]))
    line = (
        f'<line x1="0" y1="6" x2="{_SWATCH}" y2="6" stroke="{colour(style)}" '
        f'stroke-width="3" stroke-dasharray="{dash}"/>'
    )
    return f'<svg width="{_SWATCH}" height="12" aria-hidden="true">{line}</svg>'


def _symbol(style: int) -> str:
    """A point, as it is drawn."""
    shape = f'<path d="{SHAPES[style % len(SHAPES)]}" fill="{colour(style)}"/>'
    return (
        f'<svg width="12" height="12" viewBox="-1.2 -1.2 2.4 2.4" aria-hidden="true">{shape}</svg>'
    )


def _footer(figures: Figures) -> str:
    version = figures.result.manifest.get("version") if figures.result else None
    by = f"loadgen-generic {version}" if version else "loadgen-generic"
    words = f"Written by {by} from {figures.directory}. Needs no network."
    return element("footer", element("p", text(words)))


def _scripts(charts: list[Chart]) -> str:
    specs = {chart.identity: {**chart.spec, "config": CONFIG} for chart in charts}
    library = element("script", vega_script()) if charts else ""
    data = element("script", embedded(specs), type="application/json", id="specs")
    return data + library + element("script", asset("report.js"))
