"""The bottom of the page: all that the run says of itself, folded away."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from loadgen_generic.report.page.markup import details, element, items, prose, table, text
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.glossary import GLOSSARY
from loadgen_generic.results.result import LoadGenSetting, Result

__all__ = ["glossary", "particulars"]

# What one looks for first; all else follows in its own order.
_FIRST = (
    "model_path",
    "scenario",
    "mode",
    "backend",
    "execution_provider",
    "runner",
    "concurrency",
    "intra_op_threads",
    "batch_size",
    "min_duration_ms",
    "min_query_count",
    "target_qps",
    "target_latency_ms",
    "loadgen_expected_qps",
    "loadgen_duration_sec",
)


def particulars(figures: Figures) -> str:
    """Configuration, LoadGen's settings, manifest, host, packages and notes."""
    blocks = []
    result = figures.result
    if result is not None:
        blocks.append(("Configuration that was asked for", _pairs(result.config.requested)))
        blocks.append(("Configuration in force", _pairs(result.config.effective)))
    if figures.settings:
        blocks.append(("LoadGen's settings", _settings(figures.settings)))
    if result is not None:
        blocks += _of(result)
    return "".join(details(title, content, "particular") for title, content in blocks if content)


def _of(result: Result) -> Iterator[tuple[str, str]]:
    if result.notes:
        yield "Notes of the run", items(result.notes)
    model = {
        "path": result.model.path,
        "sha256": result.model.sha256,
        "inputs": result.model.inputs,
        "outputs": result.model.outputs,
    }
    yield "Model", _pairs(model, "Model")
    yield "Conditions during the test", _pairs(result.conditions or {}, "Conditions")
    manifest = dict(result.manifest)
    if command := manifest.get("command_line"):
        manifest["command_line"] = shlex.join(map(str, command))
    yield "Manifest", _pairs(manifest, "Manifest")
    yield "Host", _pairs(result.host, "Host")
    yield "Packages", _pairs(result.packages, "Packages")
    yield "Files", _pairs({"directory": result.output_dir, **result.loadgen_logs}, "Files")


def _pairs(content: Mapping[str, Any], caption: str = "Configuration") -> str:
    first = [key for key in _FIRST if key in content]
    keys = [*first, *(key for key in content if key not in first)]
    rows = [row for key in keys for row in _flat(key, content[key])]
    return table(("name", "value"), rows, caption) if rows else ""


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", {}):
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _settings(settings: list[LoadGenSetting]) -> str:
    rows = [
        (
            each.key,
            "left to LoadGen" if each.requested is None else _plain(each.requested),
            "not logged" if each.effective is None else _plain(each.effective),
            _changed(each),
        )
        for each in settings
    ]
    return table(("setting", "requested", "in force", ""), rows, "LoadGen's settings")


def _changed(each: LoadGenSetting) -> str:
    known = each.requested is not None and each.effective is not None
    return "changed by LoadGen" if known and each.requested != each.effective else ""


def glossary() -> str:
    rows = "".join(
        element("div", element("dt", text(term)) + element("dd", prose(meaning)))
        for term, (_, meaning) in GLOSSARY.items()
    )
    return element("dl", rows, class_="glossary")
