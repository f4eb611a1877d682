"""Ours against the raw ONNX Runtime ceiling and against the upstream script.

Every case is measured once in each round, one after another (A B C A B C ...), so that whatever
disturbs the machine meets all of them; rows compare medians over the rounds. Prints one table
and writes a JSON file that holds every figure and the command line behind it.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import time
from collections.abc import Sequence

import upstream
from campaign import Campaign
from lab import Case, Lab
from reporting import add_output, add_work, circumstances, machine_slug, write
from rows import catalogue, scaling
from suite import Row, Suite
from table import judge, render

from loadgen_generic.machine import available_cores, last_level_cache_bytes

__all__ = ["main"]

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
    campaign = Campaign(lab, _needed(suite, rows), rounds)
    try:
        campaign.run()
    except KeyboardInterrupt:
        print("interrupted: the table shows what there is", file=sys.stderr)
    records = campaign.records
    verdicts = [judge(row, records) for row in rows]
    print(render(verdicts))
    if given.commands:
        print("\n" + "\n".join(f"{v.key}\n  {v.command}\n  {v.other_command}" for v in verdicts))
    report = {
        **circumstances(),
        "last_level_cache_bytes": last_level_cache_bytes(),
        "rounds": rounds,
        "seconds": lab.seconds,
        "quick": lab.quick,
        "rows": [verdict.as_json() for verdict in verdicts],
        "cases": {key: record.as_json() for key, record in records.items()},
    }
    kind = "scaling" if given.scaling else "bench"
    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{machine_slug()}.json"
    print(f"\nevery figure and command line: {write(report, given.output / name)}")
    return 0


def _needed(suite: Suite, rows: Sequence[Row]) -> list[Case]:
    """The cases of these rows, in the catalogue's order, so that rivals run side by side."""
    wanted = set[str]().union(*(row.cases for row in rows))
    return [case for key, case in suite.cases.items() if key in wanted]


def _chosen(row: Row, only: Sequence[str], skip: Sequence[str]) -> bool:
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(row.key, pattern) for pattern in patterns)

    return (not only or matches(only)) and not matches(skip)


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
    add_work(parser, "models, scratch and the upstream environment")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
