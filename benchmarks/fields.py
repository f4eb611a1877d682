"""Is ``auto`` as good as the best manual setting, on a quiet machine and on a disturbed one?

A field is every manual setting of one model and scenario. All of them run in the first round;
after it only those near the best go on, since the rest cannot win.
"""

from __future__ import annotations

from collections.abc import Iterator

import ours
from lab import Case
from suite import Suite

from loadgen_generic.config import BenchmarkConfig

__all__ = ["add_auto", "add_busy"]

_MODELS = ("identity", "matmul", "mlp", "resnet50", "fixed")
_FIGURES = {"Offline": "samples_per_sec", "SingleStream": "p90", "MultiStream": "p90"}
# The 99th percentile takes 662 queries of 8 samples: minutes with ResNet-50.
_FLAGS: dict[str, dict[str, object]] = {"MultiStream": {"target_latency_percentile": 90}}
_RUNNERS = ("inline", "threadpool", "threadpool+replication", "processpool")
_BATCHES: tuple[object, ...] = (1, 4, 16, 64, "auto")
_BATCHES_OF: dict[str, tuple[object, ...]] = {"SingleStream": (1,), "Server": (1, 4, "auto")}


def add_auto(suite: Suite, server_ms: dict[str, float]) -> None:
    """``auto`` at 0.97 of the best manual setting.

    Args:
        server_ms: latency bound of each model that Server is measured with.
    """
    for model in _MODELS:
        for scenario in _FIGURES:
            _field(suite, f"{model}/{scenario}", model, scenario)
    for model, bound in server_ms.items():
        start = f"rate/{model}"
        mine = ours.server_case(f"ours/Server/{model}", model, bound, start)
        manual = []
        for name, flags in _settings("Server"):
            key = f"manual/Server/{model}/{name}"
            case = ours.server_case(key, model, bound, start, mine.key, flags)
            manual.append(Case(key, case.measure, f"{model}/Server", "share"))
        suite.compare(f"auto/{model}/Server", mine, manual, "share", "of auto", 0.97)


def add_busy(suite: Suite) -> None:
    """``auto`` at 0.9 of the best manual setting while one core is busy elsewhere."""
    for model in ("matmul", "mlp", "resnet50"):
        _field(suite, f"busy/{model}", model, "Offline", busy=True)


def _field(suite: Suite, name: str, model: str, scenario: str, busy: bool = False) -> None:
    figure, lower = _FIGURES[scenario], scenario != "Offline"
    more = _FLAGS.get(scenario, {})
    mine = ours.case(f"ours/auto/{name}", model, scenario, more, busy=busy)
    manual = []
    for label, flags in _settings(scenario):
        key = f"manual/{name}/{label}"
        case = ours.case(key, model, scenario, {**more, **flags}, busy=busy)
        manual.append(Case(key, case.measure, name, figure, lower))
    unit = "ns" if lower else "samples/s"
    key, wanted = (name, 0.9) if busy else (f"auto/{name}", 0.97)
    suite.compare(key, mine, manual, figure, unit, wanted, lower=lower)


def _settings(scenario: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every manual setting that makes a difference in a scenario: runner, batch, threads."""
    batches = _BATCHES_OF.get(scenario, _BATCHES)
    known = "batch_size" in BenchmarkConfig.model_fields
    for runner in _RUNNERS:
        for batch in batches if known else ("default",):
            flags: dict[str, object] = {"runner": runner}
            if known:
                flags["batch_size"] = batch
            yield f"{runner} batch {batch}", flags
            if runner == "inline":
                yield f"{runner} batch {batch} intra 1", {**flags, "intra_op_threads": 1}
