"""Ours against the raw ONNX Runtime ceiling and against the upstream script.

Every case is measured once in each round, one after another (A B C A B C ...), so that whatever
disturbs the machine meets all of them; rows compare medians over the rounds. Prints one table
and writes a JSON file that holds every figure and the command line behind it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import upstream
from lab import REPOSITORY, Case, Lab, UnavailableError
from rows import catalogue, scaling
from suite import Row, Suite
from table import Record, judge, render

from loadgen_generic.machine import (
    available_cores,
    describe_host,
    describe_packages,
    last_level_cache_bytes,
)

__all__ = ["main"]

# A manual setting this much behind the best of its field after one round cannot win.
_NEAR_BEST = 0.85
_EXAMPLES = """\
examples:
  make bench                                        everything, five rounds
  python benchmarks/bench.py --quick                a look: two short rounds
  python benchmarks/bench.py --list                 the names of all rows
  python benchmarks/bench.py --only 'offline/mlp/*' 'null/*'
  python benchmarks/bench.py --scaling              throughput with 1 to all cores
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    lab = Lab(
        work=given.work.resolve(),
        cores=available_cores(),
        seconds=given.seconds or (1.0 if given.quick else 3.0),
        patience=given.patience,
        quick=given.quick,
    )
    suite = scaling(lab) if given.scaling else catalogue(lab)
    rows = [row for row in suite.rows if _chosen(row, given.only, given.skip)]
    if given.list:
        print("\n".join(row.key for row in rows))
        return 0
    if not rows:
        print("no row has such a name; --list shows them all", file=sys.stderr)
        return 2
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    if not given.no_install and any("upstream/" in f.case for row in rows for f in row.against):
        upstream.install(lab.work)
    rounds = given.rounds or (2 if given.quick else 5)
    records = Campaign(lab, _needed(suite, rows), rounds).run()
    verdicts = [judge(row, records) for row in rows]
    print(render(verdicts))
    if given.commands:
        print("\n" + "\n".join(f"{v.key}\n  {v.command}\n  {v.other_command}" for v in verdicts))
    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {name: value for name, value in describe_host().items() if name != "name"},
        "last_level_cache_bytes": last_level_cache_bytes(),
        "load_average_at_end": os.getloadavg(),
        "packages": describe_packages(),
        "commit": _commit(),
        "rounds": rounds,
        "seconds": lab.seconds,
        "quick": lab.quick,
        "rows": [verdict.as_json() for verdict in verdicts],
        "cases": {key: record.as_json() for key, record in records.items()},
    }
    path = _write(report, given.output, "scaling" if given.scaling else "bench")
    print(f"\nevery figure and command line: {path}")
    return 0


@dataclass
class Campaign:
    """Rounds over cases, and what they found."""

    lab: Lab
    cases: Sequence[Case]
    rounds: int

    def run(self) -> dict[str, Record]:
        """Every round; Ctrl-C ends it early with what there is."""
        records = {case.key: Record() for case in self.cases}
        try:
            self._run_into(records)
        except KeyboardInterrupt:
            print("interrupted: the table shows what there is", file=sys.stderr)
        return records

    def _run_into(self, records: dict[str, Record]) -> None:
        for number in range(1, self.rounds + 1):
            for position, case in enumerate(self.cases, 1):
                record = records[case.key]
                if record.unavailable or record.dropped:
                    continue
                where = f"round {number}/{self.rounds}, {position}/{len(self.cases)}"
                print(f"{where}: {case.key}", file=sys.stderr, flush=True)
                try:
                    record.rounds.append(case.measure(self.lab))
                except UnavailableError as error:
                    record.unavailable = str(error)
                    print(f"  cannot run: {error}", file=sys.stderr)
            if number == 1:
                self._drop(records)

    def _drop(self, records: dict[str, Record]) -> None:
        """Leave the manual settings behind that the first round showed to be far from the best."""
        fields: dict[str, list[tuple[Case, float]]] = {}
        for case in self.cases:
            if case.field and records[case.key].rounds:
                value = records[case.key].median(case.figure)
                merit = 1 / value if case.lower else value
                fields.setdefault(case.field, []).append((case, merit))
        for members in fields.values():
            best = max(merit for _, merit in members)
            for case, merit in members:
                records[case.key].dropped = merit < _NEAR_BEST * best


def _needed(suite: Suite, rows: Sequence[Row]) -> list[Case]:
    """The cases of these rows, in the catalogue's order, so that rivals run side by side."""
    wanted = {figure.case for row in rows for figure in (row.ours, *row.against)}
    return [case for key, case in suite.cases.items() if key in wanted]


def _chosen(row: Row, only: Sequence[str], skip: Sequence[str]) -> bool:
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(row.key, pattern) for pattern in patterns)

    return (not only or matches(only)) and not matches(skip)


def _write(report: dict[str, Any], directory: Path, kind: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    machine = f"{report['machine']['cpu']}-{report['machine']['cores_available']}-cores"
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") or platform.machine()
    path = directory / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{slug}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="two rounds of short runs, for a look")
    add("--only", nargs="+", default=[], metavar="ROW", help="rows to run; * and ? are wildcards")
    add("--skip", nargs="+", default=[], metavar="ROW", help="rows to leave out")
    add("--list", action="store_true", help="print the names of the rows and stop")
    add("--scaling", action="store_true", help="measure ResNet-50 with 1 to all cores instead")
    add("--rounds", type=int, help="how often each case is measured (5; --quick: 2)")
    add("--seconds", type=float, help="length of one run (3; --quick: 1)")
    add("--patience", type=float, default=180.0, help="seconds until a run counts as hung (180)")
    add("--commands", action="store_true", help="print the command line of every row as well")
    add("--no-install", action="store_true", help="leave upstream out if it is not installed yet")
    add(
        "--work",
        type=Path,
        default=REPOSITORY / ".cm" / "bench",
        help="models, scratch and the upstream environment (.cm/bench)",
    )
    add(
        "--output",
        type=Path,
        default=REPOSITORY / "benchmarks" / "results",
        help="where the JSON goes (benchmarks/results)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
