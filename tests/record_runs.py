"""Records real LoadGen runs for ``test_statistics.py``: ``python tests/record_runs.py``.

Each line of ``data/recorded_runs.jsonl.gz`` is one run: the flags, what LoadGen logged, and the
latency of each sample from LoadGen's trace, in ns, in LoadGen's order.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny_models
from command import Command, fake

from loadgen_generic.results.detail_log import read_detail_log
from loadgen_generic.results.trace import read_trace

__all__ = ["RECORDED", "RUNS", "read_runs"]

RECORDED = Path(__file__).with_name("data") / "recorded_runs.jsonl.gz"
_KEPT = ("result_", "early_stopping_", "effective_")
Flags = dict[str, object]


def _single() -> Iterator[tuple[str, Flags]]:
    """Around the counts where early stopping begins (64 at p90, 662 at p99) and elsewhere."""
    for samples in (1, 10, 63, 64, 65, 100, 661, 662, 1500):
        yield "slow_every=7,slow_us=300", {"samples": samples}
    for percentile in (50, 80, 95, 97, 99, 99.9):
        yield "", {"samples": 800, "target_latency_percentile": percentile}
    yield "MODEL matmul", {"samples": 1000}
    yield "MODEL two_inputs", {"samples": 70, "target_latency_percentile": 89.5}


def _multi() -> Iterator[tuple[str, Flags]]:
    for queries, size in ((20, 8), (661, 8), (662, 2), (1000, 4), (64, 32)):
        yield "slow_every=9,slow_us=400", {"samples": queries * size, "samples_per_query": size}
    for percentile in (50, 90, 95):
        yield "", {"samples": 1600, "target_latency_percentile": percentile}
    # The samples of a query are answered one after the other, so its latency is not theirs.
    for runner in ("inline", "threadpool"):
        apart = {"batch_size": 1, "runner": runner, "samples": 1000, "samples_per_query": 5}
        yield "latency_us=30", {**apart, "target_latency_percentile": 90}
    yield "MODEL matmul", {"samples": 5600}


def _server() -> Iterator[tuple[str, Flags]]:
    for percentile, bound, rate in (
        (99, 100, 2000),
        (99, 0.3, 2000),
        (95, 0.3, 1000),
        (90, 0.5, 3000),
        (80, 1, 1000),
        (97, 2, 1500),
        (99.9, 50, 4000),
        (50, 0.15, 1000),
    ):
        target = {"target_qps": rate, "target_latency_ms": bound}
        flags = {**target, "target_latency_percentile": percentile, "concurrency": 1}
        yield "latency_us=100,slow_every=40,slow_us=2000", {"samples": 700, **flags}
    bound = {"target_qps": 1500, "target_latency_ms": 4}
    for samples in (1, 50, 459, 1200):
        yield "latency_us=500", {"samples": samples, "concurrency": 2, **bound}
    yield "MODEL matmul", {"samples": 900, **bound}


def _offline() -> Iterator[tuple[str, Flags]]:
    for samples in (1, 2, 10, 99, 1000, 4000):
        yield "per_sample_us=3", {"samples": samples, "batch_size": 16}
    yield "latency_us=50", {"samples": 900, "batch_size": 1, "concurrency": 2}
    yield "latency_us=50", {"samples": 900, "batch_size": 7, "runner": "inline"}
    yield "MODEL matmul", {"samples": 3000}


RUNS: list[tuple[str, Flags]] = [
    (behaviour, {"scenario": scenario, **flags})
    for scenario, runs in (
        ("SingleStream", _single()),
        ("MultiStream", _multi()),
        ("Server", _server()),
        ("Offline", _offline()),
    )
    for behaviour, flags in runs
]


def read_runs() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt", encoding="ascii") as lines:
        return [json.loads(line) for line in lines]


def _record(directory: Path, number: int) -> dict[str, object]:
    behaviour, flags = RUNS[number]
    what, _, name = behaviour.partition(" ")
    started: Flags = (
        {"model_path": str(tiny_models.write(directory, name))}
        if what == "MODEL"
        else fake(behaviour)
    )
    command = Command(directory, os.environ)
    outcome = command("run", output_dir=str(number), trace=True, seed=number, **started, **flags)
    log = read_detail_log(outcome.run_dir / "mlperf_log_detail.txt")
    return {
        "behaviour": behaviour,
        "flags": flags,
        "log": {key: value for key, value in log.values.items() if key.startswith(_KEPT)},
        "latency_ns": read_trace(outcome.run_dir / "mlperf_log_trace.json").latency_ns.tolist(),
    }


def main() -> None:
    RECORDED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        runs = [_record(Path(directory), number) for number in range(len(RUNS))]
    with gzip.GzipFile(RECORDED, "wb", mtime=0) as file:
        for run in runs:
            file.write((json.dumps(run, separators=(",", ":")) + "\n").encode("ascii"))


if __name__ == "__main__":
    main()
