"""What is compared with what, and how much better it has to be: the catalogue of the table."""

from __future__ import annotations

import ours
import psutil
import upstream
from fields import add_auto, add_busy
from lab import Lab
from raw import bare_call_case, ceiling_case, floor_case
from suite import Figure, Row, Suite

__all__ = ["catalogue", "scaling"]

_NULL_SAMPLES = 1_000_000
_RSS_SAMPLES = (100, 1_000, 10_000, 100_000)
_RSS_POOL = 64
# Set by hand, so that no run of the series takes another way than the others.
_RSS_SETTING = {"runner": "threadpool", "batch_size": 4}
_SERVER_MS = {"matmul": 5.0, "mlp": 5.0, "resnet50": 250.0}
_OFFLINE_MODELS = ("identity", "matmul", "mlp", "resnet50", "fixed")


def catalogue(lab: Lab) -> Suite:
    """Every row but those of :func:`scaling`, in the order of the table."""
    suite = Suite()
    _offline(suite, lab)
    _single_stream(suite)
    _server(suite)
    _null(suite, lab)
    _memory(suite)
    mine, theirs = (
        ours.startup_case("ours/startup", "identity"),
        upstream.startup_case("upstream/startup", "identity"),
    )
    suite.compare("startup", mine, theirs, "seconds", "s", None, lower=True)
    add_auto(suite, _SERVER_MS)
    add_busy(suite)
    return suite


def scaling(lab: Lab, model: str = "resnet50") -> Suite:
    """Throughput with 1 to all cores, ours and the raw loop, against as many times one."""
    suite = Suite()
    physical = psutil.cpu_count(logical=False) or lab.cores
    for workers in range(1, lab.cores + 1):
        mine = ours.case(
            f"ours/scaling/{model}/{workers}",
            model,
            "Offline",
            {
                "runner": "threadpool+replication",
                "concurrency": workers,
                "intra_op_threads": 1,
                "pin": True,
            },
        )
        raw = ceiling_case(f"ceiling/scaling/{model}/{workers}", model, workers)
        suite.add(mine, raw)
        for case, name in ((mine, "ours"), (raw, "ceiling")):
            first = case.key.rsplit("/", 1)[0] + "/1"
            suite.rows.append(
                Row(
                    f"scaling/{model}/{workers}/{name}",
                    Figure(case.key, "samples_per_sec"),
                    (Figure(first, "samples_per_sec"),),
                    "samples/s",
                    wanted=0.9 * workers if name == "ours" and workers <= physical else None,
                )
            )
    return suite


def _offline(suite: Suite, lab: Lab) -> None:
    wanted = {
        "matmul": {"inline": 20.0},
        "mlp": {"inline": 7.5, "ceiling": 0.93},
        "resnet50": {"inline": 1.05, "threadpool": 1.25, "ceiling": 0.99},
    }
    for model in _OFFLINE_MODELS:
        mine = timed = ours.case(f"ours/auto/{model}/Offline", model, "Offline")
        if model == "matmul":
            samples = lab.samples(model)
            mine = ours.case(f"ours/Offline/{model}", model, "Offline", {"samples": samples})
        limits = wanted.get(model, {})
        for runner in upstream.RUNNERS:
            theirs = upstream.offline_case(f"upstream/Offline/{model}/{runner}", model, runner)
            suite.compare(
                f"offline/{model}/upstream-{runner}",
                mine,
                theirs,
                "samples_per_sec",
                "samples/s",
                limits.get(runner),
            )
        alone = upstream.offline_case(
            f"upstream/Offline/{model}/replication-1", model, "threadpool+replication", 1
        )
        suite.compare(
            f"offline/{model}/upstream-threadpool+replication, 1 worker",
            mine,
            alone,
            "samples_per_sec",
            "samples/s",
            None,
        )
        suite.compare(
            f"offline/{model}/ceiling",
            timed,
            ceiling_case(f"ceiling/Offline/{model}", model),
            "samples_per_sec",
            "samples/s",
            limits.get("ceiling"),
        )


def _single_stream(suite: Suite) -> None:
    for model, wanted in (("matmul", 2.0), ("mlp", 1.25), ("resnet50", 1.0)):
        mine = ours.case(f"ours/SingleStream/{model}", model, "SingleStream")
        theirs = upstream.driver_case(f"upstream/SingleStream/{model}", model, "SingleStream")
        raw = bare_call_case(f"ceiling/SingleStream/{model}", model)
        key = f"singlestream/{model}"
        suite.compare(f"{key}/upstream-p90", mine, theirs, "p90", "ns", wanted, lower=True)
        suite.compare(
            f"{key}/bare-call-p50", mine, raw, "p50", "ns", 1000.0, lower=True, judge="excess"
        )


def _server(suite: Suite) -> None:
    for model, wanted in (("matmul", 6.0), ("mlp", 8.0), ("resnet50", None)):
        bound = _SERVER_MS[model]
        start = f"rate/{model}"
        mine = ours.server_case(f"ours/Server/{model}", model, bound, start)
        theirs = upstream.server_case(f"upstream/Server/{model}", model, bound, start)
        suite.compare(f"server/{model}/upstream", mine, theirs, "valid_qps", "queries/s", wanted)
    raw = ceiling_case("ceiling/Offline/resnet50", "resnet50")
    suite.add(raw)
    suite.rows.append(
        Row(
            "server/resnet50/ceiling",
            Figure("ours/Server/resnet50", "valid_qps"),
            (Figure(raw.key, "samples_per_sec"),),
            "queries/s",
            wanted=0.9,
        )
    )


def _null(suite: Suite, lab: Lab) -> None:
    count = _NULL_SAMPLES // (10 if lab.quick else 1)
    kinds: tuple[tuple[str, str, float, float], ...] = (
        ("Offline", "ns_per_sample", 4.5, 220.0),
        ("SingleStream", "p50", 3.0, 650.0),
    )
    for scenario, figure, wanted, most in kinds:
        length = {"samples": count} if scenario == "Offline" else {}
        mine = ours.case(f"ours/null/{scenario}", "fake", scenario, length)
        theirs = upstream.driver_case(f"upstream/null/{scenario}", "null", scenario, count)
        key = f"null/{scenario.lower()}"
        suite.compare(f"{key}/upstream", mine, theirs, figure, "ns", wanted, lower=True)
        floor = floor_case(f"floor/null/{scenario}", scenario, count)
        suite.compare(f"{key}/floor", mine, floor, figure, "ns", None, lower=True, judge="excess")
        suite.compare(f"{key}/limit", mine, [], figure, "ns", most, lower=True, judge="value")


def _memory(suite: Suite) -> None:
    cases = {
        samples: ours.case(
            f"ours/memory/{samples}",
            "pool",
            "Offline",
            {"samples": samples, "distinct_samples": _RSS_POOL, **_RSS_SETTING},
            memory=True,
        )
        for samples in _RSS_SAMPLES
    }
    for samples in _RSS_SAMPLES:
        wanted = 1 / 1.05 if samples > 1000 else None
        suite.compare(
            f"memory/{samples}", cases[samples], cases[1000], "rss", "B", wanted, lower=True
        )
