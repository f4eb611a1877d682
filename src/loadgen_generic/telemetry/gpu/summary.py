"""What a result says of the GPUs, from what was seen of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadgen_generic.provider_facts import facts_of
from loadgen_generic.results.telemetry import GpuEnergy, GpuSummary
from loadgen_generic.telemetry.gpu.driver import Card, Driver
from loadgen_generic.telemetry.gpu.energy import energy_between
from loadgen_generic.telemetry.gpu.reader import SeenGpu
from loadgen_generic.telemetry.gpu.used import used_cards

__all__ = ["GpusOfTest", "gpus_of_test", "lost_in_words"]


@dataclass(frozen=True, slots=True)
class GpusOfTest:
    """As in :class:`TelemetrySummary`; ``notes`` are for the user."""

    gpus: list[GpuSummary]
    energy: GpuEnergy | None
    notes: list[str]


def gpus_of_test(
    driver: Driver | None,
    seen: Sequence[SeenGpu],
    effective: Mapping[str, Any],
    begin_ns: int,
    duration_ns: int,
    samples: int,
) -> GpusOfTest:
    """
    Args:
        effective: the configuration in force.
        begin_ns: when the first query was issued, by ``time.perf_counter``.
        samples: answered in the test.
    """
    if driver is None or not seen:
        on_cards = facts_of(str(effective.get("execution_provider", ""))).cards
        why = driver.why_none if driver is not None and on_cards else ""
        return GpusOfTest([], None, [f"telemetry has no GPUs: {why}"] if why else [])
    ours = [each.card.number for each in seen if each.ours]
    used = used_cards(driver, effective, os.environ, ours)
    # The two clocks are one on Linux, and elsewhere of one pace.
    begin_s = begin_ns / 1e9 + time.monotonic() - time.perf_counter()
    gpus = []
    for each in seen:
        energy = energy_between(each.energy, begin_s, begin_s + duration_ns / 1e9)
        gpus.append(
            GpuSummary(
                name=f"GPU {each.card.number}, {each.card.name}",
                utilisation_percent=each.means["utilisation_percent"],
                memory_bytes=each.means["memory_bytes"],
                power_w=each.means["power_w"],
                clock_mhz=each.means["clock_mhz"],
                temperature_c=each.means["temperature_c"],
                held_back_by=", ".join(each.held_back) or None,
                number=each.card.number,
                used=None if used.numbers is None else each.card.number in used.numbers,
                energy_j=None if energy is None else round(energy, 3),
                held_back_shares={name: round(share, 4) for name, share in each.held_back.items()},
                other_processes=each.others,
                unnamed_processes=each.unnamed,
                lost=each.card.lost or None,
            )
        )
    notes = lost_in_words(each.card for each in seen)
    return GpusOfTest(
        gpus, _energy(gpus, seen, samples), [*notes, *([used.assumed] if used.assumed else [])]
    )


def lost_in_words(cards: Iterable[Card]) -> list[str]:
    """Which cards stopped answering, and why."""
    return [
        f"GPU {card.number}, {card.name}, does not answer its driver any more: {card.lost}"
        for card in cards
        if card.lost
    ]


def _energy(gpus: Sequence[GpuSummary], seen: Sequence[SeenGpu], samples: int) -> GpuEnergy | None:
    """Of the cards in use; None if one of them does not tell."""
    used = [(gpu, each.counted) for gpu, each in zip(gpus, seen, strict=True) if gpu.used]
    known = [gpu.energy_j for gpu, _ in used if gpu.energy_j is not None]
    if not used or len(known) < len(used) or not samples:
        return None
    counted = {counted for _, counted in used}
    return GpuEnergy(
        gpus=[gpu.number for gpu, _ in used if gpu.number is not None],
        energy_j=sum(known),
        per_sample_j=sum(known) / samples,
        source="both" if len(counted) > 1 else "counter" if counted == {True} else "power",
    )
