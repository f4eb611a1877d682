"""The page itself: the form as HTML, with style, script and facts inside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from cm_meta import cm_flag
from cm_page import GROUPS

from generator.facts import facts
from loadgen_generic.config import options

__all__ = ["generator_page"]

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("values.js", "rules.js", "commands.js", "page.js")
# Open from the start; the rest is one click, or a word in the filter, away.
_OPEN = {"Model", "Test"}
_NO_MODEL = "a file, by <code>--modelpath</code>"


def generator_page(meta: Mapping[str, Any]) -> str:
    """docs/generator.html, for the parsed `_cm.yaml`."""
    known = facts(meta)
    described = {cm_flag(name, o): field.description or "" for name, o, field in options()}
    filled = {
        "style": _asset("page.css").strip(),
        "variations": "\n".join(_variations(known["groups"])),
        "flags": "\n".join(_flags(known["options"], described)),
        # "</" would end the script element.
        "facts": json.dumps(known, ensure_ascii=False).replace("</", "<\\/"),
        "script": "\n".join(_asset(name).strip() for name in _SCRIPTS),
    }
    page = _asset("page.html")
    for name, text in filled.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _variations(groups: Mapping[str, Any]) -> Iterator[str]:
    for group, known in groups.items():
        title = f"{group or 'more'}: {GROUPS[group].replace('`', '')}"
        yield f"<fieldset><legend>{escape(title)}</legend>"
        if group and not known["default"]:
            yield _radio(group, "", _NO_MODEL, checked=False)
        for name in known["names"]:
            if group:
                chosen = name == (known["default"] or "demo")
                yield _radio(group, name, f"<code>_{name}</code>", checked=chosen)
            elif name.endswith(".#"):
                yield _stub(name.removesuffix(".#"))
            else:
                yield (
                    f'<label class="choice"><input type="checkbox" name="_{name}" value="1" '
                    f'aria-describedby="e-_{name}"> <code>_{name}</code></label>'
                )
                yield _error(f"_{name}")
        if group:
            yield _error(f"_{group}")
        yield "</fieldset>"


def _radio(group: str, value: str, label: str, *, checked: bool) -> str:
    return (
        f'<label class="choice"><input type="radio" name="_{group}" value="{value}" '
        f'aria-describedby="e-_{group}"{" checked" if checked else ""}> {label}</label>'
    )


def _stub(name: str) -> str:
    return (
        f'<div class="option"><label for="f-_{name}"><code>_{name}.</code>ORG/NAME</label>'
        f'<input id="f-_{name}" name="_{name}" placeholder="ORG/NAME" spellcheck="false" '
        f'autocomplete="off" aria-describedby="e-_{name}">{_error(f"_{name}")}</div>'
    )


def _error(name: str) -> str:
    return f'<p class="error" id="e-{name}" hidden></p>'


def _flags(known: Mapping[str, Any], described: Mapping[str, str]) -> Iterator[str]:
    for group, members in groupby(known, key=lambda flag: known[flag]["group"]):
        opened = " open" if group in _OPEN else ""
        yield f'<details class="group"{opened}><summary>{group} <span class="count"></span>'
        yield f"</summary><fieldset><legend>{group}</legend>"
        for flag in members:
            yield _option(flag, known[flag], described[flag])
        yield "</fieldset></details>"


def _option(flag: str, entry: Mapping[str, Any], text: str) -> str:
    unit = f' <span class="unit">in {escape(entry["unit"])}</span>' if entry["unit"] else ""
    return (
        f'<div class="option" data-flag="{flag}">'
        f'<label for="f-{flag}"><code>--{flag}</code>{unit}</label>{_control(flag, entry)}'
        f'{_error(flag)}<p class="about" id="d-{flag}">{escape(text)}'
        f"<br><small>{escape(_limits(entry))}</small></p></div>"
    )


def _control(flag: str, entry: Mapping[str, Any]) -> str:
    common = f'id="f-{flag}" name="{flag}" aria-describedby="e-{flag} d-{flag}"'
    values = ["True", "False"] if entry["kind"] == "bool" else entry["choices"]
    if not values:
        mode = {"int": "numeric", "float": "decimal"}.get(entry["kind"], "text")
        hint = escape(entry["form"] or entry["default"])
        return (
            f'<input {common} inputmode="{mode}" placeholder="{hint}" spellcheck="false" '
            'autocomplete="off">'
        )
    left_open = f"not given ({entry['default']})" if entry["default"] else "not given"
    listed = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f'<select {common}><option value="">{left_open}</option>{listed}</select>'


def _limits(entry: Mapping[str, Any]) -> str:
    """Form, range, default and scenarios, as one line."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    parts = {"int": ["a whole number"], "float": ["a number"]}.get(entry["kind"], [])
    if entry["form"]:
        parts.append(f"as {entry['form']}")
    parts += [f"{word} {_plain(entry[bound])}" for bound, word in words.items() if bound in entry]
    if entry.get("auto"):
        parts.append("or auto")
    if entry["default"]:
        parts.append(f"default {entry['default']}")
    if entry["scenarios"]:
        parts.append(f"{', '.join(entry['scenarios'])} only")
    return "; ".join(parts)


def _plain(number: str) -> str:
    return f"{int(number):,}" if number.lstrip("-").isdigit() else f"{float(number):,.16g}"
