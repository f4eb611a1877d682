"""What a report shows, made by code: plausible runs of every kind, the same each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loadgen_generic.report.reading.figures import Figures, Histogram, Latencies, OverTime
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.many_runs import Repetition, Search
from loadgen_generic.results.profile import OperatorTime, Profile
from loadgen_generic.results.result import (
    Accuracy,
    ConfigPair,
    LoadGenSetting,
    Metric,
    ModelFacts,
    Result,
)
from loadgen_generic.results.telemetry import Series, TelemetrySummary, Timeline

__all__ = ["accuracy", "gpu_timelines", "many_cores", "performance", "repeated", "searched"]

_SECONDS = 60.0
_VALUES = {"Offline": 48_213.7, "Server": 11_842.3, "SingleStream": 2_317_450.0}
_PERCENT = {"SingleStream": 90.0, "MultiStream": 99.0, "Server": 99.0}
_BOUND_NS = 15_000_000


def performance(scenario: str, directory: Path, *, model: str = "resnet50.onnx") -> Figures:
    """A run of a minute; Server misses its bound."""
    rng = np.random.default_rng(1)
    percentile = _PERCENT.get(scenario)
    spread = 0.9 if scenario == "Server" else 0.12
    samples = np.exp(rng.normal(np.log(2.2e6), spread, 200_000)) + 4e5
    latency_ns = {
        "min": int(samples.min()),
        "mean": int(samples.mean()),
        "max": int(samples.max()),
        **{f"p{p:g}": int(np.percentile(samples, p)) for p in (50, 90, 95, 97, 99, 99.9)},
    }
    value = _VALUES.get(scenario, 4_120_771.0)
    metric = Metric(name=HEADLINES[scenario].key, value=value, unit=HEADLINES[scenario].unit)
    valid = scenario != "Server"
    figures = Figures(
        directory=directory,
        model=model,
        scenario=scenario,
        mode="PerformanceOnly",
        started_at="2026-11-24T15:40:34+0000",
        valid=valid,
        verdict=f"VALID: {scenario} as measured."
        if valid
        else "INVALID: Server 11,842 samples/s with the 99th percentile of latency (18.3 ms) "
        "against 15 ms, but 9184 of 710538 queries took longer than 15 ms, more than 1 %.",
        reasons=[] if valid else ["9184 of 710538 queries took longer than 15 ms, more than 1 %"],
        next_command=""
        if valid
        else f"loadgen-generic run --model_path '{model}' --scenario Server --target_qps 9500 "
        "--target_latency_ms 15",
        metric=metric,
        latency_ns=latency_ns,
        percentile=percentile,
        bound_ns=_BOUND_NS if scenario == "Server" else None,
        samples=710_538,
        queries=1 if scenario == "Offline" else 710_538,
        duration_s=_SECONDS,
        latencies=None if scenario == "Offline" else _latencies(samples, rng, scenario),
        throughput=_throughput(rng, value if scenario != "SingleStream" else 431.0),
        waiting=_over_time(rng, 180.0) if scenario == "Server" else None,
        batches=Histogram(np.arange(1, 66), rng.integers(0, 4000, 64))
        if scenario == "Server"
        else None,
        machine=_machine(rng, cores=4),
        settings=[
            LoadGenSetting(key="min_duration_ms", requested=60_000, effective=60_000),
            LoadGenSetting(key="performance_sample_count", requested=0, effective=1024),
            LoadGenSetting(key="target_qps", requested=None, effective=466.252),
        ],
        result=None,
        missing=["There is no chart of the processor's clock: this machine does not tell it."],
    )
    return replace(figures, result=_result(figures))


def accuracy(directory: Path) -> Figures:
    base = performance("Offline", directory)
    found = Accuracy(samples=1000, labelled=1000, judged=1000, correct=762)
    sentence = "ACCURACY: top-1 76.2 %, 762 of 1000 labelled samples."
    metric = Metric(name="top_1_accuracy", value=76.2, unit="%")
    assert base.result is not None
    result = base.result.model_copy(
        update={"accuracy": found, "valid": None, "verdict": sentence, "metric": metric}
    )
    return replace(
        base,
        mode="AccuracyOnly",
        valid=None,
        verdict=sentence,
        metric=metric,
        latency_ns={},
        throughput=None,
        result=result,
    )


def repeated(directory: Path) -> Figures:
    """SingleStream, seven times, under a profiler at last."""
    base = performance("SingleStream", directory)
    values = [2.312e6, 2.317e6, 2.331e6, 2.309e6, 2.71e6, 2.318e6, 2.315e6]
    repeat = Repetition(
        runs=len(values),
        values=values,
        median=2.317e6,
        spread=0.173,
        confidence=0.95,
        interval=(2.312e6, 2.331e6),
        file=str(directory / "repeat.json"),
    )
    kinds = ["Conv", "Relu", "MaxPool", "Add", "Gemm", "GlobalAveragePool", "Flatten", "Softmax"]
    shares = [0.81, 0.06, 0.05, 0.04, 0.025, 0.01, 0.003, 0.002]
    profile = Profile(
        inferences=40,
        batch_size=1,
        inference_us=2710.0,
        operators=[_operator(kind, kind, share) for kind, share in zip(kinds, shares, strict=True)],
        nodes=[_operator(f"/layer{i}/Conv_{i}", "Conv", 0.2 / (i + 1)) for i in range(20)],
        file=str(directory / "profile.json"),
    )
    assert base.result is not None
    result = base.result.model_copy(update={"repeat": repeat, "profile": profile})
    return replace(base, result=result)


def searched(directory: Path, *, layouts: bool = False) -> Figures:
    """The best test of a search, whose trials lie in ``search.json``."""
    runs: list[dict[str, Any]] = []
    for number, load in enumerate([56_600, 113_200, 80_040, 67_310, 61_720, 54_900], 1):
        passed = load < 60_000
        run: dict[str, Any] = {"number": number, "full": number > 4, "passed": passed, "why": ""}
        if layouts:
            layout = {"runner": "threadpool", "concurrency": number, "batch_size": 2**number}
            run |= {"layout": layout, "value": load / 10, "unit": "samples/s", "passed": True}
        else:
            run |= {"load": float(load), "percentile_ns": int(1.2e7 * (load / 55_000) ** 5)}
            run["why"] = "" if passed else "77.4 % of the queries took longer than 15 ms"
        runs.append(run)
    file = directory / "search.json"
    file.write_text(json.dumps({"schema_version": 1, "runs": runs}), encoding="utf-8")
    search = Search(
        option="" if layouts else "target_qps",
        unit="samples/s" if layouts else "queries/s",
        highest_valid=None if layouts else 56_600,
        lowest_invalid=None if layouts else 61_720,
        layout={"runner": "threadpool"} if layouts else None,
        trials=len(runs),
        sentence="56600 queries/s is the highest load found that stays within 15 ms.",
        command="loadgen-generic run --model_path mlp.onnx --scenario Server --target_qps 56600",
        file=str(file),
    )
    base = performance("Offline" if layouts else "Server", directory)
    assert base.result is not None
    return replace(base, result=base.result.model_copy(update={"search": search}))


def gpu_timelines() -> list[Timeline]:
    rng = np.random.default_rng(3)
    at = _seconds()
    return [
        Timeline(
            title="GPU utilisation",
            at_s=at,
            series=[_series("GPU 0", "%", 88 + rng.normal(0, 4, len(at)).clip(-9, 9))],
        ),
        Timeline(
            title="GPU memory",
            at_s=at,
            series=[_series("GPU 0", "bytes", np.full(len(at), 11.3 * 2**30))],
        ),
        Timeline(
            title="GPU power",
            at_s=at,
            series=[_series("GPU 0", "W", 510 + rng.normal(0, 12, len(at)))],
        ),
    ]


def many_cores(count: int) -> list[Timeline]:
    return _machine(np.random.default_rng(4), cores=count)


def _operator(name: str, kind: str, share: float) -> OperatorTime:
    return OperatorTime(
        name=name,
        kind=kind,
        provider="CPUExecutionProvider",
        nodes=1,
        calls=40,
        total_us=share * 108_400,
        share=share,
    )


def _latencies(samples: Any, rng: np.random.Generator, scenario: str) -> Latencies:
    edges = np.geomspace(samples.min() * 0.9, samples.max() * 1.1, 600)
    timed = scenario == "Server"
    return Latencies(
        source="timed" if timed else "trace",
        unit="query",
        counted=len(samples),
        total=len(samples) * (7 if timed else 1),
        histogram=Histogram(edges, np.histogram(samples, edges)[0]),
        over_time=_over_time(rng, float(np.median(samples))),
    )


def _over_time(rng: np.random.Generator, typical: float) -> OverTime:
    at = np.linspace(0.3, _SECONDS, 120)
    p50 = typical * (1 + 0.05 * rng.standard_normal(len(at)))
    return OverTime(
        at_s=at,
        width_s=0.5,
        count=np.full(len(at), 1600),
        p50=p50,
        p90=p50 * 1.8,
        p99=p50 * (3 + rng.random(len(at))),
        most=p50 * (5 + 20 * rng.random(len(at)) ** 4),
    )


def _seconds() -> list[float]:
    return [float(second) for second in np.linspace(0.5, _SECONDS, 120)]


def _series(name: str, unit: str, values: Any) -> Series:
    return Series(name=name, unit=unit, values=[float(value) for value in values])


def _throughput(rng: np.random.Generator, value: float) -> Timeline:
    at = _seconds()
    values = value * (1 + 0.02 * rng.standard_normal(len(at)))
    return Timeline(title="Throughput", at_s=at, series=[_series("samples", "samples/s", values)])


def _machine(rng: np.random.Generator, *, cores: int) -> list[Timeline]:
    at = _seconds()
    busy = [
        _series(
            f"core {core}", "%", (96 - 5 * core + 3 * rng.standard_normal(len(at))).clip(0, 100)
        )
        for core in range(cores)
    ]
    memory = 310e6 + 2e6 * np.arange(len(at)) / len(at)
    clock = _series("mean", "MHz", 2596 + 20 * rng.standard_normal(len(at)))
    clock.values[5] = None
    switches = _series("switches", "1/s", 12_000 + 900 * rng.standard_normal(len(at)))
    return [
        Timeline(title="CPU by core", at_s=at, series=busy),
        Timeline(title="Clock", at_s=at, series=[clock]),
        Timeline(title="Memory", at_s=at, series=[_series("resident memory", "bytes", memory)]),
        Timeline(title="Context switches", at_s=at, series=[switches]),
    ]


def _result(figures: Figures) -> Result:
    directory = str(figures.directory)
    return Result(
        started_at=figures.started_at,
        scenario=figures.scenario,
        mode=figures.mode,
        valid=figures.valid,
        invalid_reasons=figures.reasons,
        verdict=figures.verdict,
        next_command=figures.next_command,
        metric=figures.metric,
        latency_ns=figures.latency_ns,
        samples_completed=figures.samples,
        queries_completed=figures.queries,
        duration_s=figures.duration_s,
        config=ConfigPair(
            requested={"model_path": figures.model, "scenario": figures.scenario},
            effective={
                "scenario": figures.scenario,
                "execution_provider": "CPUExecutionProvider",
                "runner": "threadpool",
                "runner_reason": "it was fastest in calibration",
                "concurrency": 2,
                "intra_op_threads": 1,
                "batch_size": 64,
                "min_duration_ms": 60_000,
                "dim": {},
                "inputs": {"x": "float32[3, 224, 224], uniform over [0, 1)"},
            },
        ),
        settings=figures.settings,
        notes=["threadpool, 2 worker(s) x 1 thread(s), batch 64"],
        model=ModelFacts(
            path=figures.model,
            sha256="c7" * 32,
            inputs=["x: tensor(float)[batchx3x224x224]"],
            outputs=["y: tensor(float)[batchx1000]"],
        ),
        providers=["CPUExecutionProvider"],
        host={"cpu": "AMD EPYC", "cores_available": 4, "memory_bytes": 25_276_502_016},
        packages={"onnxruntime": "1.32.0", "numpy": "2.4.6"},
        output_dir=directory,
        loadgen_logs={"detail": f"{directory}/mlperf_log_detail.txt"},
        doubts=["other processes used 30 % of the processor time meanwhile"],
        conditions={"own_cpu_share": 0.93, "other_cpu_share": 0.3, "load_average_before": 0.4},
        manifest={"version": "0.1.0", "command_line": ["loadgen-generic", "run", figures.model]},
        telemetry=TelemetrySummary(
            file=f"{directory}/telemetry.json",
            interval_s=0.5,
            own_cpu_share=0.0021,
            peak_memory_bytes=312_000_000,
            mean_cpu_share=0.93,
            context_switches_per_s=12_040.0,
            gpus=[],
        ),
    )
