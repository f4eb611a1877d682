"""How long a test is, and how many queries it has."""

from __future__ import annotations

import math

from loadgen_generic.config import ONE_AT_A_TIME, BenchmarkConfig
from loadgen_generic.early_stopping import min_queries

__all__ = [
    "DEFAULT_PERCENTILE",
    "DEFAULT_SAMPLES_PER_QUERY",
    "duration_sec",
    "query_counts",
    "samples_per_query",
]

DEFAULT_DURATION_SEC = 10.0
DEFAULT_SAMPLES_PER_QUERY = 8
DEFAULT_PERCENTILE = {"SingleStream": 90.0, "MultiStream": 99.0, "Server": 99.0}


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


def query_counts(config: BenchmarkConfig, per_query: int, percentile: float) -> tuple[int, int]:
    """Fewest and most queries; 0 means no limit for the latter."""
    asked = math.ceil(config.samples / per_query) if config.samples else 0
    most = config.max_query_count or 0
    if asked and config.loadgen_duration_sec is None and not config.min_query_count:
        # Offline and Server end at the fewest by themselves; LoadGen would log the most as an
        # error in Server.
        return asked, most or (asked if config.scenario in ONE_AT_A_TIME else 0)
    if config.min_query_count:
        return max(config.min_query_count, asked), most
    needed = 1 if config.scenario == "Offline" else min_queries(percentile / 100)
    return max(min(needed, most) if most else needed, asked), most
