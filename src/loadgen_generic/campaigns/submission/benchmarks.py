"""What the submission checker asks of each benchmark.

Source: the configuration of v6.1 in ``tools/submission`` of mlcommons/inference. Left out are the
benchmarks that are judged by their tokens or by files other than LoadGen's logs, which this
harness does not make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadgen_generic.errors import RequestError

__all__ = ["BENCHMARKS", "CHECKER_VERSION", "MIN_DURATION_MS", "Benchmark", "benchmark_named"]

CHECKER_VERSION = "v6.1"
MIN_DURATION_MS = 600_000


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Attributes:
    name: in the checker.
    mlperf_model: in LoadGen's mlperf.conf.
    performance_samples: fewest that a performance run issues different ones of.
    dataset_size: samples of an accuracy run, exactly.
    bound_ns: longest latency bound, by scenario.
    """

    name: str
    mlperf_model: str
    performance_samples: int
    dataset_size: int
    bound_ns: Mapping[str, int] = field(default_factory=dict)


BENCHMARKS = {
    each.name: each
    for each in (
        Benchmark("resnet", "resnet50", 1024, 50_000, {"Server": 15_000_000}),
        Benchmark("bert-99", "bert", 10_833, 10_833),
        Benchmark("bert-99.9", "bert", 10_833, 10_833),
        Benchmark("3d-unet-99", "3d-unet", 43, 43),
        Benchmark("3d-unet-99.9", "3d-unet", 43, 43),
        Benchmark("rgat", "rgat", 788_379, 788_379),
        Benchmark("yolo-95", "yolo", 64, 1525),
        Benchmark("yolo-99", "yolo", 64, 1525),
    )
}


def benchmark_named(name: str | None, mlperf_model: str | None) -> Benchmark:
    """The benchmark that was asked for, or the one of the runs' ``--mlperf_model``.

    Raises:
        RequestError: there is no such benchmark, or the runs name none.
    """
    known = ", ".join(BENCHMARKS)
    if name is not None:
        if name not in BENCHMARKS:
            raise RequestError(
                "the checker has no such benchmark, or this harness cannot make its files.",
                flag="benchmark",
                value=name,
                remedy=f"Choose one of: {known}.",
            )
        return BENCHMARKS[name]
    for each in BENCHMARKS.values():
        if mlperf_model == each.mlperf_model:
            return each
    raise RequestError(
        "the runs do not say which benchmark of MLPerf they are for; in the open division every "
        "model stands for one.",
        remedy=f"Name it with --benchmark ({known}).",
    )
