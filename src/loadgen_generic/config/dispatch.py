"""How queries reach the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["DispatchOptions"]


class DispatchOptions(Options):
    runner: Annotated[
        Literal[
            "auto",
            "inline",
            "threadpool",
            "threadpool+replication",
            "inflight",
            "processpool",
            "processpool+mp",
            "ray",
        ],
        Option("Dispatch", "CM_MLPERF_RUNNER"),
    ] = Field(
        "auto",
        description="how queries reach the model: inline on LoadGen's own thread; threadpool, "
        "workers that share a session; threadpool+replication, workers with a session each; "
        "inflight, with --backend kserve, so many requests under way by callbacks; "
        "processpool (processpool+mp is the same), workers in processes of their own; ray, replicas "
        "over the nodes of a Ray cluster; auto calibrates",
    )
    concurrency: Annotated[int | None, Option("Dispatch", "CM_MLPERF_CONCURRENCY")] = Field(
        None, ge=0, le=4096, description="number of workers (0: one per core, or as calibrated)"
    )
    batch_size: Annotated[int | None, Option("Dispatch", "CM_MLPERF_BATCH_SIZE")] = Field(
        None,
        ge=1,
        le=2**20,
        description="most samples in one inference, or auto to calibrate; MultiStream runs a "
        "query as one batch unless this is smaller",
    )
    batch_timeout_us: Annotated[
        float | None,
        Option("Dispatch", "CM_MLPERF_BATCH_TIMEOUT_US", unit="us", scenarios=("Server",)),
    ] = Field(
        None,
        ge=0,
        le=1e9,
        description="how long a batch that is not full waits for more queries (0: take what is "
        "waiting)",
    )
    pin: Annotated[bool, Option("Dispatch", "CM_MLPERF_PIN")] = Field(
        False, description="give each worker processors of its own (Linux)"
    )
    distinct_samples: Annotated[int | None, Option("Dispatch", "CM_MLPERF_DISTINCT_SAMPLES")] = (
        Field(
            None,
            ge=1,
            le=2**24,
            description="number of different inputs (default: enough to exceed twice the last-level "
            "cache)",
        )
    )

    @field_validator("batch_size", "concurrency", mode="before")
    @classmethod
    def _auto_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "auto" else value
