"""Ours on a GPU against the best raw ONNX Runtime CUDA loop, and against the pieces of upstream.

For each model and precision: the answers are verified; Offline by batch size against the raw loop
with IOBinding and CUDA graphs at the same sizes, and against run(None, feed) one by one;
SingleStream and MultiStream against the bare bound call; Server at 80 % of what the raw loop
reaches Offline. Each measurement is a process of its own; both sides of a row run in turn in each
round, and what is judged is the median of the rounds' ratios. Prints one table and writes a JSON
file with every figure, its command line, and clocks and power of the cards before and after it.

The work is done group by group in a fixed order and written after every measurement, so that it
can be done in parts: --minutes ends it in time, and the same command with --append goes on.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_rows
import gpu_watch
import onnxruntime as ort
from campaign import Campaign
from gpu_cases import remember
from gpu_rows import Group, groups
from lab import Lab
from models import MODELS
from reporting import add_output, add_work, circumstances, machine_slug, write
from table import Record, Verdict, judge, render

from loadgen_generic.machine import available_cores

__all__ = ["main"]

_ROUNDS, _SECONDS, _QUICK_SECONDS = 3, 2.0, 0.3
# Beyond the measured time itself: start, session, graph, calibration; a guess until one was run.
_BESIDES = {"cuda": 10.0, "cpu": 3.0}
# Batch sizes of a side that go on after the first round; also a guess.
_GO_ON = 2
_CUDA = "CUDAExecutionProvider"
# What of the report a later session may add to.
_GROWING = ("models", "batches", "locations")
_EXAMPLES = """\
examples:
  python benchmarks/gpu.py                                  everything; the estimate comes first
  python benchmarks/gpu.py --models resnet50 --minutes 9    what fits into nine minutes
  python benchmarks/gpu.py --minutes 9 --append FILE        the rest, into the same file
  python benchmarks/gpu.py --only 'singlestream/*' --data_location device
  python benchmarks/gpu.py --ep cpu --quick                 a look, without a GPU
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    models = given.models or (gpu_rows.QUICK_MODELS if given.quick else gpu_rows.MODELS)
    batches = given.batches or (gpu_rows.QUICK_BATCHES if given.quick else gpu_rows.BATCHES)
    locations = given.data_location if given.ep == "cuda" else ["host"]
    study = Study(given, list(models), sorted(set(batches)), list(locations))
    lab = Lab(
        work=given.work.resolve(),
        cores=available_cores(),
        seconds=given.seconds or (_QUICK_SECONDS if given.quick else _SECONDS),
        patience=given.patience,
        quick=given.quick,
    )
    if given.list:
        print("\n".join(row.key for group in study.groups() for row in group.suite.rows))
        print(study.estimate(lab), file=sys.stderr)
        return 0
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    trouble = study.begin(lab, list(sys.argv if arguments is None else ["gpu.py", *arguments]))
    if trouble:
        print(trouble, file=sys.stderr)
        return 2
    left = study.run(lab)
    print(render(study.verdicts()))
    print(f"\nevery figure and command line: {study.path}")
    if left:
        print(f"not run yet: {', '.join(left)}\ngo on with --append {study.path}")
    return 0


@dataclass
class Study:
    """What was asked for, what is known, and the file that holds it.

    Attributes:
        report: the JSON but for its rows and cases.
        records: what is known of each case, from all sessions.
    """

    given: argparse.Namespace
    models: list[str]
    batches: list[int]
    locations: list[str]
    path: Path = Path()
    report: dict[str, Any] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)

    def groups(self) -> list[Group]:
        """The groups that this session runs, with no more rows than asked for."""
        found = groups(self.models, self.batches, self.locations, *self._where())
        return [part for group in found if (part := group.only(self._chosen))]

    def begin(self, lab: Lab, command: Sequence[str]) -> str:
        """Open the file; returns what forbids it, in words."""
        if not any(True for _ in self.groups()):
            return "no row has such a name; --list shows them all"
        given, cards = self.given, gpu_watch.describe()
        if given.ep == "cuda" and _CUDA not in ort.get_available_providers():
            return f"this Python's onnxruntime {ort.__version__} has no CUDA; --ep cpu does without"
        fixed = {"ep": given.ep, "seconds": lab.seconds, "cards": cards["cards"]}
        fixed["ep_options"] = dict(given.ep_options)
        if given.append:
            self.path = given.append.resolve()
            self.report = json.loads(self.path.read_text(encoding="utf-8"))
            for name, value in fixed.items():
                if self.report[name] != value:
                    return (
                        f"{given.append} has {name} {self.report[name]}, now it is {value}: "
                        "figures of two kinds do not belong in one file"
                    )
            cases = self.report.pop("cases")
            self.records = {key: Record.from_json(each) for key, each in cases.items()}
            remember(lab, self.records)
        else:
            where = machine_slug(cards["cards"][0] if cards["cards"] else "")
            self.path = given.output.resolve() / (
                f"gpu-{time.strftime('%Y%m%d-%H%M%S')}-{where}.json"
            )
            self.report = {**fixed, **{name: [] for name in (*_GROWING, "sessions")}}
        for name in _GROWING:
            kept = self.report[name]
            kept += [value for value in getattr(self, name) if value not in kept]
        typed = shlex.join([Path(command[0]).name, *command[1:]])
        session = {"command": typed, **circumstances(), "gpu": cards, "rounds": self._rounds()}
        self.report["sessions"].append(session)
        return ""

    def run(self, lab: Lab) -> list[str]:
        """Run what is missing, group by group; returns the groups that were left out."""
        todo = self.groups()
        print(self.estimate(lab), file=sys.stderr, flush=True)
        begin = time.monotonic()
        most = 60 * self.given.minutes if self.given.minutes else float("inf")
        for number, group in enumerate(todo):
            if time.monotonic() - begin + self._left(lab, group)[1] > most:
                return [group.key for group in todo[number:]]
            rounds = group.rounds or self._rounds()
            campaign = Campaign(lab, group.cases, rounds, self.records, self.save)
            try:
                campaign.run()
            except KeyboardInterrupt:
                print("interrupted: the table shows what there is", file=sys.stderr)
                return [group.key for group in todo[number:]]
        self.save()
        return []

    def estimate(self, lab: Lab) -> str:
        """How long what is missing takes, in words."""
        left = [self._left(lab, group) for group in self.groups()]
        runs, seconds = sum(each[0] for each in left), sum(each[1] for each in left)
        return f"{runs} runs, about {seconds / 60:.1f} min"

    def verdicts(self) -> list[Verdict]:
        """Of every row that something is known of, in this session or an earlier one."""
        models, batches, locations = (self.report[name] for name in _GROWING)
        found = []
        for group in groups(models, batches, locations, *self._where()):
            for row in group.suite.rows:
                if any(key in self.records for key in row.cases):
                    known = {key: self.records.get(key, Record()) for key in row.cases}
                    found.append(judge(row, known))
        return found

    def save(self) -> None:
        rows = [verdict.as_json() for verdict in self.verdicts()]
        cases = {key: record.as_json() for key, record in self.records.items()}
        write({**self.report, "rows": rows, "cases": cases}, self.path)

    def _where(self) -> tuple[str, int, dict[str, str]]:
        return self.given.ep, self.given.device, dict(self.given.ep_options)

    def _rounds(self) -> int:
        return int(self.given.rounds or (1 if self.given.quick else _ROUNDS))

    def _chosen(self, key: str) -> bool:
        patterns = self.given.only
        return not patterns or any(fnmatch.fnmatch(key, pattern) for pattern in patterns)

    def _left(self, lab: Lab, group: Group) -> tuple[int, float]:
        """Runs that a group still takes, and seconds: by its own runs where there are some."""
        runs, seconds = 0, 0.0
        sizes = {case.field: 0 for case in group.cases}
        for case in group.cases:
            record, rounds = self.records.get(case.key, Record()), group.rounds or self._rounds()
            each = [found.detail["wall_sec"] for found in record.rounds]
            one = sum(each) / len(each) if each else lab.seconds + _BESIDES[self.given.ep]
            sizes[case.field] += 1
            if case.field and sizes[case.field] > _GO_ON:
                rounds = 1
            missing = 0 if record.dropped else max(0, rounds - len(each))
            runs, seconds = runs + missing, seconds + missing * one
        return runs, seconds


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError("expected KEY=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--ep", choices=("cuda", "cpu"), default="cuda", help="execution provider (cuda)")
    add("--device", type=int, default=0, help="number of the GPU (0)")
    add(
        "--models",
        nargs="+",
        choices=_known_models(),
        metavar="MODEL",
        help=f"of {', '.join(_known_models())} ({' '.join(gpu_rows.MODELS)})",
    )
    add(
        "--batches",
        nargs="+",
        type=int,
        metavar="SIZE",
        help=f"of the Offline rows ({' '.join(map(str, gpu_rows.BATCHES))})",
    )
    add(
        "--data_location",
        nargs="+",
        choices=("host", "pinned", "device"),
        default=["host"],
        metavar="WHERE",
        help="host, pinned or device, or several (host)",
    )
    add(
        "--ep_options",
        nargs="+",
        type=_option,
        default=[],
        metavar="KEY=VALUE",
        help="options of the execution provider, for both sides",
    )
    add("--only", nargs="+", default=[], metavar="ROW", help="rows to run; * and ? are wildcards")
    add("--list", action="store_true", help="print the names of the rows and stop")
    add("--rounds", type=int, help=f"how often each case is measured ({_ROUNDS}; --quick: 1)")
    add(
        "--seconds",
        type=float,
        help=f"length of one run ({_SECONDS:g}; --quick: {_QUICK_SECONDS:g})",
    )
    add("--minutes", type=float, help="start no group that would not end within this time")
    add("--append", type=Path, metavar="FILE", help="go on with this JSON file")
    add("--quick", action="store_true", help="small models, small batches, one short round")
    add("--patience", type=float, default=180.0, help="seconds until a run counts as hung (180)")
    add_work(parser)
    add_output(parser)
    return parser


def _known_models() -> list[str]:
    """Those that have a float16 variant."""
    return [name for name in MODELS if f"{name}-float16" in MODELS]


if __name__ == "__main__":
    # Where a time limit ends it, what it started ends too, and the table shows what there is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
