"""The numbers of one LoadGen test, and the arithmetic behind them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.early_stopping import min_queries
from loadgen_generic.errors import RequestError
from loadgen_generic.seams import Estimate

__all__ = [
    "SERVER_LEAST_LATENCY_SEC",
    "TestSettings",
    "duration_sec",
    "needs_probe",
    "plan_settings",
    "samples_per_query",
]

DEFAULT_DURATION_SEC = 10.0
DEFAULT_SAMPLES_PER_QUERY = 8
DEFAULT_PERCENTILE = {"SingleStream": 90.0, "MultiStream": 99.0, "Server": 99.0}
# Half of what the model can do leaves room for Poisson bursts, so that the bound below holds.
SERVER_LOAD = 0.5
SERVER_LATENCY_FACTOR = 10
SERVER_LEAST_LATENCY_SEC = 0.1
# A default run that takes longer than this is told of, with a way to a shorter one.
LONG_SEC = 30.0
# LoadGen issues this much more than the expectation asks for in Offline, as a margin.
OFFLINE_SLACK = 1.1
# LoadGen prepares queries for this many times the duration in SingleStream and MultiStream and
# keeps about 100 bytes for each: a test of more queries than this asks for too much memory.
MOST_PREPARED_QUERIES = 50_000_000
# Far beyond this LoadGen's nanoseconds overflow.
SLOWEST_QUERY_SEC = 86400.0


@dataclass(frozen=True, slots=True)
class TestSettings:
    """What LoadGen is told. Times in the unit their name says; percentile in percent.

    ``coalesce`` lets LoadGen hand over all queries that are due at once (Server);
    ``notes`` are sentences for the user: the arithmetic that led here.
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
    seed: int
    notes: tuple[str, ...]

    def as_effective(self) -> dict[str, object]:
        """The settings under the names of the result's effective configuration."""
        values = asdict(self)
        del values["notes"]
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
    config: BenchmarkConfig, estimate: Estimate | None, distinct_samples: int = 0
) -> TestSettings:
    """Turn the request and the probe's estimate into LoadGen's numbers.

    Args:
        config: the request.
        estimate: throughput in samples/s and latency of a lone query; None where
            :func:`needs_probe` said that none is needed.
        distinct_samples: how many there are, each of which accuracy mode answers once.

    Raises:
        RequestError: the numbers together cannot make a test.
    """
    scenario = config.scenario
    duration = duration_sec(config)
    per_query = samples_per_query(config)
    percentile = config.target_latency_percentile or DEFAULT_PERCENTILE.get(scenario, 99.0)
    expected = config.loadgen_expected_qps or (estimate.samples_per_sec if estimate else 0.0)
    notes: list[str] = []
    fewest, most = _query_counts(config, per_query, percentile)
    target_qps = target_latency_ms = 0.0

    if scenario == "Offline":
        expected = expected or 1.0
        # Rounded down, as LoadGen does.
        count = max(fewest, int(OFFLINE_SLACK * (round(duration * 1000) / 1000) * expected))
        notes.append(
            f"{count} samples = {OFFLINE_SLACK} x {duration:g} s x {_digits(expected)} samples/s"
            if count > fewest
            else f"{count} samples, as asked for"
            if config.samples or config.min_query_count
            else f"{count} samples"
        )
    elif scenario == "Server":
        target_qps, target_latency_ms = _server_target(config, estimate, notes)
        count = max(fewest, math.ceil(duration * target_qps))
        notes.append(_length(count, fewest, target_qps, percentile, config))
    else:
        latency = _latency_sec(config, estimate, per_query)
        expected = per_query / latency
        count = max(fewest, math.ceil(duration / latency))
        notes.append(_length(count, fewest, 1 / latency, percentile, config))
        if fewest * latency > LONG_SEC and count == fewest and percentile > 90:
            short = min_queries(0.9)
            notes.append(
                f"shorter: --target_latency_percentile 90 takes {short} queries, about "
                f"{max(duration, short * latency):.0f} s"
            )
        if latency > SLOWEST_QUERY_SEC:
            raise _too_slow("loadgen_expected_qps", config.loadgen_expected_qps)
        if 2 * duration / latency > MOST_PREPARED_QUERIES:
            raise RequestError(
                f"at {latency * 1e6:.2g} us a query LoadGen would have to prepare "
                f"{2 * duration / latency:.2g} queries.",
                flag="loadgen_duration_sec",
                value=f"{duration:g}",
                remedy=f"Take at most {MOST_PREPARED_QUERIES * latency / 2:.0f} s, or give a "
                "--loadgen_expected_qps that is nearer to the truth.",
            )
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
        coalesce=scenario == "Server",
        seed=config.seed,
        notes=tuple(notes),
    )


def _accuracy_notes(config: BenchmarkConfig, distinct_samples: int) -> list[str]:
    sizes = ("samples", "loadgen_duration_sec", "min_query_count", "max_query_count")
    given = [f"--{name}" for name in sizes if getattr(config, name) is not None]
    note = f"accuracy mode answers each of the {distinct_samples} samples once"
    if given:
        note += f"; {', '.join(given)} cannot change that, --distinct_samples does"
    return [note]


def samples_per_query(config: BenchmarkConfig) -> int:
    """How many samples LoadGen issues together; Offline's single query apart."""
    if config.scenario != "MultiStream":
        return 1
    return config.samples_per_query or DEFAULT_SAMPLES_PER_QUERY


def duration_sec(config: BenchmarkConfig) -> float:
    """Shortest valid test, in s; 0 where a count of samples stands in its place."""
    if config.loadgen_duration_sec is not None:
        return config.loadgen_duration_sec
    return 0.0 if config.samples else DEFAULT_DURATION_SEC


def _query_counts(config: BenchmarkConfig, per_query: int, percentile: float) -> tuple[int, int]:
    """Fewest and most queries; 0 means no limit for the latter."""
    asked = math.ceil(config.samples / per_query) if config.samples else 0
    most = config.max_query_count or 0
    if asked and config.loadgen_duration_sec is None and not config.min_query_count:
        return asked, most or (asked if config.scenario != "Offline" else 0)
    if config.min_query_count:
        return max(config.min_query_count, asked), most
    needed = 1 if config.scenario == "Offline" else min_queries(percentile / 100)
    return max(min(needed, most) if most else needed, asked), most


def _server_target(
    config: BenchmarkConfig, estimate: Estimate | None, notes: list[str]
) -> tuple[float, float]:
    rate = config.target_qps or config.loadgen_expected_qps
    if rate is None:
        assert estimate is not None
        rate = _round_down(SERVER_LOAD * estimate.samples_per_sec)
        notes.append(
            f"{_digits(rate)} queries/s = {SERVER_LOAD:g} x "
            f"{_digits(estimate.samples_per_sec)} samples/s "
            "measured; set your own with --target_qps"
        )
    elif rate * SLOWEST_QUERY_SEC < 1:
        flag = "target_qps" if config.target_qps else "loadgen_expected_qps"
        raise _too_slow(flag, rate)
    bound = config.target_latency_ms
    if bound is None:
        assert estimate is not None
        latency = estimate.latency_sec
        bound = 1000 * max(SERVER_LEAST_LATENCY_SEC, SERVER_LATENCY_FACTOR * latency)
        notes.append(
            f"latency bound {_digits(bound)} ms, since a lone query takes "
            f"{_digits(latency * 1000)} ms; "
            "set your own with --target_latency_ms"
        )
    return rate, bound


def _too_slow(flag: str, rate: float | None) -> RequestError:
    return RequestError(
        "this is less than one query a day.", flag=flag, value=rate, remedy="Give a higher rate."
    )


def _latency_sec(config: BenchmarkConfig, estimate: Estimate | None, per_query: int) -> float:
    if config.loadgen_expected_qps:
        return per_query / config.loadgen_expected_qps
    # Without an estimate the number of queries is given and the expectation sizes nothing.
    return estimate.latency_sec if estimate else 1e-3


def _length(
    count: int, fewest: int, rate: float, percentile: float, config: BenchmarkConfig
) -> str:
    took = f"about {count / rate:.0f} s at {_digits(rate)} queries/s"
    if count > fewest:
        return f"{count} queries, {took}"
    if config.samples or config.min_query_count or config.max_query_count:
        return f"{count} queries, as asked for"
    return (
        f"{count} queries, the fewest that early stopping accepts at the {percentile:g}th "
        f"percentile, {took}"
    )


def _digits(value: float) -> str:
    """For people: three or more digits, and no exponent for what is large."""
    return f"{value:.1f}".removesuffix(".0") if value >= 10 else f"{value:.4g}"


def _round_down(value: float) -> float:
    """To three significant digits."""
    if value <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / step) * step:.6g}")
