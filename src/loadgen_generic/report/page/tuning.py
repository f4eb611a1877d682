"""What ``tune`` found: charts, the table of candidates, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadgen_generic.report.page.chart import (
    PLAIN,
    Chart,
    Spec,
    axis,
    colour,
    log_ticks,
    spec_of,
    table_of,
    tip,
)
from loadgen_generic.report.page.frontier import frontier_chart
from loadgen_generic.report.page.markup import element, items, text
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.report.tuning import best_first, candidate_table, named, worth_in_words
from loadgen_generic.results.tuning import TunedCandidate, Tuning, Worth
from loadgen_generic.wording import format_measured

__all__ = ["TUNING", "candidates", "tuning_charts"]

TUNING = "Tuning"  # the group of the charts
_BAR_HEIGHT = 30
_ROOM = 1.3
# Beside the longest bar, as a share of the axis.
_FOR_TEXT = 0.2
_NOT_COMPARED = (
    "Speed against error: there is no candidate that was timed and whose answers were compared."
)
_ABOUT = (
    "The best first; what was refused or failed is at the end, with the reason. Values of short "
    "trials are less certain than those of tests of full length."
)


def tuning_charts(figures: Figures) -> tuple[list[Chart], list[str]]:
    """The charts, and why one that belongs there is not."""
    found = figures.result.tuning if figures.result else None
    if found is None:
        return [], []
    charts = []
    missing = []
    if chart := frontier_chart(found, TUNING):
        charts.append(chart)
    else:
        missing.append(_NOT_COMPARED)
    if any(each.factor is not None for each in found.worth):
        charts.append(_worth(found.worth))
    return charts, missing


def _worth(worth: Sequence[Worth]) -> Chart:
    known = [(each, each.factor) for each in worth if each.factor is not None]
    unknown = [each for each in worth if each.factor is None]
    factors = [factor for _, factor in known]
    low = min(1.0, *factors) / _ROOM**0.5
    most = max(1.0, *factors)
    high = most * max(_ROOM, (most / low) ** _FOR_TEXT)
    rows = [
        {
            "choice": each.choice,
            "factor": factor,
            "change": f"{each.before} \u2192 {each.after}",
            "text": f"\u00d7{format_measured(factor, '')}",
            "end": max(1.0, factor),
            "sense": "faster" if factor >= 1 else "slower",
        }
        for each, factor in known
    ]
    x: Spec = {
        "field": "factor",
        "type": "quantitative",
        "axis": axis("times as fast (factor, logarithmic)", PLAIN, values=log_ticks(low, high)),
        "scale": {"type": "log", "domain": [low, high], "nice": False},
    }
    y: Spec = {"field": "choice", "type": "nominal", "sort": None, "axis": {"title": None}}
    by_sense = {
        "field": "sense",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": ["faster", "slower"], "range": [colour(2), "var(--bad)"]},
    }
    tips = [
        {"field": "choice", "type": "nominal", "title": "choice"},
        {"field": "change", "type": "nominal", "title": "changed"},
        tip("factor", "times as fast (factor)"),
    ]
    layers = [
        {
            "mark": {"type": "bar"},
            "encoding": {"x": x, "x2": {"datum": 1}, "y": y, "color": by_sense, "tooltip": tips},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 5, "color": "var(--text)"},
            "encoding": {"x": {**x, "field": "end"}, "y": y, "text": {"field": "text"}},
        },
    ]
    spec = spec_of(rows, layer=layers)
    spec["height"] = _BAR_HEIGHT * len(rows)
    caption = (
        "Short trials that go from the default to the winner, one choice at a time: how many times "
        "as fast each made the one before."
    )
    if unknown:
        caption += f" In addition: {'; '.join(map(worth_in_words, unknown))}."
    return Chart(
        "worth",
        TUNING,
        "What each choice was worth",
        caption,
        spec,
        table_of(
            ["choice", "default", "winner", "times as fast", "why not measured"],
            [
                (
                    each.choice,
                    each.before,
                    each.after,
                    "" if each.factor is None else format_measured(each.factor, ""),
                    each.why,
                )
                for each in worth
            ],
            "choice",
        ),
    )


def candidates(figures: Figures) -> str:
    """All candidates, and what is none; empty where nothing was tuned."""
    found = figures.result.tuning if figures.result else None
    if found is None:
        return ""
    inner = element("p", text(_ABOUT), class_="note") + _table(found)
    if found.worth and all(each.factor is None for each in found.worth):
        inner += _listed("What each choice was worth", map(worth_in_words, found.worth))
    if found.left_out:
        inner += _listed("Left out", (f"{each.what}: {each.why}" for each in found.left_out))
    return inner


def _listed(title: str, sentences: Iterable[str]) -> str:
    return element("section", element("h3", text(title)) + items(sentences), class_="card")


def _table(found: Tuning) -> str:
    """A table; on a phone a block for each row, since so many columns have no room there.

    What is shown as blocks is no longer a table to a screen reader, unless it is called one.
    """
    ordered = best_first(found)
    columns, rows = candidate_table(found, ordered)
    head = "".join(
        element("th", text(column), scope="col", role="columnheader") for column in columns
    )
    body = "".join(
        element("tr", _cells(columns, row), role="row", class_=_sort_of(each, found))
        for each, row in zip(ordered, rows, strict=True)
    )
    title = f"Candidates of {found.objective}"
    inner = (
        element("caption", text(title))
        + element("thead", element("tr", head, role="row"), role="rowgroup")
        + element("tbody", body, role="rowgroup")
    )
    return element(
        "div",
        element("table", inner, role="table"),
        class_="scrolls stacks",
        role="region",
        tabindex="0",
        aria_label=title,
    )


def _cells(columns: Sequence[str], row: Sequence[str]) -> str:
    return "".join(
        element("td", text(cell), role="cell", data_name=column)
        for column, cell in zip(columns, row, strict=True)
    )


def _sort_of(each: TunedCandidate, found: Tuning) -> str:
    """For the eye; the cells say it in words."""
    return " ".join((named(each, found).replace(",", ""), each.stage)).strip()
