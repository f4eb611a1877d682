"""The top of the page: what came out, whether it stands, what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

from loadgen_generic.report.devices import (
    POWER_SPREAD,
    computation_rows,
    computed_on,
    energy_rows,
)
from loadgen_generic.report.page.markup import element, facts, items, prose, text
from loadgen_generic.report.page.scale import amount
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.report.tuning import tuning_rows
from loadgen_generic.results.detail_log import ACCURACY_MODE, HEADLINES
from loadgen_generic.results.doubts import process_in_words
from loadgen_generic.results.result import Result
from loadgen_generic.results.telemetry import GpuSummary
from loadgen_generic.wording import format_beside, format_measured, format_value

__all__ = ["cards", "doubts", "next_step", "verdict"]

_PERCENTILES = ("min", "p50", "p90", "p95", "p97", "p99", "p99.9", "mean", "max")
_NAMES = {"min": "fastest", "mean": "mean", "max": "slowest", "p50": "median (p50)"}
# Runs of the same test differ by about this share, if nothing else is known.
_USUAL = 0.01
_ISO = "%Y-%m-%dT%H:%M:%S%z"
_OFFLINE = (
    "In Offline all samples are issued at once. The latency of a sample is the time from the "
    "start of the test to its answer, so these say how the test went on, not how fast a sample is."
)


def verdict(figures: Figures) -> str:
    """Colour, sign and word say the same."""
    other = "ACCURACY" if figures.mode == ACCURACY_MODE else "NOT JUDGED"
    sign, word, css = {
        True: ("\u2713", "VALID", "valid"),
        False: ("\u2717", "INVALID", "invalid"),
        None: ("\u25c6", other, "neutral"),
    }[figures.valid]
    metric = figures.metric
    badge = element(
        "p",
        element("span", sign, aria_hidden="true") + " " + word,
        class_="badge",
    )
    number = element(
        "p",
        text(_headline(figures)),
        id="headline",
        data_value=repr(metric.value),
        data_unit=metric.unit,
        data_name=metric.name,
    )
    inner = (
        badge + number + element("p", text(_what(figures) + _of_several(figures)), class_="what")
    )
    if figures.result is not None and (words := computed_on(figures.result)):
        inner += element("p", text(f"Computed on {words}"), id="computed-on")
    if figures.result is not None and figures.result.tuning is not None:
        inner += element("p", prose(figures.result.tuning.sentence), id="tuned", class_="sentence")
    inner += element("p", prose(figures.verdict), class_="sentence")
    if figures.valid is False and len(figures.reasons) > 1:
        inner += element("h3", "Why it is not valid") + items(figures.reasons)
    return element(
        "section", inner, id="verdict", class_=css, aria_label="Verdict and headline number"
    )


def _headline(figures: Figures) -> str:
    """With the digits that repeated runs support, if there are any. Early stopping logs 0 for a
    latency that it cannot estimate."""
    metric = figures.metric
    if not math.isfinite(metric.value) or (metric.unit == "ns" and not metric.value):
        return "no estimate"
    return amount(metric.value, metric.unit, _spread(figures))


def _spread(figures: Figures) -> float:
    repeat = figures.result.repeat if figures.result else None
    return repeat.spread if repeat is not None and repeat.spread else _USUAL


def _what(figures: Figures) -> str:
    """What the headline is of."""
    headline = HEADLINES.get(figures.scenario)
    if headline is None or headline.key != figures.metric.name:
        name = figures.metric.name.replace("top_1", "top-1").replace("_", " ")
        return f"{name}, {figures.scenario}"
    if figures.scenario in ("SingleStream", "MultiStream") and figures.percentile is not None:
        return (
            f"{figures.scenario} {headline.label}, {figures.percentile:g}th percentile "
            "as LoadGen's early stopping estimates it; lower is better"
        )
    better = "higher" if headline.higher_is_better else "lower"
    bound = ""
    if figures.bound_ns and figures.percentile is not None:
        reached = figures.latency_ns.get(f"p{figures.percentile:g}")
        limit = format_value(figures.bound_ns, "ns")
        bound = f" under a bound of {limit} on the {figures.percentile:g}th percentile of latency"
        if reached:
            bound += f", which was {format_beside(reached, figures.bound_ns, 'ns')}"
    return f"{figures.scenario} {headline.label}{bound}; {better} is better"


def _of_several(figures: Figures) -> str:
    """A result of repeated runs is that of one of them."""
    repeat = figures.result.repeat if figures.result else None
    if repeat is None:
        return ""
    median = amount(repeat.median, figures.metric.unit, _spread(figures))
    return f"; this is the run nearest to the median of {repeat.runs} runs, {median}"


def next_step(figures: Figures) -> str:
    """The command to try next, and those that repeat the answer of a search."""
    commands = []
    if figures.next_command:
        commands.append(("Try next", figures.next_command))
    search = figures.result.search if figures.result else None
    if search is not None and search.command:
        commands.append(("Run the answer of the search again", search.command))
    tuning = figures.result.tuning if figures.result else None
    if tuning is not None:
        commands.append(("Run the winner again", tuning.command))
        commands.append(("Run the winner again through CM", tuning.cm_command))
    return "".join(_command(f"command-{i}", *each) for i, each in enumerate(commands))


def _command(identity: str, title: str, command: str) -> str:
    words = " ".join(element("span", text(w), class_="whole") for w in command.split(" "))
    code = element("pre", element("code", words, id=identity), tabindex="0")
    button = element(
        "button",
        "Copy",
        type="button",
        class_="copy",
        data_copies=identity,
        aria_label=f"Copy the command: {title}",
    )
    return element("section", element("h2", text(title)) + code + button, class_="command")


def doubts(figures: Figures) -> str:
    result = figures.result
    if result is None or not result.doubts:
        return ""
    title = '<h2><span aria-hidden="true">\u26a0</span> Why the number may be doubtful</h2>'
    return element("section", title + items(result.doubts), class_="doubts")


def cards(figures: Figures) -> str:
    """Blocks of facts."""
    blocks = []
    if figures.result is not None and (tuning := figures.result.tuning) is not None:
        rows = [*tuning_rows(tuning), ("options of the winner", tuning.config_file)]
        blocks.append(_card("Tuning", facts([*rows, ("all trials", tuning.file)])))
    names = [name for name in _PERCENTILES if name in figures.latency_ns]
    if names:
        inner = facts(
            (_NAMES.get(name, name), format_measured(figures.latency_ns[name], "ns"))
            for name in names
        )
        if figures.scenario == "Offline":
            inner += element("p", text(_OFFLINE), class_="note")
        unit = "sample" if figures.scenario == "Offline" else "query"
        blocks.append(_card(f"Latency of a {unit}", inner))
    blocks.append(_card("Test", facts(_test(figures))))
    if figures.result is not None:
        blocks.append(_card("Run by", facts(_run_by(figures.result))))
        seen = _seen(figures.result)
        if seen:
            blocks.append(_card("Seen meanwhile", facts(seen)))
    return element("div", "".join(blocks), class_="cards")


def _card(title: str, content: str) -> str:
    return element("section", element("h3", text(title)) + content, class_="card")


def _test(figures: Figures) -> list[tuple[str, str]]:
    rows = [
        ("model", figures.model or "not told"),
        ("scenario", figures.scenario),
        ("mode", figures.mode),
        ("started", _clock(figures.started_at) or "not told"),
        ("duration", format_measured(1e9 * figures.duration_s, "ns")),
        ("queries", f"{figures.queries:,}"),
        ("samples", f"{figures.samples:,}"),
    ]
    result = figures.result
    if result and result.verification:
        rows.append(("answers", result.verification.sentence))
    if result and result.accuracy and result.accuracy.top_1 is not None:
        accuracy = result.accuracy
        share = f"{100 * (accuracy.top_1 or 0):.4g} %"
        rows.append(("top-1", f"{share}, {accuracy.correct:,} of {accuracy.judged:,} samples"))
    return rows


def _clock(moment: str) -> str:
    """With places to break the line at."""
    try:
        return datetime.strptime(moment, _ISO).strftime("%Y-%m-%d %H:%M:%S %z")
    except ValueError:  # another program's
        return moment


def _run_by(result: Result) -> list[tuple[str, str]]:
    effective = result.config.effective
    rows = [("provider", ", ".join(result.providers) or "none"), *computation_rows(result)]
    for name, key, unit in (
        ("runner", "runner", ""),
        ("workers", "concurrency", ""),
        ("intra-op threads each", "intra_op_threads", ""),
        ("batch", "batch_size", " sample(s)"),
        ("chosen", "runner_reason", ""),
    ):
        if effective.get(key) is not None:
            rows.append((name, f"{effective[key]}{unit}"))
    for name, key in (("CPU", "cpu"), ("cores", "cores_available")):
        if result.host.get(key):
            rows.append((name, str(result.host[key])))
    return rows


_GPU = {
    "utilisation_percent": (", busy", "%"),
    "memory_bytes": (", memory", "bytes"),
    "power_w": (", power", "W"),
    "clock_mhz": (", clock", "MHz"),
    "temperature_c": (", temperature", "°C"),
}


def _of_gpu(gpu: GpuSummary, number: int) -> Iterator[tuple[str, str]]:
    used = {True: " (used)", False: " (not used)", None: ""}[gpu.used]
    yield f"GPU {number}", f"{gpu.name}{used}"
    for key, (name, unit) in _GPU.items():
        if (value := getattr(gpu, key)) is not None:
            yield f"GPU {number}{name}", amount(value, unit)
    if gpu.energy_j is not None:
        yield f"GPU {number}, energy", amount(gpu.energy_j, "J", POWER_SPREAD)
    if gpu.held_back_by is not None:
        shares = [f"{name} {100 * part:.0f} %" for name, part in gpu.held_back_shares.items()]
        yield f"GPU {number}, held back by", ", ".join(shares) or gpu.held_back_by
    for process in gpu.other_processes:
        yield f"GPU {number}, another process", process_in_words(process)
    if gpu.lost is not None:
        yield f"GPU {number}, stopped answering", gpu.lost


def _seen(result: Result) -> list[tuple[str, str]]:
    """What telemetry says, and what watching cost."""
    seen = result.telemetry
    if seen is None:
        return []
    rows = []
    if seen.peak_memory_bytes is not None:
        rows.append(("peak memory", amount(seen.peak_memory_bytes, "bytes")))
    if seen.mean_cpu_share is not None:
        rows.append(("CPU, mean", format_measured(100 * seen.mean_cpu_share, "%")))
    if seen.context_switches_per_s is not None:
        rows.append(
            ("context switches", format_measured(seen.context_switches_per_s, "per second"))
        )
    rows += energy_rows(seen)
    for place, gpu in enumerate(seen.gpus):
        rows += _of_gpu(gpu, place if gpu.number is None else gpu.number)
    cost = format_measured(100 * seen.own_cpu_share, "% of one core", spread=0.1)
    return [*rows, ("cost of watching", cost)]
