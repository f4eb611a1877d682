"""A machine made up for the search of a tuning: what a test of each setting would show."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadgen_generic.campaigns import questions
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.campaigns.tuning import plan, proposing
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.plan import TuneSearch
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import OverloadedError
from loadgen_generic.results.tuning import Tuning
from loadgen_generic.settings import duration_sec

__all__ = ["BFLOAT16", "CPU", "OPENVINO", "World"]

CPU = Family("cpu float32", "cpu", "float32", {})
OPENVINO = Family(
    "openvino float32", "openvino", "float32", {"execution_provider": "OpenVINOExecutionProvider"}
)
BFLOAT16 = Family(
    "openvino bfloat16",
    "openvino",
    "bfloat16",
    {"execution_provider": "OpenVINOExecutionProvider", "precision": "bfloat16"},
)
_START_SEC = 2.0  # of a process
_AUTO = (2, 1, 16)  # workers, threads, batch of a layout chosen automatically

Speed = Callable[[str, int, int, int], float]
"""Samples/s of a family, workers, threads, batch size, on two cores."""


def _speed(family: str, workers: int, threads: int, batch: int) -> float:
    """Batches pay off up to a size, workers scale better than threads, more than two gain nothing."""
    of_family = {"cpu float32": 1000.0, "openvino float32": 1100.0, "openvino bfloat16": 2100.0}
    busy = min(2.0, workers * threads**0.8)
    return of_family[family] * busy * batch / (batch + 4) * (0.98 if batch > 64 else 1.0)


@dataclass
class World:
    """Attributes:
    families: that there are, the default's first.
    wrong: families whose answers are wrong, and the sentence that says so.
    accuracy: top-1 of families on labels.
    noise: relative deviation of one measurement.
    disturbed: whether others are at work.
    auto: workers, threads and batch that are chosen automatically in a family.
    too_large: batches that keep no bound at any load.
    flattered: what workers of several threads bear in a short test, times what they bear in a long one.
    """

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    families: Sequence[Family] = (CPU, OPENVINO, BFLOAT16)
    speed: Speed = _speed
    wrong: Mapping[str, str] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.0
    disturbed: bool = False
    auto: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    too_large: Sequence[int] = ()
    flattered: float = 1.0
    attempts: list[Attempt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(1)
        self.monkeypatch.setattr(proposing, "available_cores", lambda: 2)
        self.monkeypatch.setattr(plan, "find_families", lambda *_: (list(self.families), []))

    def search(self, **options: object) -> TuneSearch:
        asked = {"model_path": "model.onnx", "mode": "tune", **options}
        self.config = BenchmarkConfig.model_validate(asked)
        return TuneSearch(self.config, "model.onnx", lambda text: None)

    def journal(self) -> Journal:
        return Journal(self.directory, "tune.json", {"runs": []})

    def run(self, strategy: TuneSearch, journal: Journal, most: int = 1000) -> Journal:
        """Carry the trials out, at most so many."""
        for _ in range(most):
            attempt = strategy.next(journal)
            if attempt is None:
                break
            self.attempts.append(attempt)
            journal.content.setdefault("fixed", {})
            entry = self._entry(strategy, attempt)
            took = _START_SEC + entry["duration_s"]
            number = len(journal.runs) + 1
            entry = {"number": number, **entry, "took_s": took, "directory": f"trials/{number:03d}"}
            journal.runs.append(entry)
            strategy.keep(journal)
        return journal

    def _entry(self, strategy: TuneSearch, attempt: Attempt) -> dict[str, Any]:
        result, asked = self.result(attempt), attempt.config.target_qps
        if attempt.stoppable and asked and result.metric.value < 0.75 * asked:
            stopped_s = max(1.0, duration_sec(attempt.config) / 2)
            return strategy.failed(attempt, OverloadedError(result.metric.value, stopped_s))
        return strategy.judge(result, attempt)  # type: ignore[arg-type]

    def answer(self, strategy: TuneSearch, journal: Journal) -> Tuning:
        self.monkeypatch.setattr(
            "loadgen_generic.campaigns.tuning.answer.read_result",
            lambda path: SimpleNamespace(verification=None),
        )
        found = strategy.answer(journal).changes["tuning"]
        assert isinstance(found, Tuning)
        return found

    def true_speed(self, settings: Mapping[str, Any], family: str) -> float:
        layout = (settings["concurrency"], settings["intra_op_threads"], settings["batch_size"])
        return self.speed(family, *layout)

    def _family(self, config: BenchmarkConfig) -> str:
        for each in reversed(self.families):
            if all(getattr(config, name) == value for name, value in each.options.items()):
                return each.name
        raise AssertionError(config)

    def result(self, attempt: Attempt) -> SimpleNamespace:
        """What a run of it would give."""
        config = attempt.config
        family = self._family(config)
        auto = config.runner == "auto"
        workers, threads, batch = self.auto.get(family, _AUTO)
        if not auto:
            workers, threads = config.concurrency or 1, config.intra_op_threads or 1
            batch = config.batch_size or 1
        auto_runner = "threadpool"
        if config.scenario == "SingleStream":
            auto_runner, workers, threads, batch = "inline", 1, 2, 1
        rate = self.speed(family, workers, threads, batch)
        rate *= self.flattered if threads > 1 and not attempt.full else 1.0
        seen = rate * (1 + self._random.gauss(0, self.noise) if self.noise else 1)
        duration = duration_sec(config)
        asked = config.target_qps or rate / 2
        value = {"Offline": seen, "Server": min(asked, seen)}.get(config.scenario, 1e9 / seen)
        effective = {
            "runner": auto_runner if auto else config.runner,
            "concurrency": workers,
            "intra_op_threads": threads,
            "batch_size": batch,
            "batch_dim": "batch",
            "sample_pool_bytes": 4000,
            "samples_in_memory": 10,
            "devices": [],
            "target_qps": asked,
            "target_latency_ms": config.target_latency_ms,
            "target_latency_percentile": 99.0,
        }
        self.monkeypatch.setattr(questions, "_log", lambda _: self._log(effective, seen, duration))
        return SimpleNamespace(
            scenario=config.scenario,
            metric=SimpleNamespace(value=value),
            valid=True,
            invalid_reasons=self._too_much(effective, seen) if attempt.full else [],
            verification=self._verification(family) if config.verify else None,
            latency_ns={"p99": 10_000_000, "min": 1000},
            telemetry=None,
            load_s=0.5,
            duration_s=self._took(attempt, duration, asked / seen),
            doubts=["others are at work"] if self.disturbed else [],
            verdict="VALID",
            samples_completed=int(seen * duration),
            config=SimpleNamespace(effective=effective, requested={}),
            loadgen_logs={"detail": ""},
        )

    def _took(self, attempt: Attempt, duration: float, overload: float) -> float:
        """An overloaded server answers what came, however long that takes."""
        if attempt.about["phase"] == "check":
            return 0.1
        return duration * max(1.0, overload) if attempt.config.scenario == "Server" else duration

    def _too_much(self, effective: Mapping[str, Any], capacity: float) -> list[str]:
        over = effective["target_qps"] > 0.9 * capacity or effective["batch_size"] in self.too_large
        return ["too much load"] if effective["target_latency_ms"] and over else []

    def _log(self, effective: Mapping[str, Any], capacity: float, duration: float) -> object:
        errors = self._too_much(effective, capacity)
        queries = int(effective["target_qps"] * duration)
        values = {
            "result_scheduled_samples_per_sec": effective["target_qps"],
            "result_completed_samples_per_sec": min(effective["target_qps"], capacity),
            "result_overlatency_query_count": queries if errors else 0,
        }
        return SimpleNamespace(
            values=values, queries=queries, samples=queries, errors=errors, latency_ns=dict
        )

    def _verification(self, family: str) -> SimpleNamespace:
        wrong = self.wrong.get(family, "")
        content = {
            "samples": 64,
            "accuracy": self.accuracy.get(family),
            "outputs": [
                {
                    "max_abs_error": 0.5 if wrong else 1e-3 * ("bfloat16" in family),
                    "max_rel_error": None,
                    "criterion": "equal",
                    "min_cosine": 0.5 if wrong else 1.0,
                    "top_1_agreement": None,
                }
            ],
        }
        return SimpleNamespace(passed=not wrong, sentence=wrong, model_dump=lambda: content)
