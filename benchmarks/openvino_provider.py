"""Our command under the OpenVINO provider against OpenVINO itself.

Offline: samples/s, at the same batch and precision, against the better of ``benchmark_app`` and a
bare AsyncInferQueue loop. SingleStream: the median latency against the better of ``benchmark_app
-hint latency`` and a loop that waits for each answer. Every case runs once a round, one after
another; what is judged is the median of the rounds' ratios. Prints a table and writes a JSON file
with every figure, command and version.

Our side needs an environment with the provider, as `make venv EP=openvino` makes it. OpenVINO's
own is made by this script, of the version that onnxruntime-openvino has inside.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import ours
from campaign import Campaign
from lab import Lab
from openvino_own import app_case, install, loop_case
from reporting import add_output, add_work, circumstances, machine_slug, write
from suite import Figure, Row, Suite
from table import judge, render

from loadgen_generic.machine import available_cores

__all__ = ["main"]

_MODEL = "resnet50"
_OFFLINE, _LATENCY = 0.98, 0.97  # the least share of OpenVINO's own speed


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    lab = Lab(given.work.resolve(), available_cores(), given.seconds, given.patience, quick=False)
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    python = given.python.absolute() if given.python else install(lab.work)
    suite = _suite(python, given.precisions, given.batches)
    campaign = Campaign(lab, list(suite.cases.values()), given.rounds)
    try:
        campaign.run()
    except KeyboardInterrupt:
        print("interrupted: the table shows what there is", file=sys.stderr)
    verdicts = [judge(row, campaign.records) for row in suite.rows]
    print(render(verdicts))
    report = {
        **circumstances(),
        "model": _MODEL,
        "rounds": given.rounds,
        "seconds": lab.seconds,
        "rows": [verdict.as_json() for verdict in verdicts],
        "cases": {key: record.as_json() for key, record in campaign.records.items()},
    }
    path = write(report, given.output / f"openvino-{machine_slug()}.json")
    print(f"\nevery figure and command line: {path}")
    return 0


def _suite(python: Path, precisions: Sequence[str], batches: Sequence[int]) -> Suite:
    suite = Suite()
    for precision in precisions:
        flags = {"execution_provider": "openvino", "precision": precision}
        for batch in batches:
            name = f"offline/{precision}/batch-{batch}"
            mine = ours.case(f"{name}/ours", _MODEL, "Offline", {**flags, "batch_size": batch})
            what = ("throughput", precision, batch)
            others = [
                app_case(f"{name}/benchmark_app", python, _MODEL, *what),
                loop_case(f"{name}/loop", python, _MODEL, *what),
            ]
            suite.add(others[0], mine, others[1])
            suite.rows.append(
                Row(
                    name,
                    Figure(mine.key, "samples_per_sec"),
                    tuple(Figure(other.key, "samples_per_sec") for other in others),
                    "samples/s",
                    wanted=_OFFLINE,
                    paired=True,
                )
            )
        name = f"singlestream/{precision}"
        mine = ours.case(f"{name}/ours", _MODEL, "SingleStream", flags)
        others = [
            app_case(f"{name}/benchmark_app", python, _MODEL, "latency", precision),
            loop_case(f"{name}/loop", python, _MODEL, "latency", precision),
        ]
        suite.add(others[0], mine, others[1])
        suite.rows.append(
            Row(
                name,
                Figure(mine.key, "p50"),
                tuple(Figure(other.key, "p50") for other in others),
                "ns",
                wanted=_LATENCY,
                lower=True,
                paired=True,
            )
        )
    return suite


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openvino_provider.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--precisions",
        nargs="+",
        choices=("bfloat16", "float32"),
        default=["bfloat16", "float32"],
        metavar="PRECISION",
        help="bfloat16, float32 (both)",
    )
    add("--batches", nargs="+", type=int, default=[1, 4], help="of the Offline runs (1 4)")
    add("--rounds", type=int, default=5, help="how often each case is measured (5)")
    add("--seconds", type=float, default=5.0, help="length of one run (5)")
    add("--patience", type=float, default=300.0, help="seconds until a run counts as hung (300)")
    add("--python", type=Path, help="an interpreter that has openvino (default: made in --work)")
    add_work(parser, "models, scratch and OpenVINO's environment")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
