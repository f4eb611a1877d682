"""Drives the upstream script's own classes in the scenarios that its main.py does not offer.

Runs in the upstream environment. Nothing of upstream is changed: its Harness, runners and
sampler are imported from the installed package. Its main.py sets logging to DEBUG on standard
error; here it stays off, which favours upstream, since its Harness logs every query. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg


class NullModel:
    def predict(self, input: object) -> None:
        return None


class NullFactory:
    def create(self) -> NullModel:
        return NullModel()


class NullSampler:
    def sample(self, id_: int) -> dict[str, int]:
        return {"x": id_}


def build(given: argparse.Namespace) -> tuple[Any, Any]:
    """Upstream's sampler and runner."""
    from loadgen import runners

    if given.model == "null":
        factory: Any = NullFactory()
        sampler: Any = NullSampler()
    else:
        from backend_onnxruntime import XModelFactory, XModelInputSampler

        factory = XModelFactory(given.model, execution_mode="sequential")
        sampler = XModelInputSampler(factory)
    if given.runner == "inline":
        return sampler, runners.ModelRunnerInline(factory)
    kind = {
        "threadpool": runners.ModelRunnerThreadPoolExecutor,
        "threadpool+replication": runners.ModelRunnerThreadPoolExecutorWithTLS,
        "processpool": runners.ModelRunnerProcessPoolExecutor,
        "processpool+mp": runners.ModelRunnerMultiProcessingPool,
    }[given.runner]
    return sampler, kind(factory, max_concurrency=given.concurrency)


def settings_of(given: argparse.Namespace) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, given.scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(given.seconds * 1000)
    settings.min_query_count = given.min_queries
    if given.scenario == "Offline":
        settings.offline_expected_qps = 1.0
        settings.max_query_count = given.min_queries
    elif given.scenario == "SingleStream":
        settings.single_stream_expected_latency_ns = int(given.expected_latency_us * 1000)
        settings.single_stream_target_latency_percentile = 0.9
    else:
        settings.server_target_qps = given.qps
        settings.server_target_latency_ns = int(given.latency_ms * 1e6)
        settings.server_target_latency_percentile = 0.99
    return settings


def read_log(directory: Path) -> dict[str, Any]:
    lines = (directory / "mlperf_log_detail.txt").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    found = {entry["key"]: entry["value"] for entry in entries}
    return {
        "valid": found["result_validity"] == "VALID",
        "why": str(found.get("result_invalid_reason", "")),
        "samples_per_sec": found.get("result_samples_per_second", 0.0),
        "p50": found["result_50.00_percentile_latency_ns"],
        "p90": found["result_90.00_percentile_latency_ns"],
        "p99": found["result_99.00_percentile_latency_ns"],
        "queries": found["result_query_count"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="ONNX model, or null for a model that does nothing")
    parser.add_argument("scenario", choices=("SingleStream", "Server", "Offline"))
    parser.add_argument("--upstream", required=True, help="src folder of the upstream script")
    parser.add_argument("--output", type=Path, required=True, help="an existing directory")
    parser.add_argument("--runner", default="inline")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--pool", type=int, default=1000, help="distinct samples")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--min_queries", type=int, default=64)
    parser.add_argument("--expected_latency_us", type=float, default=10.0)
    parser.add_argument("--qps", type=float, default=100.0)
    parser.add_argument("--latency_ms", type=float, default=10.0)
    given = parser.parse_args()
    sys.path.insert(0, given.upstream)
    with contextlib.redirect_stdout(sys.stderr):
        from loadgen.harness import Harness

        sampler, runner = build(given)
        log = lg.LogSettings()
        log.enable_trace = False
        log.log_output.outdir = str(given.output)
        with contextlib.ExitStack() as stack:
            stack.enter_context(runner)
            harness = Harness(sampler, runner)
            qsl = lg.ConstructQSL(
                given.pool, given.pool, harness.load_query_samples, harness.unload_query_samples
            )
            sut = lg.ConstructSUT(harness.issue_query, harness.flush_queries)
            lg.StartTestWithLogSettings(sut, qsl, settings_of(given), log, "")
            lg.DestroySUT(sut)
            lg.DestroyQSL(qsl)
    print(json.dumps(read_log(given.output)))


if __name__ == "__main__":
    main()
