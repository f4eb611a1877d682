"""The LoadGen test."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["ONE_AT_A_TIME", "SCENARIOS", "TestOptions"]

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
ONE_AT_A_TIME = ("SingleStream", "MultiStream")  # the next query waits for the answer


class TestOptions(Options):
    scenario: Annotated[Scenario, Option("Test", "CM_MLPERF_LOADGEN_SCENARIO")] = Field(
        "Offline", description="LoadGen scenario: how queries arrive"
    )
    loadgen_duration_sec: Annotated[
        float | None, Option("Test", "CM_MLPERF_LOADGEN_DURATION_SEC", unit="s")
    ] = Field(
        None,
        ge=0,
        le=86400,
        description="shortest time that counts as a valid test (10 unless --samples is given)",
    )
    samples: Annotated[int | None, Option("Test", "CM_MLPERF_LOADGEN_SAMPLES")] = Field(
        None,
        ge=1,
        le=2**40,
        description="number of samples to run in place of a duration; with "
        "--loadgen_duration_sec as well, the larger of the two",
    )
    min_query_count: Annotated[int | None, Option("Test", "CM_MLPERF_LOADGEN_MIN_QUERY_COUNT")] = (
        Field(
            None,
            ge=1,
            le=2**40,
            description="fewest queries that count as a valid test (default: what early stopping "
            "needs at the percentile)",
        )
    )
    max_query_count: Annotated[int | None, Option("Test", "CM_MLPERF_LOADGEN_MAX_QUERY_COUNT")] = (
        Field(
            None,
            ge=1,
            le=2**40,
            description="stop after this many queries, even if that leaves the result INVALID",
        )
    )
    loadgen_expected_qps: Annotated[
        float | None,
        Option("Test", "CM_MLPERF_LOADGEN_EXPECTED_QPS", unit="samples/s"),
    ] = Field(
        None,
        gt=0,
        le=1e9,
        description="expected throughput, from which the length of the run follows; measured by "
        "a short probe unless given",
    )
    target_qps: Annotated[
        float | None,
        Option("Test", "CM_MLPERF_LOADGEN_TARGET_QPS", unit="queries/s", scenarios=("Server",)),
    ] = Field(
        None,
        gt=0,
        le=1e9,
        description="mean arrival rate of queries (default: half of the throughput that a "
        "short probe measures)",
    )
    target_latency_ms: Annotated[
        float | None,
        Option(
            "Test",
            "CM_MLPERF_LOADGEN_TARGET_LATENCY",
            unit="ms",
            scenarios=("MultiStream", "Server"),
        ),
    ] = Field(
        None,
        gt=0,
        le=3.6e6,
        description="latency bound that the percentile has to meet (default: ten times the "
        "latency of a lone query, at least 100 ms; in MultiStream for --mode find_peak alone, "
        "without a default)",
    )
    target_latency_percentile: Annotated[
        float | None,
        Option(
            "Test",
            "CM_MLPERF_LOADGEN_TARGET_LATENCY_PERCENTILE",
            unit="%",
            scenarios=("SingleStream", "MultiStream", "Server"),
        ),
    ] = Field(
        None,
        gt=0,
        lt=100,
        description="percentile of latency that is reported or bounded (90 in SingleStream, 99 "
        "in MultiStream and Server)",
    )
    samples_per_query: Annotated[
        int | None,
        Option("Test", "CM_MLPERF_LOADGEN_SAMPLES_PER_QUERY", scenarios=("MultiStream",)),
    ] = Field(None, ge=1, le=2**20, description="samples in each MultiStream query (8)")
