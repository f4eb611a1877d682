"""A report as text, as rows of a table, and as a document for programs.

Versions of the document: 1 first version.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadgen_generic.report.devices import computation_rows, computed_on, gpu_rows
from loadgen_generic.report.reading import Figures
from loadgen_generic.report.tuning import best_first, candidate_table, tuning_rows, worth_in_words
from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.glossary import explain
from loadgen_generic.results.record import Record
from loadgen_generic.results.result import Metric, Result
from loadgen_generic.results.tuning import Tuning
from loadgen_generic.wording import format_beside, format_measured, format_value

__all__ = ["DOCUMENT_VERSION", "document", "markdown", "table"]

DOCUMENT_VERSION = 1
_LATENCIES = ("min", "mean", "p50", "p90", "p95", "p97", "p99", "p99.9", "max")


def document(figures: Figures) -> dict[str, Any]:
    """Everything that a report shows, with the bins of its charts, for ``json.dumps``."""
    return {"schema_version": DOCUMENT_VERSION, **_plain(figures)}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def table(runs: Sequence[Figures]) -> str:
    """Comma-separated: a line of names with units, and a line for each run."""
    names = {name for each in runs for name in each.latency_ns}
    rows = [_row(each, _in_order({*_LATENCIES, *names})) for each in runs]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _in_order(latencies: Iterable[str]) -> list[str]:
    """From the least to the most."""

    def place(name: str) -> float:
        return {"min": -2.0, "mean": -1.0, "max": 200.0}.get(name) or float(name[1:])

    return sorted(latencies, key=place)


def _row(figures: Figures, latencies: Sequence[str]) -> dict[str, object]:
    """None stands for what does not apply, and becomes an empty cell."""
    result, metric = figures.result, figures.metric
    telemetry = result.telemetry if result is not None else None
    doubts = result.doubts if result is not None else []

    def in_unit(unit: str) -> float | None:
        return metric.value if metric.unit == unit and not _no_estimate(metric) else None

    return {
        "directory": str(figures.directory),
        "model": figures.model,
        "model_sha256": result.model.sha256 if result is not None else None,
        "scenario": figures.scenario,
        "mode": figures.mode,
        "started_at": figures.started_at,
        "result": _judged(figures.valid),
        "reasons": "; ".join(figures.reasons),
        "doubts": "; ".join(doubts),
        "metric": metric.name,
        "throughput_samples_per_s": in_unit("samples/s"),
        "reported_latency_ns": in_unit("ns"),
        "top_1_accuracy_percent": in_unit("%"),
        "reported_percentile_percent": figures.percentile,
        "latency_bound_ns": figures.bound_ns,
        "samples_count": figures.samples,
        "queries_count": figures.queries,
        "duration_s": figures.duration_s,
        **{
            f"latency_{name.replace('.', '_')}_ns": figures.latency_ns.get(name)
            for name in latencies
        },
        "peak_memory_bytes": telemetry.peak_memory_bytes if telemetry is not None else None,
        "mean_cpu_share_percent": (
            100 * telemetry.mean_cpu_share
            if telemetry is not None and telemetry.mean_cpu_share is not None
            else None
        ),
        **_computed(result),
        "host": result.host.get("name") if result is not None else None,
        "processor": result.host.get("cpu") if result is not None else None,
    }


def _computed(result: Result | None) -> dict[str, object]:
    config = result.config if result is not None else None
    found = computation_of(config.requested, config.effective) if config is not None else None
    energy = result.telemetry.gpu_energy if result is not None and result.telemetry else None
    return {
        "provider": found.provider if found is not None else None,
        "precision": found.precision if found is not None else None,
        "cards_count": found.cards if found is not None else None,
        "data_location": found.data_location if found is not None else None,
        "gpu_energy_j": energy.energy_j if energy is not None else None,
        "gpu_energy_per_sample_j": energy.per_sample_j if energy is not None else None,
    }


def _no_estimate(metric: Metric) -> bool:
    """LoadGen logs 0 where there were too few queries to estimate a percentile of latency."""
    return metric.unit == "ns" and not metric.value


def _judged(valid: bool | None) -> str:
    return {True: "VALID", False: "INVALID", None: ""}[valid]


def markdown(figures: Figures) -> str:
    """For people: verdict, headline, latencies, how it was run, and what is doubtful."""
    parts = [
        f"# {figures.model or 'LoadGen run'}, {figures.scenario}",
        figures.verdict,
        _rows(_headline(figures)),
    ]
    if figures.next_command:
        parts.append(f"Try next:\n\n    {figures.next_command}")
    if figures.result is not None and figures.result.tuning is not None:
        parts += _tuned(figures.result.tuning)
    if figures.latency_ns:
        per = "sample" if figures.scenario == "Offline" else "query"
        measured = [
            (name, format_measured(figures.latency_ns[name], "ns"))
            for name in _in_order(figures.latency_ns)
        ]
        parts += [f"## Latency of a {per}", _rows(measured, ("percentile", "latency"))]
    if figures.result is not None:
        parts += ["## Run by", _rows(_run_by(figures.result))]
        parts += _listed("Doubtful", figures.result.doubts)
        parts += _listed("Notes", figures.result.notes)
    parts += _listed("Not in this report", figures.missing)
    terms = explain(figures.verdict)
    parts += _listed("In other words", [f"{term}: {text}" for term, text in terms.items()])
    return "\n\n".join(parts) + "\n"


def _tuned(found: Tuning) -> Iterator[str]:
    """The answer, how to run it, and every candidate."""
    yield f"## Tuning\n\n{found.sentence}"
    files = [("options of the winner", found.config_file), ("all trials", found.file)]
    yield _rows([*tuning_rows(found), *files])
    yield f"The winner again:\n\n    {found.command}\n\n    {found.cm_command}"
    yield "## Candidates"
    yield _grid(*candidate_table(found, best_first(found)))
    yield from _listed("What each choice was worth", list(map(worth_in_words, found.worth)))
    yield from _listed("Left out", [f"{each.what}: {each.why}" for each in found.left_out])


def _headline(figures: Figures) -> Iterator[tuple[str, str]]:
    metric = figures.metric
    headline = HEADLINES[figures.scenario]
    own = metric.name == headline.key
    text = format_value(metric.value, metric.unit)
    if _no_estimate(metric):
        text = "no estimate"
    elif own:
        text = format_measured(metric.value, metric.unit, _spread(figures.result))
    yield headline.label if own else metric.name.replace("_", " "), text
    if figures.result is not None and (words := computed_on(figures.result)):
        yield "computed on", words
    if figures.percentile is not None:
        yield "percentile", f"{figures.percentile:g} %"
        reached = figures.latency_ns.get(f"p{figures.percentile:g}")
        if figures.bound_ns and reached is not None:
            yield "its latency", format_beside(reached, figures.bound_ns, "ns")
    if figures.bound_ns:
        yield "latency bound", format_value(figures.bound_ns, "ns")
    yield "samples", f"{figures.samples:,}"
    yield "queries", f"{figures.queries:,}"
    yield "duration", f"{figures.duration_s:.1f} s" if figures.duration_s else "not logged"
    yield "started at", figures.started_at or "not logged"
    yield "directory", str(figures.directory)


def _spread(result: Result | None) -> float:
    """How far the headline may be off, as a share of it."""
    return result.repeat.spread if result is not None and result.repeat is not None else 0.01


def _run_by(result: Result) -> Iterator[tuple[str, str]]:
    effective = result.config.effective
    yield "runner", f"{effective.get('runner')}, {_plural(effective.get('concurrency'), 'worker')}"
    if (threads := effective.get("intra_op_threads")) is not None:
        yield "intra-op threads", f"{threads} each"
    yield "batch", _plural(effective.get("batch_size"), "sample")
    yield "execution providers", ", ".join(result.providers) or "none"
    yield from computation_rows(result)
    yield from gpu_rows(result.telemetry)
    yield (
        "processor",
        f"{result.host.get('cpu')}, {_plural(result.host.get('cores_available'), 'core')}",
    )
    yield "packages", ", ".join(f"{name} {version}" for name, version in result.packages.items())
    if result.repeat is not None:
        low, high = (
            format_measured(value, result.metric.unit, result.repeat.spread)
            for value in result.repeat.interval
        )
        yield "repeated", f"{result.repeat.runs} runs"
        yield f"{100 * result.repeat.confidence:g} % interval", f"{low} to {high}"
        yield "spread", f"{100 * result.repeat.spread:.2g} %"
    if result.search is not None:
        yield "search", result.search.sentence
    if result.verification is not None:
        yield "answers", result.verification.sentence
    if (conditions := result.conditions) is not None:
        yield "own share of the processors", f"{100 * conditions['own_cpu_share']:.2g} %"
        yield "other processes' share", f"{100 * conditions['other_cpu_share']:.2g} %"


def _plural(count: object, noun: str) -> str:
    return f"{'-' if count is None else count} {noun}" + "s" * (count != 1)


def _rows(
    rows: Iterator[tuple[str, str]] | Sequence[tuple[str, str]], names: tuple[str, str] = ("", "")
) -> str:
    return _grid(names, rows)


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """A bar ends a cell, and so does the end of the line."""
    return " ".join(text.replace("|", "\\|").split())


def _listed(title: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    return [f"## {title}", "\n".join(f"- {' '.join(each.split())}" for each in sentences)]
