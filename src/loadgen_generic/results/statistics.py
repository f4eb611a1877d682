"""LoadGen's figures, computed again from the latency of each sample.

Source: ``PerformanceSummary`` in LoadGen's ``results.cc``. Latencies are int64 nanoseconds from
the time a query was due (Server) or issued to the answer. LoadGen's conventions:

- a percentile is the element at ``int(count * share)`` of the sorted latencies, counted from 0:
  no interpolation, and one element further than the usual nearest rank;
- a mean is a sum of integers divided without remainder;
- the percentiles of MultiStream's queries have keys of their own; a query takes as long as its
  slowest sample;
- early stopping estimates a percentile as the latency of the query above which no more than
  :func:`early_stopping.most_over` lie.

Percentiles are shares (0 to 1) here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadgen_generic.early_stopping import most_over
from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.tensors import Array

__all__ = ["PERCENTILES", "Latencies", "Recomputed", "differences", "percentile", "recompute"]

PERCENTILES = (0.50, 0.90, 0.95, 0.97, 0.99, 0.999)
# SingleStream also estimates what MultiStream would report, at a percentile of LoadGen's choice.
_MULTI_STREAM_PERCENTILE = 0.99
# LoadGen writes six significant digits of a number that is no integer.
_ROUNDING = 5e-6

Recomputed = Mapping[str, "int | float | bool"]


@dataclass(frozen=True, slots=True)
class Latencies:
    """One row for each sample, in the order in which LoadGen numbered them.

    Attributes:
        query: the number of the query that it was a part of.
        sample_index: which sample of the data it was.
        issued_ns: how long after it was due LoadGen issued it.
        latency_ns: from when it was due until it was answered.
    """

    query: Array
    sample_index: Array
    issued_ns: Array
    latency_ns: Array

    def per_query(self) -> Array:
        """The latency of each query, in ns: that of its slowest sample."""
        _, starts = np.unique(self.query, return_index=True)
        return np.maximum.reduceat(self.latency_ns, starts)


def percentile(ascending: Array, share: float) -> int:
    """LoadGen's percentile of sorted latencies, in ns."""
    return int(ascending[int(len(ascending) * share)])


def recompute(
    latencies: Latencies, scenario: str, share: float, bound_ns: int = 0
) -> dict[str, int | float | bool]:
    """What LoadGen should have logged, under its own keys.

    Args:
        latencies: of at least one sample, all samples of a query together.
        share: the percentile that is reported or bounded, in (0, 1).
        bound_ns: the latency bound, in Server.
    """
    samples = np.sort(latencies.latency_ns)
    count = len(samples)
    found: dict[str, int | float | bool] = {
        "result_query_count": int(latencies.query.max()) + 1,
        "result_min_latency_ns": int(samples[0]),
        "result_max_latency_ns": int(samples[-1]),
        "result_mean_latency_ns": int(samples.sum()) // count,
    }
    for each in PERCENTILES:
        found[f"result_{100 * each:.2f}_percentile_latency_ns"] = percentile(samples, each)
    match scenario:
        case "Offline":
            found["result_samples_per_second"] = count / (int(samples[-1]) * 1e-9)
            found["early_stopping_met"] = True
        case "Server":
            over = count - int(np.searchsorted(samples, bound_ns, side="right"))
            found["result_overlatency_query_count"] = over
            found["result_perf_constraints_met"] = percentile(samples, share) <= bound_ns
            found["early_stopping_met"] = over <= most_over(count, share)
        case "SingleStream":
            estimate = _estimate(samples, share)
            found["early_stopping_met"] = estimate > 0
            found["early_stopping_latency_ss"] = estimate
            found["early_stopping_latency_ms"] = (
                _estimate(samples, _MULTI_STREAM_PERCENTILE) if estimate else 0
            )
            mean = int(found["result_mean_latency_ns"])
            found["result_qps_without_loadgen_overhead"] = 1e9 / mean if mean else math.inf
        case "MultiStream":
            queries = np.sort(latencies.per_query())
            found["result_min_query_latency_ns"] = int(queries[0])
            found["result_max_query_latency_ns"] = int(queries[-1])
            found["result_mean_query_latency_ns"] = int(queries.sum()) // len(queries)
            for each in PERCENTILES:
                key = f"result_{100 * each:.2f}_percentile_per_query_latency_ns"
                found[key] = percentile(queries, each)
            found["early_stopping_latency_ms"] = _estimate(queries, share)
            found["early_stopping_met"] = found["early_stopping_latency_ms"] > 0
    return found


def _estimate(ascending: Array, share: float) -> int:
    """Early stopping's estimate of a percentile, in ns; 0 where there are too few queries, since
    one query at least has to be discarded."""
    over = most_over(len(ascending), share)
    return int(ascending[len(ascending) - over]) if over >= 1 else 0


def differences(recomputed: Recomputed, log: DetailLog) -> list[str]:
    """Where LoadGen's figures and ours differ by more than its rounding, one sentence each."""
    found = []
    for key, ours in recomputed.items():
        theirs = log.values.get(key)
        if theirs is None and isinstance(ours, float):
            continue  # LoadGen divided by zero, and wrote what is no number
        if isinstance(ours, float) and theirs is not None:
            same = math.isclose(ours, float(theirs), rel_tol=_ROUNDING)
        else:
            same = ours == theirs
        if not same:
            found.append(f"LoadGen logged {key} {theirs}, and its trace gives {ours}")
    return found
