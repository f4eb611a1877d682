"""``loadgen-generic submission``: a submission to the open division, made from finished runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from loadgen_generic.commands.options import Parser, spellings

__all__ = ["add_submission"]


def add_submission(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "submission",
        help="make a submission of finished runs",
        description="Look at finished performance, accuracy and audit runs, and write them as a "
        "submission to the open division of MLPerf Inference. Runs that are INVALID, too short or "
        "incomplete are refused, with what to do about each.",
        epilog="exit codes: 0 the submission was written, 1 a log is damaged, 2 the runs are no "
        "submission or the request was wrong",
        allow_abbrev=False,
    )
    known = ["json"]
    parser.set_defaults(command=_submission, name="submission", known=known)

    def add(name: str, metavar: str, text: str, **more: Any) -> None:
        known.append(name)
        parser.add_argument(*spellings((name,)), metavar=metavar, help=text, dest=name, **more)

    add(
        "runs",
        "DIR",
        "directories with finished runs in them or below, such as that of loadgen-generic compliance",
        nargs="+",
        required=True,
    )
    add("submitter", "NAME", "who submits; the name of a directory", required=True)
    add("system", "NAME", "what the system is called; the name of a directory", required=True)
    add("output_dir", "DIR", "where to; empty, or not there yet", required=True)
    add(
        "benchmark",
        "NAME",
        "the benchmark of MLPerf that the model stands for, such as resnet (default: by the runs' "
        "--mlperf_model)",
    )
    add("model_name", "NAME", "what the model is called (default: as its file)")
    add(
        "status",
        "STATUS",
        "availability of the system: available, preview or rdi [default: available]",
        default="available",
    )
    add(
        "system_type",
        "TYPE",
        "edge, datacenter, or both with a comma between [default: edge]",
        default="edge",
    )
    add("system_json", "FILE", "JSON object of what the machine does not tell, or tells wrongly")
    add(
        "measurements_json",
        "FILE",
        "JSON object of what was done to the model, such as retraining or weight_transformations",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _submission(parsed: argparse.Namespace) -> int:
    from loadgen_generic.campaigns.submission import Submission, submit

    def path(text: str | None) -> Path | None:
        return Path(text).expanduser() if text else None

    submitted = submit(
        Submission(
            runs=[Path(each).expanduser() for each in parsed.runs],
            submitter=parsed.submitter,
            system=parsed.system,
            output_dir=Path(parsed.output_dir).expanduser(),
            benchmark=parsed.benchmark,
            model_name=parsed.model_name,
            status=parsed.status,
            system_type=parsed.system_type,
            system_json=path(parsed.system_json),
            measurements_json=path(parsed.measurements_json),
        )
    )
    if parsed.json:
        print(json.dumps(submitted.document(), indent=2, ensure_ascii=False))
        return 0
    print(f"A submission of {', '.join(submitted.scenarios)} is in {submitted.directory}")
    rows = [("note", each) for each in submitted.remarks]
    rows.append(("check it", submitted.checker))
    for name, text in rows:
        print(f"  {name + ':':<10} {text}")
    return 0
