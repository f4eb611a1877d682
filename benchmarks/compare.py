"""Does ``loadgen-generic compare`` find a slowdown, and does it call equal runs equal?

The fake backend answers after a set time, so the truth is known. Each trial makes two series of
runs with the real command, one after the other, and compares them with it: in half of the trials
the second is slower by a set percentage, in the other half it is the same. The two kinds of
trial alternate, so that whatever disturbs the machine meets both. Prints a table and writes a
JSON file with every value. Ctrl-C ends it early with what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reporting import add_output, circumstances, machine_slug, write

__all__ = ["main"]

# A sleep alone ends later by an amount that drifts: by 1 to 3 % of 2 ms from series to series.
_AWAKE_US = 500

_PROGRAM = str(Path(sys.executable).with_name("loadgen-generic"))
_WANTED = 0.9
_KINDS = {"slower": "slower", "equal": "no difference"}


@dataclass(frozen=True)
class Trial:
    """One comparison.

    Attributes:
        kind: ``slower`` or ``equal``: the truth.
        values: latency of each run of both sides, in ns.
        commands: what was run, to be typed where the directories may be made.
    """

    kind: str
    verdict: str
    percent: float
    interval: tuple[float, float]
    values: tuple[list[float], list[float]]
    commands: list[str]

    @property
    def right(self) -> bool:
        return self.verdict == _KINDS[self.kind]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.runs < 4:
        print("--runs: an interval needs 4 runs on each side", file=sys.stderr)
        return 2
    trials: list[Trial] = []
    load_before = os.getloadavg()
    try:
        _run_into(trials, given)
    except KeyboardInterrupt:
        print("interrupted: the table shows what there is", file=sys.stderr)
    print(_table(trials))
    right = {kind: sum(t.right for t in trials if t.kind == kind) for kind in _KINDS}
    made = {kind: sum(t.kind == kind for t in trials) for kind in _KINDS}
    holds = all(0 < _WANTED * made[kind] <= right[kind] for kind in _KINDS)
    print(
        f"\na slowdown of {given.slower:g} % found in {right['slower']} of {made['slower']} trials, "
        f"equal runs called equal in {right['equal']} of {made['equal']}: "
        f"{'holds' if holds else 'DOES NOT HOLD'} (wanted: {_WANTED:.0%} of each)"
    )
    report = {
        **circumstances(),
        "load_average_before": load_before,
        "settings": {
            name: getattr(given, name)
            for name in ("trials", "runs", "seconds", "latency_us", "slower")
        },
        "right": right,
        "holds": holds,
        "trials": [{**asdict(trial), "right": trial.right} for trial in trials],
    }
    name = f"compare-{time.strftime('%Y%m%d-%H%M%S')}-{machine_slug()}.json"
    print(f"\nevery value and command line: {write(report, given.output / name)}")
    return 0 if holds else 1


def _run_into(trials: list[Trial], given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="compare-") as work:
        os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(Path(work) / "cache"))
        for number in range(1, given.trials + 1):
            for kind in _KINDS:
                print(f"trial {number}/{given.trials}: {kind}", file=sys.stderr, flush=True)
                trials.append(_trial(given, kind, Path(work) / f"{kind}-{number}"))


def _trial(given: argparse.Namespace, kind: str, work: Path) -> Trial:
    factor = 1 + given.slower / 100 if kind == "slower" else 1.0
    work.mkdir()
    commands = []
    for name, latency_us in (("a", given.latency_us), ("b", factor * given.latency_us)):
        options = f"latency_us={latency_us:g},spin_us={_AWAKE_US}"
        words = ["run", "--backend", "fake", "--backend_options", options]
        words += ["--scenario", "SingleStream", "--loadgen_duration_sec", f"{given.seconds:g}"]
        words += ["--repeat", str(given.runs), "--quiet", "--output_dir", name]
        commands.append(_command(words, work)[0])
    command, output = _command(["compare", "a", "b", "--json"], work)
    found: dict[str, Any] = json.loads(output)
    (against,) = found["against"]
    return Trial(
        kind=kind,
        verdict=against["verdict"],
        percent=against["change"]["percent"],
        interval=tuple(against["change"]["interval"]),
        values=(found["sides"][0]["values"], found["sides"][1]["values"]),
        commands=[*commands, command],
    )


def _command(words: Sequence[str], work: Path) -> tuple[str, str]:
    """Run the command; returns it as it would be typed, and what it printed."""
    done = subprocess.run([_PROGRAM, *words], cwd=work, capture_output=True, text=True, check=False)
    typed = shlex.join(["loadgen-generic", *words])
    if done.returncode:
        raise SystemExit(f"{typed}: exit code {done.returncode}\n{done.stderr}")
    return typed, done.stdout


def _table(trials: Sequence[Trial]) -> str:
    header = ("truth", "verdict", "change", "95 % interval", "right")
    rows = [
        (
            trial.kind,
            trial.verdict,
            f"{trial.percent:+.1f} %",
            f"{trial.interval[0]:+.1f} % to {trial.interval[1]:+.1f} %",
            "yes" if trial.right else "NO",
        )
        for trial in sorted(trials, key=lambda trial: list(_KINDS).index(trial.kind))
    ]
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    rows.insert(0, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__)
    add = parser.add_argument
    add("--trials", type=int, default=10, help="of each kind (10)")
    add("--runs", type=int, default=5, help="on each side, at least 4 (5)")
    add("--seconds", type=float, default=1.0, help="length of one run (1)")
    add("--latency_us", type=float, default=2000.0, help="of the baseline, in us (2000)")
    add("--slower", type=float, default=3.0, help="the true slowdown, in percent (3)")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
