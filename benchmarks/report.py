"""What a report costs: seconds, memory and bytes, for a run with a long trace.

Makes a real run of the fake backend with ``--trace`` in a scratch directory, which needs about
700 bytes of disk for each query, measures ``loadgen-generic report`` on it as a process of its
own in each format, and deletes it. Prints a table and writes ``report.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting import add_output, add_work, circumstances, write

__all__ = ["main"]

_BYTES_PER_QUERY = 1400  # latencies.csv, and room to spare, included
_FORMATS = ("html", "md", "csv", "json", "png")
# What issue 6 asks of the page of a run of 10 million queries.
_MOST_SEC, _MOST_MEMORY, _MOST_FILE = 60.0, 1e9, 5e6
_MEASURE = """
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.monotonic() - begin
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"code": done.returncode, "seconds": seconds, "peak": peak}))
"""
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    needed = given.queries * _BYTES_PER_QUERY
    free = shutil.disk_usage(given.work).free
    if free < needed:
        print(
            f"{needed / 1e9:.0f} GB are needed in {given.work}, {free / 1e9:.0f} are free; "
            "give --work or fewer --queries",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory(dir=given.work) as scratch:
        run = Path(scratch) / "run"
        print(f"making a run of {given.queries:,} queries ...", file=sys.stderr, flush=True)
        command = _run_command(given, run)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        trace_bytes = (run / "mlperf_log_trace.json").stat().st_size
        rows = [_measure(run, kind, given.queries) for kind in _FORMATS]
    _print(rows, given.queries, trace_bytes)
    document = {
        **circumstances(),
        "queries": given.queries,
        "scenario": given.scenario,
        "run": " ".join(["loadgen-generic", *command[1:]]).replace(str(run), "DIR"),
        "trace_bytes": trace_bytes,
        "rows": rows,
    }
    print(f"\nevery figure: {write(document, given.output / 'report.json')}")
    return 0 if _kept(rows[0]) else 1


def _run_command(given: argparse.Namespace, run: Path) -> list[str]:
    command = [_program(), "run", "--backend", "fake", "--scenario", given.scenario, "--trace"]
    command += ["--samples", str(given.queries), "--output_dir", str(run), "--quiet"]
    if given.scenario == "Server":
        command += ["--target_qps", "50000", "--target_latency_ms", "100"]
    return command


def _measure(run: Path, kind: str, queries: int) -> dict[str, Any]:
    """In a process between, since the peak is that of the largest child that ever ended."""
    print(f"report --format {kind} ...", file=sys.stderr, flush=True)
    command = [_program(), "report", str(run), "--format", kind, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    if found["code"]:
        raise SystemExit(f"report --format {kind} failed: {done.stderr.strip()}")
    return {
        "format": kind,
        "seconds": found["seconds"],
        "peak_memory_bytes": found["peak"] * _RSS_UNIT,
        "file_bytes": (run / f"report.{kind}").stat().st_size,
        "us_per_query": 1e6 * found["seconds"] / queries,
    }


def _kept(row: dict[str, Any]) -> bool:
    return bool(
        row["seconds"] < _MOST_SEC
        and row["peak_memory_bytes"] < _MOST_MEMORY
        and row["file_bytes"] < _MOST_FILE
    )


def _print(rows: list[dict[str, Any]], queries: int, trace_bytes: int) -> None:
    print(f"{queries:,} queries, a trace of {trace_bytes / 1e9:.2f} GB\n")
    print(f"{'format':<8}{'time':>9}{'per query':>12}{'peak memory':>14}{'file':>11}")
    for row in rows:
        print(
            f"{row['format']:<8}{row['seconds']:>7.1f} s{row['us_per_query']:>9.2f} us"
            f"{row['peak_memory_bytes'] / 1e6:>11.0f} MB{row['file_bytes'] / 1e3:>8.0f} kB"
        )
    told = "within" if _kept(rows[0]) else "NOT within"
    print(
        f"\nhtml is {told} {_MOST_SEC:.0f} s, {_MOST_MEMORY / 1e9:.0f} GB of memory and "
        f"{_MOST_FILE / 1e6:.0f} MB of file"
    )


def _program() -> str:
    return str(Path(sys.executable).with_name("loadgen-generic"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--queries", type=int, default=10_000_000, help="queries of the run (10000000)")
    add("--scenario", choices=("SingleStream", "Server"), default="SingleStream")
    add_work(parser, "where the run is made, and deleted")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
