"""The numbers that LoadGen is told, and the arithmetic behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.early_stopping import min_queries
from loadgen_generic.errors import RequestError
from loadgen_generic.settings.conf_values import ConfValues
from loadgen_generic.settings.counts import (
    DEFAULT_PERCENTILE,
    duration_sec,
    query_counts,
    samples_per_query,
)
from loadgen_generic.settings.rules import checked_sample_set
from loadgen_generic.settings.server import server_target
from loadgen_generic.settings.words import SLOWEST_QUERY_SEC, about, too_slow
from loadgen_generic.wording import digits

if TYPE_CHECKING:
    from loadgen_generic.seams import Estimate

__all__ = ["TestSettings", "needs_probe", "plan_settings"]

# A default run that takes longer than this is told of, with a way to a shorter one.
LONG_SEC = 30.0
# LoadGen issues this much more than the expectation asks for in Offline, as a margin.
OFFLINE_SLACK = 1.1
# LoadGen prepares queries for this many times the duration in SingleStream and MultiStream and
# keeps about 100 bytes for each: a test of more queries than this asks for too much memory.
MOST_PREPARED_QUERIES = 50_000_000


@dataclass(frozen=True, slots=True)
class TestSettings:
    """What LoadGen is told. Times in the unit their name says; percentile in percent.

    ``coalesce`` lets LoadGen hand over all queries that are due at once (Server); ``accuracy``
    has each sample answered once;
    ``loadgen_seeds`` are those of the sample set, of the order in it, and of the schedule;
    ``conf`` holds attributes of LoadGen's own TestSettings as its files have them, over which the
    other fields win; ``notes`` are sentences for the user: the arithmetic that led here.
    """

    __test__ = False  # pytest takes the name for a test class otherwise

    scenario: str
    min_duration_ms: int
    min_query_count: int
    max_query_count: int
    expected_qps: float
    samples_per_query: int
    percentile: float
    target_qps: float
    target_latency_ms: float
    coalesce: bool
    accuracy: bool
    seed: int
    loadgen_seeds: tuple[int, int, int]
    conf: Mapping[str, float]
    audit: str
    notes: tuple[str, ...]

    def as_effective(self) -> dict[str, object]:
        """The settings under the names of the result's effective configuration."""
        values = asdict(self)
        for name in ("notes", "conf", "audit", "accuracy"):
            del values[name]
        values["loadgen_seeds"] = list(self.loadgen_seeds)
        values["loadgen_expected_qps"] = values.pop("expected_qps")
        values["target_latency_percentile"] = values.pop("percentile")
        return values


def needs_probe(config: BenchmarkConfig) -> bool:
    """Whether something has to be measured before the test can be sized.

    A count of samples sizes the test by itself, except that Server needs an arrival rate.
    """
    if config.mode == "accuracy" and config.scenario != "Server":
        return False
    if config.scenario == "Server":
        rate = config.target_qps or config.loadgen_expected_qps
        return rate is None or config.target_latency_ms is None
    return config.loadgen_expected_qps is None and duration_sec(config) > 0


def plan_settings(
    config: BenchmarkConfig,
    estimate: Estimate | None,
    distinct_samples: int = 0,
    conf: ConfValues | None = None,
    in_memory: int = 0,
) -> TestSettings:
    """Turn the request and the probe's estimate into LoadGen's numbers.

    Args:
        config: the request, into which :func:`with_conf` has put what ``conf`` says.
        estimate: throughput in samples/s and latency of a lone query; None where
            :func:`needs_probe` said that none is needed.
        distinct_samples: how many there are, each of which accuracy mode answers once.
        in_memory: how many of them may be loaded at once.

    Raises:
        RequestError: the numbers together cannot make a test.
    """
    scenario = config.scenario
    estimate = _rounded(estimate) if estimate else None
    duration = duration_sec(config)
    per_query = samples_per_query(config)
    percentile = config.target_latency_percentile or DEFAULT_PERCENTILE.get(scenario, 99.0)
    expected = config.loadgen_expected_qps or (estimate.samples_per_sec if estimate else 0.0)
    notes: list[str] = []
    fewest, most = query_counts(config, per_query, percentile)
    target_qps = target_latency_ms = 0.0
    values, set_notes = checked_sample_set(config, conf, in_memory)

    if scenario == "Offline":
        expected = expected or 1.0
        # Rounded down, as LoadGen does.
        count = max(fewest, int(OFFLINE_SLACK * (round(duration * 1000) / 1000) * expected))
        took = count / expected
        notes.append(
            f"{count} samples = {OFFLINE_SLACK} x {duration:g} s x {digits(expected)} samples/s"
            if count > fewest
            else f"{count} samples, as asked for"
            if config.samples or config.min_query_count
            else f"{count} samples"
        )
        if values.get("performance_issue_unique"):
            notes = ["each sample that is in memory once (performance_issue_unique)"]
    elif scenario == "Server":
        target_qps, target_latency_ms = server_target(config, estimate, notes)
        count = max(fewest, math.ceil(duration * target_qps))
        took = count / target_qps
        notes.append(_length(count, fewest, target_qps, percentile, config))
    else:
        latency = _latency_sec(config, estimate, per_query)
        expected = per_query / latency
        count = max(fewest, math.ceil(duration / latency))
        took = count * latency
        notes.append(_length(count, fewest, 1 / latency, percentile, config))
        _check_latency(config, latency, duration)
        if took > LONG_SEC and count == fewest and percentile > 90 and not config.official:
            short = min_queries(0.9)
            notes.append(
                f"shorter: --target_latency_percentile 90 takes {short} queries, about "
                f"{max(duration, short * latency):.0f} s"
            )
    if config.official:
        notes.append(f"--official: the test takes {about(max(took, duration))}, starting now")
    if config.mode == "accuracy":
        notes = _accuracy_notes(config, distinct_samples)
    return TestSettings(
        scenario=scenario,
        min_duration_ms=round(duration * 1000),
        min_query_count=fewest,
        max_query_count=most,
        expected_qps=expected,
        samples_per_query=per_query,
        percentile=percentile,
        target_qps=target_qps,
        target_latency_ms=target_latency_ms,
        coalesce=scenario == "Server"
        and not (
            conf and "coalesce_queries" in conf.given and not values["server_coalesce_queries"]
        ),
        accuracy=config.mode == "accuracy",
        seed=config.seed,
        loadgen_seeds=conf.seeds
        if conf and conf.built_in
        else (config.seed, config.seed + 1, config.seed + 2),
        conf=values,
        audit=config.audit or "",
        notes=(*set_notes, *notes),
    )


def _rounded(estimate: Estimate) -> Estimate:
    """With the digits that a short probe supports, so that the arithmetic can be followed."""
    figures = asdict(estimate)
    return replace(estimate, **{each: float(digits(figures[each], 3)) for each in figures})


def _accuracy_notes(config: BenchmarkConfig, distinct_samples: int) -> list[str]:
    sizes = ("samples", "loadgen_duration_sec", "min_query_count", "max_query_count")
    given = [f"--{name}" for name in sizes if getattr(config, name) is not None]
    note = f"accuracy mode answers each of the {distinct_samples} samples once"
    if given:
        note += f"; {', '.join(given)} cannot change that, --distinct_samples does"
    return [note]


def _latency_sec(config: BenchmarkConfig, estimate: Estimate | None, per_query: int) -> float:
    if config.loadgen_expected_qps:
        return per_query / config.loadgen_expected_qps
    # Without an estimate the number of queries is given and the expectation sizes nothing.
    return estimate.latency_sec if estimate else 1e-3


def _check_latency(config: BenchmarkConfig, latency: float, duration: float) -> None:
    if latency > SLOWEST_QUERY_SEC:
        raise too_slow("loadgen_expected_qps", config.loadgen_expected_qps)
    if 2 * duration / latency > MOST_PREPARED_QUERIES:
        raise RequestError(
            f"at {latency * 1e6:.2g} us a query LoadGen would have to prepare "
            f"{2 * duration / latency:.2g} queries.",
            flag="loadgen_duration_sec",
            value=f"{duration:g}",
            remedy=f"Take at most {MOST_PREPARED_QUERIES * latency / 2:.0f} s, or give a "
            "--loadgen_expected_qps that is nearer to the truth.",
        )


def _length(
    count: int, fewest: int, rate: float, percentile: float, config: BenchmarkConfig
) -> str:
    took = f"about {count / rate:.0f} s at {digits(rate, 3)} queries/s"
    if count > fewest:
        return f"{count} queries, {took}"
    if config.samples or config.min_query_count or config.max_query_count:
        return f"{count} queries, as asked for"
    return (
        f"{count} queries, the fewest that early stopping accepts at the {percentile:g}th "
        f"percentile, {took}"
    )
