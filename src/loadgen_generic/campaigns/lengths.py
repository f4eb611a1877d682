"""How long the tests of a search are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from loadgen_generic.campaigns.fixing import one_run
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.early_stopping import min_queries
from loadgen_generic.settings import duration_sec

__all__ = ["full_seconds", "of_short_length", "queries_at", "shortened"]

# A short trial is this share of the full length, within limits: shorter says too little of the
# tail of latencies, longer costs time that the tests of full length need.
_SHORT_SHARE, _SHORTEST_SEC, _LONGEST_SEC = 0.2, 2.0, 30.0
_FEWEST_SAMPLES = 1500
_BY_RULES_SEC = 600.0
_USUAL_PERCENTILE = 0.99
# What only the answer needs, or what sets a length.
_NOT_IN_SHORT = (
    "min_query_count",
    "official",
    "profile",
    "save_outputs",
    "trace",
    "verify",
    "verify_samples",
    "verify_fraction",
    "atol",
    "rtol",
    "tolerance",
)


def full_seconds(config: BenchmarkConfig) -> float:
    """Of a test of full length; what LoadGen's files say is known to the measured process alone,
    and for these the rules' ten minutes are near enough."""
    if _by_file(config) and config.loadgen_duration_sec is None and not config.samples:
        return _BY_RULES_SEC
    return duration_sec(config)


def queries_at(config: BenchmarkConfig, rate: float, percentile: float) -> int:
    """How many queries a test in Server has.

    Args:
        rate: of queries/s.
        percentile: of latency that is bounded, as a share.
    """
    counted = config.samples and config.loadgen_duration_sec is None
    fewest = config.min_query_count or (1 if counted else min_queries(percentile))
    return max(fewest, config.samples or 0, int(full_seconds(config) * rate))


def _by_file(config: BenchmarkConfig) -> bool:
    return bool(config.official or config.mlperf_model or config.user_conf)


def shortened(options: Mapping[str, Any], config: BenchmarkConfig) -> dict[str, Any]:
    """The options of a test of full length, for a short one."""
    kept = {name: value for name, value in options.items() if name not in _NOT_IN_SHORT}
    return kept | _short_length(config)


def of_short_length(config: BenchmarkConfig, times: float = 1.0) -> BenchmarkConfig:
    """A test so many times as long as a short one, and no longer than a full one.

    Args:
        config: a test of full length.
    """
    options = shortened(one_run(config), config)
    if options.get("loadgen_duration_sec"):
        longer = times * options["loadgen_duration_sec"]
        options["loadgen_duration_sec"] = min(longer, full_seconds(config))
    if config.samples:
        options["samples"] = min(int(times * options["samples"]), config.samples)
    return BenchmarkConfig.model_validate(options)


def _short_length(config: BenchmarkConfig) -> dict[str, Any]:
    full = full_seconds(config)
    length: dict[str, Any] = {}
    if config.min_query_count or _by_file(config):
        # As a flag, since that wins over LoadGen's files.
        fewest = min_queries(_USUAL_PERCENTILE)
        length["min_query_count"] = min(config.min_query_count or fewest, fewest)
    if full:
        short = min(max(_SHORTEST_SEC, _SHORT_SHARE * full), _LONGEST_SEC)
        length["loadgen_duration_sec"] = min(full, short)
    if config.samples:
        few = max(_FEWEST_SAMPLES, math.ceil(_SHORT_SHARE * config.samples))
        length["samples"] = min(config.samples, few)
    return length
