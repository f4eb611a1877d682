"""What a run computed on and in, as rows of names and words, the same wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loadgen_generic.results.cluster import cluster_in_words
from loadgen_generic.results.computation import computation_of, provider_name
from loadgen_generic.results.devices import shares_in_words
from loadgen_generic.results.phases import Phases
from loadgen_generic.results.result import Result
from loadgen_generic.results.telemetry import GpuEnergy, TelemetrySummary
from loadgen_generic.wording import format_measured

__all__ = [
    "POWER_SPREAD",
    "computation_rows",
    "computed_on",
    "energy_rows",
    "gpu_rows",
    "phases_of",
]

_HERE = "this Python"
_MOST_KINDS = 8
_SPREAD = 0.05  # of a phase, between two passes
# NVIDIA states it for older cards, and nothing for newer ones.
POWER_SPREAD = 0.05
_SOURCES = {
    "counter": "by the cards' own counters",
    "power": "summed over the power that was read",
    "both": "by some cards' counters and the power that was read of others",
}


def computed_on(result: Result) -> str:
    """Beside the number; empty for the CPU provider at the model's own precision."""
    return str(computation_of(result.config.requested, result.config.effective))


def computation_rows(result: Result) -> Iterator[tuple[str, str]]:
    """Name and words; nothing of what goes without saying, nor what stands beside the number."""
    effective = result.config.effective
    if words := _operators(effective):
        yield "operators", words
    if words := _environment(effective.get("environment")):
        yield "measured under", words
    shares = cluster_in_words(result.cluster) if result.cluster is not None else []
    for words in [*shares, *shares_in_words(result.devices or [])]:
        yield "answered by", words.removeprefix("answered by ")
    if (phases := result.phases) is not None:
        each = (
            f"{name} {format_measured(1e3 * us, 'ns', _SPREAD)}" for name, us in phases_of(phases)
        )
        size = "a sample" if phases.batch_size == 1 else f"a batch of {phases.batch_size} samples"
        yield "inference", f"{', '.join(each)} for {size}, one worker alone after the test"


def phases_of(phases: Phases) -> list[tuple[str, float]]:
    """What an inference spends on each of its phases, in us, in their order."""
    each = (
        ("network", phases.network_us),
        ("queue", phases.queue_us),
        ("copy in", phases.copy_in_us),
        ("compute", phases.compute_us),
        ("copy out", phases.copy_out_us),
    )
    return [(name, us) for name, us in each if us is not None]


def energy_rows(telemetry: TelemetrySummary | None) -> Iterator[tuple[str, str]]:
    """The energy of the cards that were used, if that is known."""
    if telemetry is None or telemetry.gpu_energy is None:
        return
    found = telemetry.gpu_energy
    yield "energy", f"{_joules(found.energy_j)} on {_cards(found)}, {_SOURCES[found.source]}"
    each = f"{_joules(found.per_sample_j)} a sample"
    if found.per_sample_j > 0:
        each += f", {format_measured(1 / found.per_sample_j, 'samples/J', POWER_SPREAD)}"
    yield "energy each", each


def gpu_rows(telemetry: TelemetrySummary | None) -> Iterator[tuple[str, str]]:
    """One row for each GPU that was used, or may have been, and its energy."""
    for gpu in telemetry.gpus if telemetry is not None else []:
        if gpu.used is False:
            continue
        read = (
            (gpu.utilisation_percent, 1.0, "% busy"),
            (gpu.memory_bytes, 2.0**30, "GiB"),
            (gpu.power_w, 1.0, "W"),
            (gpu.clock_mhz, 1.0, "MHz"),
            (gpu.temperature_c, 1.0, "°C"),
        )
        means = [
            format_measured(value / factor, unit)
            for value, factor, unit in read
            if value is not None
        ]
        name, _, kind = gpu.name.partition(", ")
        yield name, ", ".join([kind, *means])
    yield from energy_rows(telemetry)


def _joules(value: float) -> str:
    for factor, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ")):
        if value >= factor:
            return format_measured(value / factor, unit, POWER_SPREAD)
    return format_measured(value, "J", POWER_SPREAD)


def _cards(found: GpuEnergy) -> str:
    return f"GPU {', '.join(map(str, found.gpus))}"


def _operators(effective: Mapping[str, Any]) -> str:
    """Where the operators landed, and which ones not where they were asked to."""
    counts: Mapping[str, int] = effective.get("operators") or {}
    elsewhere: Mapping[str, int] = effective.get("operators_elsewhere") or {}
    if not counts or (len(counts) == 1 and not elsewhere and "CPUExecutionProvider" in counts):
        return ""
    text = ", ".join(f"{count:,} on {provider_name(name)}" for name, count in counts.items())
    if not elsewhere:
        return text
    kinds = sorted(elsewhere.items(), key=lambda item: -item[1])
    named = [f"{kind} {count:,}" for kind, count in kinds[:_MOST_KINDS]]
    if len(kinds) > _MOST_KINDS:
        named.append(f"{len(kinds) - _MOST_KINDS} other kinds")
    return f"{text}; not where asked: {', '.join(named)}"


def _environment(told: object) -> str:
    """Which interpreter measured, if it was another one than the command's."""
    if not isinstance(told, Mapping) or told.get("name") in (None, _HERE):
        return ""
    return f"environment {told['name']}: {told.get('package')}, {told.get('python')}"
