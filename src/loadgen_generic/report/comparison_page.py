"""A comparison as one self-contained page, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from loadgen_generic.report.comparison import (
    change_text,
    interval_text,
    latency_rows,
    side_rows,
    verdict_sentence,
    warnings,
)
from loadgen_generic.report.strip_chart import Strip, strip_chart
from loadgen_generic.results.comparison import Comparison
from loadgen_generic.results.result import write_text
from loadgen_generic.wording import format_measured

__all__ = ["write_comparison"]

_STYLE = "page/assets/comparison.css"
_SCALES = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))


def write_comparison(found: Comparison, path: Path) -> None:
    """Write the page.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, _page(found))


def _page(found: Comparison) -> str:
    style = resources.files("loadgen_generic.report").joinpath(_STYLE).read_text("utf-8")
    letters = [side.letter for side in found.sides]
    parts = [
        f"<h1>{escape(found.scenario)}: {escape(', '.join(letters[1:]))} against A</h1>",
        *(_verdict(found, at) for at in range(len(found.against))),
        "<h2>The runs</h2>",
        _values_chart(found),
        _table(*side_rows(found), "Results"),
    ]
    if any(each.change is not None for each in found.against):
        parts += ["<h2>The change</h2>", _changes_chart(found)]
    columns, rows = latency_rows(found)
    if rows:
        parts += ["<h2>Latencies</h2>", _table(columns, rows, "Latencies")]
    if texts := warnings(found):
        items = "".join(f"<li>{escape(text)}</li>" for text in texts)
        parts += ["<h2>Warnings</h2>", f"<ul>{items}</ul>"]
    parts.append("<h2>What differs</h2>")
    if found.differences:
        differ = [(each.group, each.name, *each.values) for each in found.differences]
        parts.append(_table(("of", "what", *letters), differ, "What differs"))
    else:
        parts.append("<p>Nothing but the numbers.</p>")
    parts.append(f"<footer><p>{escape(_method(found))}</p></footer>")
    title = escape(verdict_sentence(found.against[0]))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _verdict(found: Comparison, at: int) -> str:
    each = found.against[at]
    remedy = f'<p class="remedy">Try next: {escape(each.remedy)}</p>' if each.remedy else ""
    style = each.verdict.replace(" ", "-")
    return f'<div class="verdict {style}"><p>{escape(verdict_sentence(each))}</p>{remedy}</div>'


def _values_chart(found: Comparison) -> str:
    measured = [side for side in found.sides if side.values]
    if not measured:
        return ""
    largest = max(value for side in measured for value in side.values)
    divisor, unit = 1.0, found.measure.unit
    if unit == "ns":
        divisor, unit = next((step for step in _SCALES if largest >= step[0]), (1.0, "ns"))
    strips = [
        Strip(
            side.letter,
            [
                (value / divisor, f"run {n}: {format_measured(value, found.measure.unit)}")
                for n, value in enumerate(side.values, 1)
            ],
            middle=side.median / divisor if side.median is not None else None,
        )
        for side in measured
    ]
    better = "More" if found.measure.higher_is_better else "Less"
    axis = f"{found.measure.name} ({unit})"
    caption = f"A dot is a run, the upright mark the median of a side. {better} is better."
    chart = strip_chart(strips, axis, f"{axis} of each run; the same figures are in the table.")
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _changes_chart(found: Comparison) -> str:
    strips = [
        Strip(
            each.letter,
            [(each.change.percent, f"{change_text(each.change)}; {interval_text(each.change)}")],
            span=each.change.interval,
            style=each.verdict if each.verdict in ("faster", "slower") else "",
        )
        for each in found.against
        if each.change is not None
    ]
    least = found.least_percent
    caption = (
        f"Right of 0 % is faster than A. The bar is the {100 * found.confidence:g} % interval; "
        f"a change within the band, {least:g} % either way, counts as none."
    )
    chart = strip_chart(
        strips,
        "change against A (%)",
        "Change against A in percent; the same figures are in the table.",
        zero=True,
        band=(-least, least),
    )
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """A table that scrolls by itself where it is too wide, also by keyboard."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _method(found: Comparison) -> str:
    return (
        "How: the change is the median over all pairs of a run of A and a run of the other, in "
        f"percent of A. The interval holds the true change in at least {100 * found.confidence:g} "
        "% of comparisons (rank-sum test). A result is called faster or slower if its interval "
        f"excludes no change and the change is at least {found.least_percent:g} %."
    )
