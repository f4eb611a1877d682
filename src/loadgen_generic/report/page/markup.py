"""Pieces of HTML; whatever comes from outside is escaped here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

__all__ = ["asset", "details", "element", "embedded", "facts", "items", "prose", "table", "text"]

_OPTION = re.compile(r"\(?--\w+[).,;]*")


def text(value: object) -> str:
    return escape(str(value), quote=True)


def prose(value: object) -> str:
    """Text in which a line does not end inside the name of an option."""
    return _OPTION.sub(r'<span class="whole">\g<0></span>', text(value))


def items(values: Iterable[object]) -> str:
    return element("ul", "".join(element("li", prose(value)) for value in values))


def element(name: str, content: str, **attributes: str) -> str:
    """Content is HTML, attributes are text; an underscore in a name stands for a hyphen, and one
    at its end for nothing."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{given}>{content}</{name}>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A table that scrolls inside itself where it is wider than the page; by keyboard as well."""
    head = "".join(element("th", text(column), scope="col") for column in columns)
    body = "".join(
        element("tr", "".join(element("td", text(cell)) for cell in row)) for row in rows
    )
    inner = (
        element("caption", text(caption))
        + element("thead", element("tr", head))
        + element("tbody", body)
    )
    return element(
        "div",
        element("table", inner),
        class_="scrolls",
        role="region",
        tabindex="0",
        aria_label=caption,
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    inner = "".join(
        element("div", element("dt", text(name)) + element("dd", text(value)))
        for name, value in pairs
    )
    return element("dl", inner, class_="facts")


def details(summary: str, content: str, class_: str) -> str:
    return element("details", element("summary", text(summary)) + content, class_=class_)


def embedded(content: object) -> str:
    """JSON that cannot end the script element it stands in."""
    written = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return written.replace("<", "\\u003c")


def asset(name: str) -> str:
    folder = resources.files("loadgen_generic.report.page") / "assets"
    return (folder / name).read_text(encoding="utf-8")
