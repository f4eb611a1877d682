"""The description of a run: every option once.

The command line, the JSON request that CM hands over, the option tables of the
README and CM's ``input_mapping`` and ``input_description`` are all derived from
:class:`BenchmarkConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from loadgen_generic.option import Option, choices, parse_pairs

__all__ = ["ONE_AT_A_TIME", "SCENARIOS", "BenchmarkConfig", "choices", "options"]

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
ONE_AT_A_TIME = ("SingleStream", "MultiStream")  # the next query waits for the answer


class BenchmarkConfig(BaseModel):
    """One run, as it was asked for. ``None`` always means: choose for me."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_path: Annotated[
        str | None,
        Option("Model", "CM_ML_MODEL_FILE_WITH_PATH", aliases=("modelpath",), metavar="FILE"),
    ] = Field(None, description="ONNX model to measure")
    model: Annotated[Literal["demo"] | None, Option("Model", "CM_MODEL", in_cm=False)] = Field(
        None,
        description="a model that needs no file: demo is ResNet-50 v1.5 with seeded random "
        "weights, built on first use",
    )
    batch_dim: Annotated[
        str, Option("Model", "CM_MLPERF_BATCH_DIM", metavar="{auto,none,NAME}")
    ] = Field(
        "auto",
        description="the dimension along which samples are batched; auto takes the leading one "
        "where it is open on every input, or fixed alike on every input and output",
    )
    dim: Annotated[
        dict[str, int], Option("Model", "CM_MLPERF_DIM", metavar="NAME=SIZE[,NAME=SIZE...]")
    ] = Field(
        default_factory=dict,
        description="sizes of the model's symbolic dimensions, by name; the batch dimension "
        "needs none",
    )
    seed: Annotated[int, Option("Model", "CM_MLPERF_SEED")] = Field(
        0, ge=0, lt=2**63, description="seed of the synthetic inputs and of LoadGen's generators"
    )

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
        Option("Test", "CM_MLPERF_LOADGEN_TARGET_LATENCY", unit="ms", scenarios=("Server",)),
    ] = Field(
        None,
        gt=0,
        le=3.6e6,
        description="latency bound that the percentile has to meet (default: ten times the "
        "latency of a lone query, at least 100 ms)",
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

    runner: Annotated[
        Literal[
            "auto",
            "inline",
            "threadpool",
            "threadpool+replication",
            "processpool",
            "processpool+mp",
        ],
        Option("Dispatch", "CM_MLPERF_RUNNER"),
    ] = Field(
        "auto",
        description="how queries reach the model: inline on LoadGen's own thread; threadpool, "
        "workers that share a session; threadpool+replication, workers with a session each; "
        "processpool (processpool+mp is the same), workers in processes of their own; auto "
        "calibrates",
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

    backend: Annotated[Literal["onnxruntime", "fake"], Option("Session", "CM_MLPERF_BACKEND")] = (
        Field(
            "onnxruntime",
            description="who answers the queries; fake answers without a model after a set time, to "
            "measure what the harness itself costs",
        )
    )
    execution_provider: Annotated[
        str, Option("Session", "CM_MLPERF_EXECUTION_PROVIDER", aliases=("ep",))
    ] = Field(
        "CPUExecutionProvider",
        description="ONNX Runtime execution provider; short names such as cpu and cuda are "
        "understood",
    )
    intra_op_threads: Annotated[
        int | None, Option("Session", "CM_MLPERF_INTRAOP", aliases=("intraop",))
    ] = Field(None, ge=0, le=4096, description="threads inside one operator (0: cores / workers)")
    inter_op_threads: Annotated[
        int | None, Option("Session", "CM_MLPERF_INTEROP", aliases=("interop",))
    ] = Field(
        None,
        ge=0,
        le=4096,
        description="threads across operators, used by the parallel execution mode (0: 1, or "
        "cores in that mode)",
    )
    execution_mode: Annotated[
        Literal["auto", "sequential", "parallel"],
        Option("Session", "CM_MLPERF_EXEC_MODE", aliases=("execmode",)),
    ] = Field(
        "auto",
        description="run independent operators one after another or at once; auto is sequential",
    )
    backend_options: Annotated[
        dict[str, str],
        Option("Session", "CM_MLPERF_BACKEND_OPTIONS", metavar="KEY=VALUE[,KEY=VALUE...]"),
    ] = Field(
        default_factory=dict,
        description="session configuration entries of ONNX Runtime, or the settings of the fake "
        "backend",
    )

    output_dir: Annotated[str | None, Option("Run", "CM_MLPERF_OUTPUT_DIR", metavar="DIR")] = Field(
        None,
        description="where the result goes; if an earlier run is there, a new directory inside it "
        "(default: a new directory under ./results)",
    )
    warmup_queries: Annotated[int, Option("Run", "CM_MLPERF_WARMUP_QUERIES")] = Field(
        3, ge=0, le=10**6, description="inferences of each worker before anything is timed"
    )
    stall_timeout_sec: Annotated[float, Option("Run", "CM_MLPERF_STALL_TIMEOUT_SEC", unit="s")] = (
        Field(300.0, gt=0, description="give up when no sample has been answered for this long")
    )

    @field_validator("scenario", "runner", "backend", "execution_mode", "model", mode="before")
    @classmethod
    def _ignore_case(cls, value: object, info: Any) -> object:
        if not isinstance(value, str):
            return value
        known = {name.lower(): name for name in choices(cls.model_fields[info.field_name])}
        return known.get(value.strip().lower(), value)

    @field_validator("batch_size", "concurrency", mode="before")
    @classmethod
    def _auto_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "auto" else value

    @field_validator("dim", "backend_options", mode="before")
    @classmethod
    def _parse_pairs(cls, value: object) -> object:
        return parse_pairs(value) if isinstance(value, str) else value

    @field_validator("dim")
    @classmethod
    def _positive_dims(cls, value: dict[str, int]) -> dict[str, int]:
        for name, size in value.items():
            if size < 1:
                raise ValueError(f"dimension {name} must be at least 1, not {size}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> BenchmarkConfig:
        for name, option, _ in options():
            given = getattr(self, name) is not None and name in self.model_fields_set
            if given and option.scenarios and self.scenario not in option.scenarios:
                raise ValueError(
                    f"--{name} has no meaning in the {self.scenario} scenario; "
                    f"it applies to {', '.join(option.scenarios)}"
                )
        if self.model is not None and self.model_path is not None:
            raise ValueError(
                f"--model {self.model} and --modelpath {self.model_path} both name a model; "
                "leave one out"
            )
        fewest, most = self.min_query_count, self.max_query_count
        if fewest and most and fewest > most:
            raise ValueError(f"--min_query_count {fewest} is more than --max_query_count {most}")
        return self


def options() -> Iterator[tuple[str, Option, FieldInfo]]:
    """Every option as (field name, what CM and the command line need, pydantic's field)."""
    for name, field in BenchmarkConfig.model_fields.items():
        yield name, next(m for m in field.metadata if isinstance(m, Option)), field
