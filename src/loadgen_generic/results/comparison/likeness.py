"""What is not alike in results that are compared: refused, warned about, or listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadgen_generic.errors import RequestError
from loadgen_generic.results.comparison.records import Difference
from loadgen_generic.results.comparison.subjects import Subject
from loadgen_generic.results.result import Result

__all__ = ["check_comparable", "differences", "warnings_about"]

_NONE = "-"
# In the configuration: where a run wrote to, how it watched itself, and what follows from the
# machine or from how fast a short probe was.
_NO_MATTER = {
    "runner_reason",
    "output_dir",
    "repeat",
    "stall_timeout_sec",
    "last_level_cache_bytes",
    "sample_pool_bytes",
    "loadgen_expected_qps",
    "save_outputs",
    "model_path",
    "engine_build_sec",
    "environment",  # its packages and its Python are listed by themselves
}
_HOST = (
    "name",
    "cpu",
    "cores_available",
    "cores_logical",
    "memory_bytes",
    "governor",
    "system",
    "python",
)
_SAME_MACHINE = ("name", "cpu", "cores_available")


def check_comparable(first: Subject, other: Subject) -> None:
    """Refuse what has no common measure.

    Raises:
        RequestError: which says what is different.
    """
    for name, (left, right) in {
        "scenario": (first.result.scenario, other.result.scenario),
        "mode": (first.result.mode, other.result.mode),
        "measure": (_in_words(first), _in_words(other)),
        **{name: tuple(_of(each, name) for each in (first, other)) for name in _kept(first)},
    }.items():
        if left != right:
            raise RequestError(
                f"the {name} is not the same: {left} in {first.path}, {right} in {other.path}.",
                remedy="Compare results of tests that ask for the same number.",
            )


def differences(subjects: Sequence[Subject]) -> list[Difference]:
    """Everything that may matter and is not the same in all."""
    described = [dict(_described(subject.result)) for subject in subjects]
    keys = dict.fromkeys(key for each in described for key in each)
    rows = [
        Difference(
            group=group, name=name, values=[each.get((group, name), _NONE) for each in described]
        )
        for group, name in keys
    ]
    return [row for row in rows if len(set(row.values)) > 1]


def warnings_about(letters: tuple[str, str], first: Subject, other: Subject) -> list[str]:
    """Why a verdict on the two may be about something else than what the user has in mind."""
    found = []
    models = [each.result.model for each in (first, other)]
    # Of a model on a server only the name is known.
    if len({each.sha256 or Path(each.path).name for each in models}) > 1:
        found.append(f"{letters[0]} and {letters[1]} are of different models")
    hosts = [each.result.host for each in (first, other)]
    changed = [name for name in _SAME_MACHINE if hosts[0].get(name) != hosts[1].get(name)]
    if changed:
        found.append(
            f"{letters[0]} and {letters[1]} were measured on different machines "
            f"({', '.join(map(_spelled, changed))}), so the difference may be theirs"
        )
    if unlike := first.computation.unlike(other.computation):
        found.append(
            f"{letters[0]} and {letters[1]} were computed on or in something else "
            f"({', '.join(unlike)}), so the difference may be its"
        )
    for letter, subject in zip(letters, (first, other), strict=True):
        if subject.result.valid is False:
            reasons = "; ".join(subject.result.invalid_reasons)
            found.append(f"{letter} is INVALID" + (f": {reasons}" if reasons else ""))
        if subject.runs_missing:
            found.append(
                f"the single runs of {letter} cannot be read ({subject.runs_missing}), so its "
                "latencies are those of one run"
            )
        found += [f"{letter} is doubtful: {doubt}" for doubt in subject.result.doubts]
    return found


def _in_words(subject: Subject) -> str:
    return f"{subject.measure.name} in {subject.measure.unit}"


def _kept(subject: Subject) -> tuple[str, ...]:
    """Options that say what the number is of."""
    return {
        "SingleStream": ("target_latency_percentile",),
        "MultiStream": ("target_latency_percentile", "samples_per_query"),
    }.get(subject.result.scenario if subject.result.search is None else "", ())


def _of(subject: Subject, option: str) -> Any:
    return subject.result.config.effective.get(option)


def _described(result: Result) -> Iterator[tuple[tuple[str, str], str]]:
    """(group, name) and the value in words."""
    yield ("model", "file"), Path(result.model.path).name or _NONE
    yield ("model", "SHA-256"), result.model.sha256[:16] or _NONE
    yield ("model", "inputs"), _text(result.model.inputs)
    yield ("model", "outputs"), _text(result.model.outputs)
    for name, value in result.config.effective.items():
        if name not in _NO_MATTER:
            yield from _pairs("settings", name, value)
    yield ("settings", "execution providers"), _text(result.providers)
    for name in _HOST:
        yield ("machine", _spelled(name)), _text(result.host.get(name))
    for name, version in result.packages.items():
        yield ("packages", name), version
    for name, value in result.manifest.get("environment", {}).items():
        if not name.startswith("LOADGEN_GENERIC_"):  # where things are kept
            yield ("environment", name), str(value)
    git = result.manifest.get("git") or {}
    for name, state in git.items():
        if state:
            changed = " with changes" if state.get("changed") else ""
            yield ("checkouts", name), f"{str(state['commit'])[:12]}{changed}"


def _pairs(group: str, name: str, value: Any) -> Iterator[tuple[tuple[str, str], str]]:
    """A mapping gives a row for each of its keys, so that a long one does not hide what differs."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (group, f"{name} {key}"), _text(item)
    else:
        yield (group, name), _text(value)


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _spelled(name: str) -> str:
    return {"cpu": "processor", "name": "host", "python": "Python"}.get(
        name, name.replace("_bytes", " (bytes)").replace("_", " ")
    )
