"""What watching costs: runs with telemetry and the live line, and runs without, in turn.

In each round every scenario runs once with ``--telemetry on`` on a terminal that shows the live
line, and once with ``--telemetry off --quiet``; which of the two comes first changes from round
to round. All runs of a scenario have one layout, one length and one arrival rate: those that
``auto`` picked in a run before (Server gets half of what it could carry: a queue on the brink
says more about the brink than about what watching costs). What is compared is a round's two
runs, which are seconds apart: prints the median of the rounds' ratios with its 95 % interval
(order statistics of the sign test), and writes a JSON file that holds every figure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pty
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Lab
from models import MODELS
from reporting import add_output, add_work, circumstances, write

from loadgen_generic.machine import available_cores

__all__ = ["main"]

_PROGRAM = Path(sys.executable).with_name("loadgen-generic")
_SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
_SIDES = ("on", "off")


@dataclass
class Scenario:
    """One scenario of one model, and what its runs found.

    Attributes:
        flags: that all runs share.
        found: for each side, by name the figure of each round.
    """

    name: str
    model: str
    flags: Mapping[str, object]
    found: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {side: {} for side in _SIDES}
    )

    def measure(self, lab: Lab, side: str) -> None:
        how = {"telemetry": side} | ({"quiet": ""} if side == "off" else {})
        result = _run(lab, self.model, {**self.flags, **how})
        figures = {"samples/s": result["samples_completed"] / result["duration_s"]}
        if self.name != "Offline":
            figures |= {
                "p50 ns": result["latency_ns"]["p50"],
                "p99 ns": result["latency_ns"]["p99"],
            }
        if side == "on":
            figures["own share of a core"] = result["telemetry"]["own_cpu_share"]
        for name, value in figures.items():
            self.found[side].setdefault(name, []).append(value)

    def rows(self) -> Iterator[tuple[str, float, float, float, tuple[float, float]]]:
        """Name; medians on and off; the median of the rounds' ratios less one, and its interval.

        The last two are in percent.
        """
        for name, off in self.found["off"].items():
            on = self.found["on"][name]
            changes = [100 * (a / b - 1) for a, b in zip(on, off, strict=True)]
            middle = statistics.median(changes)
            yield name, statistics.median(on), statistics.median(off), middle, _interval(changes)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    lab = Lab(given.work.resolve(), available_cores(), given.seconds, given.patience, quick=False)
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    scenarios = [_settled(lab, given.model, name) for name in given.scenarios]
    for number in range(given.rounds):
        for scenario in scenarios:
            print(
                f"round {number + 1}/{given.rounds}: {scenario.name}", file=sys.stderr, flush=True
            )
            for side in _SIDES if number % 2 else reversed(_SIDES):
                scenario.measure(lab, side)
    print(_table(scenarios))
    report = {
        **circumstances(),
        "model": given.model,
        "rounds": given.rounds,
        "seconds": lab.seconds,
        "scenarios": {
            each.name: {"flags": dict(each.flags), "rounds": each.found} for each in scenarios
        },
    }
    path = write(report, given.output / f"telemetry-{given.model}.json")
    print(f"\nevery figure: {path}")
    return 0


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median: the k-th value from either end, by the sign test."""
    ordered, count = sorted(values), len(values)
    below, cut = 0.0, 0
    while (below := below + math.comb(count, cut) / 2**count) <= 0.025:
        cut += 1
    if cut == 0:  # too few rounds for any interval
        return -math.inf, math.inf
    return ordered[cut - 1], ordered[count - cut]


def _settled(lab: Lab, model: str, name: str) -> Scenario:
    """The flags that ``auto`` arrives at, so that no run has to look for them again."""
    flags: dict[str, object] = {"scenario": name, "loadgen_duration_sec": lab.seconds}
    effective = _run(lab, model, {**flags, "quiet": ""})["config"]["effective"]
    for key in ("runner", "concurrency", "batch_size", "intra_op_threads"):
        if effective.get(key) is not None:
            flags[key] = effective[key]
    if name == "Server":
        flags["target_latency_ms"] = f"{effective['target_latency_ms']:.6g}"
        flags["target_qps"] = f"{effective['target_qps'] / 2:.6g}"
    else:
        flags["loadgen_expected_qps"] = f"{effective['loadgen_expected_qps']:.6g}"
    return Scenario(name, model, flags)


def _run(lab: Lab, model: str, flags: Mapping[str, object]) -> dict[str, Any]:
    """The ``result.json`` of one run; a run of too few queries is measured all the same."""
    what = ["--backend", "fake"] if model == "fake" else [lab.model(model)]
    with lab.scratch() as scratch, _terminal() as terminal:
        words: list[object] = [_PROGRAM, "run", *what, "--output_dir", scratch / "out"]
        for name, value in flags.items():
            words += [f"--{name}"] if value == "" else [f"--{name}", value]
        subprocess.run(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm"},
            timeout=lab.patience,
            check=True,
        )
        result: dict[str, Any] = json.loads((scratch / "out" / "result.json").read_text("utf-8"))
        return result


@contextmanager
def _terminal() -> Iterator[int]:
    """A terminal that somebody looks at; gives the end that a program writes to."""
    ours, theirs = pty.openpty()

    def look() -> None:
        try:
            while os.read(ours, 65536):
                pass
        except OSError:  # Linux's way to say that the other end is closed
            return

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def _table(scenarios: Sequence[Scenario]) -> str:
    lines = [f"{'':<26} {'on':>12} {'off':>12} {'change':>9} {'95 % interval':>19}"]
    for scenario in scenarios:
        for name, on, off, change, (low, high) in scenario.rows():
            title, interval = f"{scenario.name} {name}", f"{low:+.2f} to {high:+.2f}%"
            lines.append(f"{title:<26} {on:12,.0f} {off:12,.0f} {change:+8.2f}% {interval:>19}")
        share = statistics.median(scenario.found["on"]["own share of a core"])
        lines.append(f"{scenario.name + ' own processor time':<26} {share:12.2%} of a core")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="telemetry.py", description=__doc__)
    add = parser.add_argument
    add("--model", choices=[*MODELS, "fake"], default="mlp", help="what to run (mlp)")
    add("--scenarios", nargs="+", choices=_SCENARIOS, default=_SCENARIOS, metavar="SCENARIO")
    add("--rounds", type=int, default=5, help="how often each case is measured (5)")
    add("--seconds", type=float, default=5.0, help="length of one run (5)")
    add("--patience", type=float, default=180.0, help="seconds until a run counts as hung (180)")
    add_work(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
