"""The cases of the GPU benchmark: ours, the real command; and the raw loop. Each is a process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import gpu_watch
import ours
from lab import Case, Lab, Measured, UnavailableError, last_line
from models import MODELS
from table import Record

__all__ = [
    "Setting",
    "check_case",
    "ours_case",
    "raw_case",
    "remember",
    "server_case",
    "verify_case",
]

_LOOP = Path(__file__).resolve().with_name("gpu_loop.py")
_VERIFIED, _VERIFIED_BATCH = 8, 4
_SERVER_SHARE = 0.8
_LAYOUT = ("runner", "concurrency", "intra_op_threads")


@dataclass(frozen=True)
class Setting:
    """What is measured, on both sides alike.

    Attributes:
        model: of the benchmark's models.
        precision: ``float32``, ``tf32`` or ``float16``, which is a model of its own.
        provider: ``cuda`` or ``cpu``.
        location: where samples are when the clock starts.
        options: of the execution provider.
    """

    model: str
    precision: str
    provider: str
    device: int
    location: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As rows and cases are called."""
        return f"{self.model}/{self.precision}/{self.location}"

    @property
    def file(self) -> str:
        return f"{self.model}-float16" if self.precision == "float16" else self.model

    def flags(self) -> dict[str, object]:
        """Of our command."""
        flags: dict[str, object] = {"execution_provider": self.provider}
        if self.precision != "float16":
            flags["precision"] = self.precision
        if self.provider == "cuda":
            flags |= {"devices": self.device, "data_location": self.location}
        if self.options:
            flags["ep_options"] = ",".join(f"{key}={value}" for key, value in self.options.items())
        ranges = MODELS[self.file].ranges
        if ranges:
            flags["value_range"] = ",".join(f"{n}={a}:{b}" for n, (a, b) in ranges.items())
        return flags

    def words(self) -> list[object]:
        """The same for the raw loop. On the CPU samples lie where it computes."""
        where = self.location if self.provider == "cuda" else "device"
        words: list[object] = ["--ep", self.provider, "--device", self.device, "--location", where]
        words += ["--tf32"] if self.precision == "tf32" else []
        for key, value in self.options.items():
            words += ["--option", f"{key}={value}"]
        for name, (low, high) in MODELS[self.file].ranges.items():
            words += ["--range", f"{name}={low}:{high}"]
        return words


def ours_case(
    key: str, setting: Setting, scenario: str, flags: Mapping[str, object], field_: str = ""
) -> Case:
    """One run of our command: ``samples_per_sec``, or percentiles in ns.

    The first round lets ``auto`` choose the layout; later ones keep it, so that no time goes into
    choosing again.

    Args:
        field_: the cases that compete with this one.
    """

    def measure(lab: Lab) -> Measured:
        known = lab.memory.get(key, {})
        found = ours.case(
            key, setting.file, scenario, {**setting.flags(), **flags, **known}
        ).measure(lab)
        _remember(lab, key, found)
        return found

    offline = scenario == "Offline"
    figure = "samples_per_sec" if offline else "p50"
    return Case(key, _watched(measure), field_, figure, not offline)


def raw_case(key: str, setting: Setting, mode: str, batch: int = 1, field_: str = "") -> Case:
    """``samples_per_sec``, or ``p50`` and ``p90`` in ns, of ``gpu_loop.py`` in a mode of its."""

    def measure(lab: Lab) -> Measured:
        command = _loop(lab, setting, mode, batch)
        if mode == "throughput":
            for layout in lab.memory.get(key, []):
                command += ["--layout", layout]
        found = lab.json_of(command, patience=4 * lab.patience)
        figures = {name: found[name] for name in ("samples_per_sec", "p50", "p90") if name in found}
        measured = Measured(figures, lab.show(command), found)
        _remember(lab, key, measured)
        return measured

    lower = mode == "latency"
    return Case(key, _watched(measure), field_, "p50" if lower else "samples_per_sec", lower)


def remember(lab: Lab, records: Mapping[str, Record]) -> None:
    """What an earlier session found, as if this one had: layouts, and the raw loop's rates."""
    for key, record in records.items():
        for found in record.rounds:
            _remember(lab, key, found)


def _remember(lab: Lab, key: str, found: Measured) -> None:
    if "picked" in found.detail:
        picked = found.detail["picked"]
        lab.memory[key] = {name: picked[name] for name in _LAYOUT if name in picked}
    if "full" in found.detail:
        lab.memory[key] = list(found.detail["full"])
        best = _rate_of(key.removeprefix("offline/").partition("/raw/")[0])
        lab.memory[best] = max(lab.memory.get(best, 0.0), found.figures["samples_per_sec"])


def _rate_of(name: str) -> str:
    """Where the lab remembers the raw loop's best Offline rate of a setting."""
    return f"rate/{name}"


def server_case(key: str, setting: Setting, latency_ms: float) -> Case:
    """``samples_per_sec`` of a VALID Server run at a share of what the raw loop reaches Offline;
    an INVALID one counts as none, with the reason."""

    def measure(lab: Lab) -> Measured:
        best = lab.memory.get(_rate_of(setting.name))
        if not best:
            raise UnavailableError("the raw loop has no Offline rate yet; run its rows first")
        rate = f"{_SERVER_SHARE * best:.6g}"
        flags = {**setting.flags(), "target_qps": rate, "target_latency_ms": latency_ms}
        found = ours.case(key, setting.file, "Server", flags).measure(lab)
        if not found.detail["valid"]:
            p99 = found.figures["p99"] / 1e6
            raise UnavailableError(
                f"INVALID at {rate} queries/s: 99th percentile {p99:.4g} ms, bound {latency_ms:g} ms"
            )
        figures = {"samples_per_sec": float(rate), "p99": found.figures["p99"]}
        return replace(found, figures=figures)

    return Case(key, _watched(measure))


def verify_case(key: str, setting: Setting) -> Case:
    """``mismatches``: samples whose answers are not those of ``--verify reference``."""

    def measure(lab: Lab) -> Measured:
        flags = {
            **setting.flags(),
            "verify": "reference",
            "verify_samples": _VERIFIED,
            "samples": _VERIFIED,
            "batch_size": _VERIFIED_BATCH,
        }
        with lab.scratch() as directory:
            command = [*ours.command_of(lab, setting.file, flags), "--output_dir", directory / "o"]
            done = lab.run(command)
            if "{" not in done.stdout:
                raise UnavailableError(last_line(done).removeprefix("loadgen-generic: error: "))
            told = json.loads(done.stdout)["verification"]
        figures = {"mismatches": float(told["failed_samples"])}
        return Measured(figures, lab.show(command[:-2]), told)

    return Case(key, _watched(measure))


def check_case(key: str, setting: Setting) -> Case:
    """``cosine``: the least between the raw loop's answers and the CPU provider's."""

    def measure(lab: Lab) -> Measured:
        command = _loop(lab, setting, "check", _VERIFIED_BATCH)
        found = lab.json_of(command)
        return Measured({"cosine": found["least_cosine"]}, lab.show(command), found)

    return Case(key, _watched(measure))


def _loop(lab: Lab, setting: Setting, mode: str, batch: int) -> list[object]:
    command: list[object] = [sys.executable, _LOOP, lab.model(setting.file), mode]
    command += [*setting.words(), "--batch", batch]
    return [*command, "--seconds", lab.seconds, "--trial", min(0.3, lab.seconds / 3)]


def _watched(measure: Callable[[Lab], Measured]) -> Callable[[Lab], Measured]:
    """The same measurement with the cards before and after it, and how long all of it took."""

    def watch(lab: Lab) -> Measured:
        before, begin = gpu_watch.cards(), time.monotonic()
        found = measure(lab)
        seconds = time.monotonic() - begin
        cards = {"cards_before": before, "cards_after": gpu_watch.cards()}
        return replace(found, detail={**found.detail, **cards, "wall_sec": seconds})

    return watch
