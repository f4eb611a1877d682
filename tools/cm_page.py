"""README.md, in the section order of CM's script pages, from `_cm.yaml` and the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cm_meta import SET_BY_VARIATION, cm_flag, default_of
from cm_usage import usage

from loadgen_generic.config import options
from loadgen_generic.option import choices

__all__ = ["page"]

Meta = Mapping[str, Any]

# What the variations of each group are for.
GROUPS = {
    "models": "which model, unless `--modelpath` names a file",
    "device": "where it runs",
    "backend": "what runs it",
    "loadgen": "where LoadGen comes from",
    "": "in addition to the above",
}
# What customize.py puts into new_env besides what the user gave.
RESULT_KEYS = (
    ("CM_MLPERF_RESULT_JSON", "path of `result.json`; LoadGen's own logs lie beside it"),
    ("CM_MLPERF_RESULT_VALID", "`yes` or `no`, by LoadGen's rules"),
    ("CM_MLPERF_RESULT_METRIC", "name of the headline metric of the scenario"),
    ("CM_MLPERF_RESULT_VALUE", "its value"),
    ("CM_MLPERF_RESULT_UNIT", "the unit of that value"),
)


def page(meta: Meta, transcript: str) -> str:
    """The whole page."""
    body = "\n".join(_body(meta))
    head = "\n".join(_head(meta, transcript))
    return f"{head}\n\n{_contents(body)}\n\n{body}\n"


def _tags(meta: Meta) -> str:
    return ",".join(meta["tags"])


def _head(meta: Meta, transcript: str) -> Iterator[str]:
    yield f"# {meta['alias']}"
    yield ""
    yield (
        "Measure any ONNX model the MLPerf way: LoadGen asks, ONNX Runtime answers, and you get "
        "a number that others can trust and repeat."
    )
    yield ""
    yield "```bash"
    yield "make run    # installs into .venv, then measures a ResNet-50 through CM"
    yield "make test   # all the tests"
    yield "```"
    if transcript:
        yield ""
        yield "```text"
        yield transcript.rstrip("\n")
        yield "```"
    yield ""
    yield (
        "*This page is generated from [_cm.yaml](_cm.yaml) and the schema of the options by "
        "`make docs`; edit those. What is measured, and how, is in "
        "[README-extra.md](README-extra.md).*"
    )


def _contents(body: str) -> str:
    lines = []
    for level, title in re.findall(r"^(###|####) (.+)$", body, re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        lines.append(f"{'  ' if level == '####' else ''}* [{title}](#{anchor})")
    return "\n".join(lines)


def _body(meta: Meta) -> Iterator[str]:
    yield from _description(meta)
    yield usage(meta)
    yield "___\n### Customization\n"
    yield from _variations(meta)
    yield from _flags()
    yield from _default_env(meta)
    yield from _workflow(meta)
    yield from _output(meta)
    yield "___\n### Maintainers\n"
    yield "The contributors of this repository. Report what goes wrong in its issues."


def _description(meta: Meta) -> Iterator[str]:
    yield "### Description\n"
    yield (
        "A CM script that runs one LoadGen test of one ONNX model: SingleStream, MultiStream, "
        "Server or Offline. It needs nothing but the model file; inputs are made from the "
        "model's signature. See [README-extra.md](README-extra.md).\n"
    )
    yield "#### Information\n"
    yield f"* Category: *{meta['category']}*"
    yield "* CM meta description of this script: *[_cm.yaml](_cm.yaml)*"
    yield f"* CM tags to find this script: *{_tags(meta)}*"
    yield f"* CM uid: *{meta['uid']}*"
    yield f"* Output cached?: *{bool(meta.get('cache', False))}*"


def _variations(meta: Meta) -> Iterator[str]:
    variations: Mapping[str, Meta] = meta["variations"]
    yield "#### Variations\n"
    for group in [*meta["variation_groups_order"], ""]:
        yield f'  * Group "**{group}**"' if group else "  * *No group*"
        yield f"    ({GROUPS[group]})"
        for name, variation in variations.items():
            if variation.get("group", "") == group:
                yield from _variation(name, variation)
        yield ""
    yield "#### Default variations\n"
    defaults = [name for name, variation in variations.items() if variation.get("default")]
    yield f"`{','.join('_' + name for name in sorted(defaults))}`\n"


def _variation(name: str, variation: Meta) -> Iterator[str]:
    label = ",".join("_" + part for part in name.split(","))
    yield f"    * **`{label}`** (default)" if variation.get("default") else f"    * `{label}`"
    for kind, title in (("env", ""), ("default_env", ", unless given")):
        for key, value in variation.get(kind, {}).items():
            yield f"      - *{key}*: `{value}`{title}"
    for dependency in variation.get("deps", []):
        yield from ("    " + line for line in _dependency(dependency))


def _flags() -> Iterator[str]:
    yield "#### Script flags mapped to environment\n"
    yield "Each flag is also a key of the Python API, and may be spelled with `-` for `_`.\n"
    group = ""
    for name, option, field in options():
        if not option.in_cm:
            continue
        if option.group != group:
            group = option.group
            yield f"\n**{group}**\n"
            yield "| Flag | Environment | Unit | Default | Meaning |"
            yield "|---|---|---|---|---|"
        default = default_of(field)
        shown = f"`{default}`" if default else ""
        if name in SET_BY_VARIATION:
            shown += ", or that of the device's variation"
        meaning = field.description or ""
        if option.scenarios:
            meaning += f" ({', '.join(option.scenarios)} only)"
        if choices(field):
            meaning += "; one of " + ", ".join(f"`{choice}`" for choice in choices(field))
        value = option.metavar or "value"
        cells = (f"`--{cm_flag(name, option)}={value}`", f"`{option.env}`", option.unit, shown)
        escaped = (cell.replace("|", r"\|") for cell in (*cells, meaning))
        yield f"| {' | '.join(escaped)} |"
    yield ""


def _default_env(meta: Meta) -> Iterator[str]:
    yield "#### Default environment\n"
    yield (
        "Keys of the environment can be set with `--env.KEY=VALUE`, in the `env` dictionary of "
        "an `@input.json`, or with the flags above.\n"
    )
    yield from (f"* {key}: `{value}`" for key, value in meta["default_env"].items())
    yield (
        "\nThe mode in force is `--execmode`, else a value of `CM_MLPERF_EXECUTION_MODE` other "
        "than this default, else `auto`: measured, the parallel mode makes most models slower."
    )


def _workflow(meta: Meta) -> Iterator[str]:
    yield "___\n### Script workflow, dependencies and native scripts\n"
    yield (
        "1. `predeps` in [customize.py](customize.py) checks the request and takes all values "
        "out of what CM writes into shell scripts.\n"
    )
    yield "1. Dependencies (`deps`):"
    for dependency in meta["deps"]:
        yield from _dependency(dependency)
    yield (
        "\n1. `preprocess` in [customize.py](customize.py) writes the request to a file and looks "
        "whether the Python packages are there; if they are, the next step is left out.\n"
    )
    yield "1. Dependencies right before the run (`prehook_deps`):"
    for dependency in meta["prehook_deps"]:
        yield from _dependency(dependency)
    yield (
        "\n1. [run.sh](run.sh) or [run.bat](run.bat) starts [src/main.py](src/main.py) on the "
        "request.\n"
    )
    yield (
        "1. `postprocess` in [customize.py](customize.py) hands the result, or the error, to the "
        "caller."
    )


def _dependency(dependency: Meta) -> Iterator[str]:
    yield f"   * {dependency['tags']}"
    conditions = [
        f"{key} == {' or '.join(map(str, values))}"
        for key, values in dependency.get("enable_if_env", {}).items()
    ]
    if conditions:
        yield f"     * `if ({' AND '.join(conditions)})`"
    if "version_max" in dependency:
        yield f"     * version {dependency['version_max']} at the most"
    for major in dependency.get("skip_if_any_env", {}).get("CM_LOADGEN_GENERIC_CUDA", ()):
        yield f"     * not with CUDA {major}"
    if "CM_ML_MODEL_FILE_WITH_PATH" in dependency.get("skip_if_env", {}):
        yield "     * not if a model file is named"
    if "names" in dependency:
        yield f"     * CM names: `--adr.{dependency['names']}...`"


def _output(meta: Meta) -> Iterator[str]:
    yield "___\n### Script output\n"
    yield "#### New environment keys (filter)\n"
    yield from (f"* `{key}`" for key in meta["new_env_keys"])
    yield "\n#### New environment keys auto-detected from customize\n"
    yield from (f"* `{key}`: {meaning}" for key, meaning in RESULT_KEYS)
    yield "\nNew state keys:\n"
    yield from (f"* `{key}`: the whole of `result.json`" for key in meta["new_state_keys"])
