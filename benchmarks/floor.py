"""The floor: the barest callback that LoadGen's public Python interface allows.

No samples, no model, no harness: the callback sets the ids of pooled responses and hands them
back. Prints one JSON object: ``ns_per_sample`` for Offline, ``p50`` and ``p90`` in ns of a query
for SingleStream. What a harness adds is what it measures beyond this on the same machine.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import mlperf_loadgen as lg

from loadgen_generic.results.detail_log import read_detail_log

__all__ = ["main"]

_BATCH = 1024
_EXPECTED_NS = 1500
Issue = Callable[[Sequence[int], Sequence[int]], None]


def offline() -> Issue:
    """Answers in batches: one call into LoadGen for each sample would cost more."""
    pool = [lg.QuerySampleResponse(0, 0, 0) for _ in range(_BATCH)]
    set_id, done = lg.QuerySampleResponse.id.fset, lg.QuerySamplesComplete
    consume = collections.deque[None](maxlen=0).extend

    def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
        for at in range(0, len(ids), _BATCH):
            part = ids[at : at + _BATCH]
            consume(map(set_id, pool, part))
            done(pool if len(part) == _BATCH else pool[: len(part)])

    return issue


def single_stream() -> Issue:
    alone = lg.QuerySampleResponse(0, 0, 0)
    pool, done = [alone], lg.QuerySamplesComplete

    def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
        alone.id = ids[0]
        done(pool)

    return issue


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=("Offline", "SingleStream"))
    parser.add_argument("--samples", type=int, default=1_000_000, help="Offline (1000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="SingleStream (3)")
    given = parser.parse_args()

    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, given.scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    if given.scenario == "Offline":
        settings.min_duration_ms, settings.min_query_count = 1, given.samples
        settings.offline_expected_qps = 1
    else:
        settings.min_duration_ms = round(given.seconds * 1000)
        settings.single_stream_expected_latency_ns = _EXPECTED_NS
    log = lg.LogSettings()
    log.enable_trace = False
    issue = offline() if given.scenario == "Offline" else single_stream()
    with tempfile.TemporaryDirectory() as directory:
        log.log_output.outdir = directory
        sut = lg.ConstructFastSUT(issue, lambda: None)
        qsl = lg.ConstructQSL(1 << 14, 1 << 14, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, qsl, settings, log, "")
        found = read_detail_log(Path(directory) / "mlperf_log_detail.txt")
    if given.scenario == "Offline":
        rate = float(found.values["result_samples_per_second"])
        print(json.dumps({"ns_per_sample": 1e9 / rate}))
    else:
        latency = found.latency_ns()
        print(json.dumps({"p50": latency["p50"], "p90": latency["p90"]}))


if __name__ == "__main__":
    main()
