"""Does ``loadgen-generic tune`` find what an exhaustive grid finds, and how soon?

For each case: every setting of the grid runs once by the ordinary command (Server: one --mode
find_peak for each); tune searches; then the three best of the grid and tune's winner run again in
turn, and what is judged is the median of the rounds' own ratios. Prints a table and writes a JSON
file that holds every figure, its command line, and tune's whole answer. Exits with 1 if a line
does not hold.

  winner         tune's winner and the best of the grid: at least 0.95, or 0.97 for a float32
                 winner of ResNet-50
  over-float32   tune's winner and the grid's best float32: at least 1.9 (ResNet-50, bfloat16)
  time           of tune's command: at most a quarter of the grid's, or ten minutes (ResNet-50)
  twice          (--twice) how far two searches' own figures lie apart: at most the stated spread;
                 twice-gain shows the same of what they gained over the default
  busy, warned   (--busy) the winner of a search beside a busy core, rerun in quiet: at least 0.95
                 of the quiet search's winner; and that search warned

The grid: the families of --families that the case's tolerance admits; one worker inline or several
in a threadpool, with as many threads each as the cores allow; batches in a ladder, few of them in
Server; execution mode sequential. A setting that fails is passed over, and so is a family whose
answers tune finds wrong; neither counts in the grid's time.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab import REPOSITORY, Lab
from reporting import add_output, add_work, circumstances, machine_slug, write
from table import Record, Verdict, render
from tune_cases import CASES, FAMILIES, TuneCase, grid
from tune_study import Study

from loadgen_generic.machine import available_cores

__all__ = ["main"]

_EXAMPLES = """\
examples:
  python benchmarks/tune.py --list                          the grids, and how large they are
  python benchmarks/tune.py --cases resnet50/Offline/bfloat16
  python benchmarks/tune.py --cases mlp/Offline --twice --busy
  python benchmarks/tune.py --cases mlp/Offline --grid FILE     tune again, the grid as it is there
  python benchmarks/tune.py --cases mlp/Server --rounds 0       judge the peaks as they were found
  python benchmarks/tune.py --cases mlp/Offline --families cpu-float32 --batches 64 --seconds 1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.busy and not given.rounds:
        parser.error("--busy: its winner has to be rerun in quiet; --rounds has to be 1 or more")
    lab = Lab(given.work.resolve(), available_cores(), given.seconds, given.patience, quick=False)
    studies = [Study(case, grid(case, lab.cores)) for case in _chosen(given)]
    if given.list:
        print("\n".join(study.key(each) for study in studies for each in study.settings))
        return 0
    if not all(study.settings for study in studies):
        parser.error("--families: a case has none of them")
    words = sys.argv[1:] if arguments is None else arguments
    report = Report(given, lab, studies, shlex.join(["tune.py", *words]))
    if given.grid:
        trouble = report.take_grid(json.loads(given.grid.read_text(encoding="utf-8")))
        if trouble:
            print(f"--grid {given.grid}: {trouble}", file=sys.stderr)
            return 2
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    try:
        for study in studies:
            _run(study, lab, given)
    except KeyboardInterrupt:
        print("interrupted: the table shows what there is", file=sys.stderr)
    report.save()
    verdicts = report.verdicts()
    if verdicts:
        print(f"{render(verdicts)}\n\n{report.judged_by()}")
    for study in studies:
        words = [study.grid_in_words(), *map(study.search_in_words, study.searches)]
        print("\n" + "\n".join(f"{study.case.name}: {each}" for each in words))
    print(f"\nevery figure and command line: {report.path}")
    fine = all(verdict.wanted is None or verdict.holds for verdict in verdicts)
    return 0 if fine and not any(study.failed for study in studies) else 1


def _run(study: Study, lab: Lab, given: argparse.Namespace) -> None:
    study.run_grid(lab)
    if given.no_tune:
        return
    budget_sec = given.budget or 0.0
    study.run_search(lab, "quiet", budget_sec)
    if given.twice:
        study.run_search(lab, "again", budget_sec)
    if given.busy:
        study.run_search(lab, "busy", budget_sec)
    study.run_finals(lab, given.rounds)


def _chosen(given: argparse.Namespace) -> list[TuneCase]:
    return [
        replace(
            CASES[name],
            batches=tuple(given.batches or CASES[name].batches),
            families=tuple(each for each in CASES[name].families if each in given.families),
        )
        for name in given.cases
    ]


@dataclass
class Report:
    """The JSON file, written after every measurement."""

    given: argparse.Namespace
    lab: Lab
    studies: list[Study]
    command: str
    path: Path = Path()
    grid_of: str = ""
    where: dict[str, Any] = field(default_factory=circumstances)

    def __post_init__(self) -> None:
        name = f"tune-{time.strftime('%Y%m%d-%H%M%S')}-{machine_slug()}.json"
        self.path = self.given.output.resolve() / name
        for study in self.studies:
            study.save = self.save

    def take_grid(self, earlier: dict[str, Any]) -> str:
        """Know an earlier file's grid; returns what forbids that, in words."""
        now = self._ground(self.where)
        then = self._ground(earlier)
        for name, value in now.items():
            if then[name] != value:
                return f"it has {name} {then[name]}, now it is {value}"
        self.grid_of = self.given.grid.name
        for study in self.studies:
            for key in map(study.key, study.settings):
                if earlier["cases"].get(key, {}).get("rounds"):
                    study.records[key] = Record.from_json(earlier["cases"][key])
        return ""

    def verdicts(self) -> list[Verdict]:
        return [verdict for study in self.studies for verdict in study.verdicts()]

    def judged_by(self) -> str:
        """What the rows of winners compare, in words."""
        rounds = self.given.rounds
        if not rounds:
            return "winners are judged by the figures that the grid and tune found"
        return f"winners are judged by {rounds} round(s) of runs in turn, in Server of --mode find_peak"

    def save(self) -> None:
        records = {key: each for study in self.studies for key, each in study.records.items()}
        cases = {key: record.as_json() for key, record in records.items()}
        report = {
            **self.where,
            "load_average_at_end": os.getloadavg(),
            "command": self.command,
            "seconds": self.lab.seconds,
            "rounds": self.given.rounds,
            "judged_by": self.judged_by(),
            "grid_of": self.grid_of,
            "grids": {
                study.case.name: {
                    "settings": len(study.settings),
                    "batches": study.case.batches,
                    "families": study.case.families,
                    "seconds": study.grid_sec(),
                    "sentence": study.grid_in_words(),
                }
                for study in self.studies
            },
            "rows": [verdict.as_json() for verdict in self.verdicts()],
            "searches": {
                study.case.name: {
                    **{kind: each.as_json() for kind, each in study.searches.items()},
                    **{kind: {"failed": why} for kind, why in study.failed.items()},
                }
                for study in self.studies
            },
            "cases": cases,
        }
        write(self._without_paths(report), self.path)

    def _without_paths(self, report: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(report)
        for path, shown in ((self.lab.work, "WORK"), (REPOSITORY, ".")):
            text = text.replace(str(path), shown)
        told: dict[str, Any] = json.loads(text)
        return told

    def _ground(self, told: dict[str, Any]) -> dict[str, Any]:
        """What two grids have to have alike."""
        return {
            "seconds": told.get("seconds", self.lab.seconds),
            "cpu": told["machine"]["cpu"],
            "cores": told["machine"]["cores_available"],
            "onnxruntime": told["packages"].get("onnxruntime"),
        }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tune.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--cases",
        nargs="+",
        choices=tuple(CASES),
        default=list(CASES),
        metavar="CASE",
        help=f"of {', '.join(CASES)} (all)",
    )
    add(
        "--families",
        nargs="+",
        choices=FAMILIES,
        default=FAMILIES,
        metavar="FAMILY",
        help=f"of the grid: {', '.join(FAMILIES)} (all)",
    )
    add("--batches", nargs="+", type=int, metavar="SIZE", help="of the grid (a ladder by case)")
    add("--list", action="store_true", help="print the settings of the grids and stop")
    add("--no-tune", action="store_true", help="the grid alone; --grid takes it up later")
    add("--grid", type=Path, metavar="FILE", help="take the grid from an earlier JSON file")
    add(
        "--budget",
        type=float,
        metavar="SEC",
        help="of tune, in s (ResNet-50, and beside a busy core: 600, the command's own default; others: "
        "a quarter of the grid's time, at least 60)",
    )
    add("--twice", action="store_true", help="search a second time, and compare the figures")
    add("--busy", action="store_true", help="search once more with one core kept busy")
    add("--rounds", type=int, default=5, help="of the best in turn; 0: figures as found (5)")
    add(
        "--seconds", type=float, default=5.0, help="length of one run, and of tune's full tests (5)"
    )
    add("--patience", type=float, default=600.0, help="seconds until a run counts as hung (600)")
    add_work(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    # Where a time limit ends it, what it started ends too, and the table shows what there is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
