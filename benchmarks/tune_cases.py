"""What ``tune`` is measured on: the cases, and the exhaustive grid of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import ours
from lab import Case, Lab, Measured, UnavailableError
from models import MODELS

__all__ = ["CASES", "FAMILIES", "FIGURES", "Setting", "TuneCase", "grid", "measurement"]

FAMILIES = ("cpu-float32", "openvino-float32", "openvino-bfloat16")
# What is measured in a scenario, and its unit. More is better in both.
FIGURES = {"Offline": ("samples_per_sec", "samples/s"), "Server": ("valid_qps", "queries/s")}
_FLOAT32 = FAMILIES[:2]


@dataclass(frozen=True)
class TuneCase:
    """One model in one scenario, and what is asked of ``tune`` there.

    Attributes:
        batches: of the grid; fewer in Server, where each takes a search for the peak.
        families: of the grid, such as the tolerance admits.
        tolerance: for ``tune``; empty for what it does unasked.
        latency_ms: bound of the 99th percentile in Server.
        wanted: least share of the grid's best; None only shows it.
        over_float32: how many times the grid's best float32 the winner has to reach; None does
            not compare them.
        most_sec: that the search may take; 0 for a quarter of the grid's time.
    """

    name: str
    model: str
    scenario: str
    batches: tuple[int, ...]
    families: tuple[str, ...] = FAMILIES
    tolerance: str = ""
    latency_ms: float = 0.0
    wanted: float | None = 0.95
    over_float32: float | None = None
    most_sec: float = 0.0

    def flags(self) -> dict[str, object]:
        """Of every run and search of the case."""
        flags: dict[str, object] = {}
        if self.latency_ms:
            flags["target_latency_ms"] = self.latency_ms
        ranges = MODELS[self.model].ranges
        if ranges:
            flags["value_range"] = ",".join(f"{n}={a}:{b}" for n, (a, b) in ranges.items())
        return flags


_RESNET50 = TuneCase(
    "resnet50/Offline/bfloat16",
    "resnet50",
    "Offline",
    (1, 2, 4, 8, 16),
    tolerance="bfloat16",
    wanted=None,
    over_float32=1.9,
    most_sec=600.0,
)
CASES = {
    case.name: case
    for case in (
        _RESNET50,
        replace(
            _RESNET50,
            name="resnet50/Offline/float32",
            families=_FLOAT32,
            tolerance="float32",
            wanted=0.97,
            over_float32=None,
        ),
        TuneCase("mlp/Offline", "mlp", "Offline", (1, 4, 16, 64, 256, 1024)),
        TuneCase("mlp/Server", "mlp", "Server", (1, 8, 64), latency_ms=5.0),
        TuneCase("bert/Offline", "bert-mini", "Offline", (1, 2, 4, 8, 16, 32)),
        TuneCase("bert/Server", "bert-mini", "Server", (1, 4, 16), latency_ms=50.0),
    )
}


@dataclass(frozen=True)
class Setting:
    """One point of a grid; ``threads`` are those of each worker."""

    family: str
    runner: str
    workers: int
    threads: int
    batch: int

    @property
    def name(self) -> str:
        """As cases are called."""
        return f"{self.family} {self.runner} {self.workers}x{self.threads} batch {self.batch}"

    def flags(self) -> dict[str, object]:
        provider, _, precision = self.family.partition("-")
        return {
            "execution_provider": provider,
            "precision": precision,
            "runner": self.runner,
            "concurrency": self.workers,
            "intra_op_threads": self.threads,
            "batch_size": self.batch,
            "execution_mode": "sequential",
        }


def grid(case: TuneCase, cores: int) -> list[Setting]:
    """Every combination of family, layout and batch."""
    return [
        Setting(family, *layout, batch)
        for family in case.families
        for layout in _layouts(cores)
        for batch in case.batches
    ]


def _layouts(cores: int) -> Iterator[tuple[str, int, int]]:
    """Runner, workers and threads of each.

    One worker answers inline: on a thread of its own it computes the same, a hand-over later.
    Several share a session, as streams under OpenVINO.
    """
    for workers in range(1, cores + 1):
        for threads in range(1, cores // workers + 1):
            yield "inline" if workers == 1 else "threadpool", workers, threads


def measurement(case: TuneCase, key: str, flags: Mapping[str, object], tries: int = 1) -> Case:
    """One full run of a setting; in Server, one search for its peak.

    Args:
        flags: beyond those of the case.
        tries: a disturbance may leave a search for a peak without any load that passes.
    """
    flags = {**case.flags(), **flags}
    if case.scenario == "Server":
        inner = ours.peak_case(key, case.model, flags)
    else:
        inner = ours.case(key, case.model, case.scenario, flags)

    def measure(lab: Lab) -> Measured:
        begin = time.monotonic()
        for left in reversed(range(tries)):
            try:
                found = inner.measure(lab)
                break
            except UnavailableError:
                if not left:
                    raise
        wall = {"wall_sec": time.monotonic() - begin}
        return replace(found, detail={**found.detail, **wall})

    return Case(key, measure)
