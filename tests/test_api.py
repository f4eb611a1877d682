"""``loadgen_generic.run``: the same code as the command, called from Python."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import loadgen_generic
from loadgen_generic import BenchmarkConfig, RequestError, Result, RunError, run
from loadgen_generic.progress import Phase
from loadgen_generic.results.result import read_result
from loadgen_generic.telemetry.live import Glance


@pytest.fixture
def config(tmp_path: Path, models: Callable[[str], Path]) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate(
        {"model_path": str(models("matmul")), "samples": 25, "output_dir": str(tmp_path / "out")}
    )


def test_from_the_main_thread(config: BenchmarkConfig) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    result = run(config)
    assert isinstance(result, Result)
    assert result.samples_completed == 25
    assert result.config.requested == config.model_dump(exclude_unset=True)
    assert result == read_result(result.path)
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert after == handlers, "the caller's own"


def test_from_another_thread(config: BenchmarkConfig) -> None:
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(run, config).result(timeout=60)
    assert result.samples_completed == 25


def test_two_runs_at_once_in_one_process(config: BenchmarkConfig) -> None:
    """LoadGen is global to a process; each run has one of its own, and a directory."""
    with ThreadPoolExecutor(2) as pool:
        results = [task.result(timeout=60) for task in [pool.submit(run, config) for _ in "ab"]]
    assert [result.samples_completed for result in results] == [25, 25]
    assert len({result.output_dir for result in results}) == 2


def test_an_observer_is_told(config: BenchmarkConfig) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.phases: list[Phase] = []
            self.answered = 0

        def note(self, text: str) -> None:
            self.notes.append(text)

        def update(self, glance: Glance) -> None:
            self.phases.append(glance.phase)
            self.answered = max(self.answered, glance.answered)
            assert glance.answered == 0 or glance.phase is Phase.TESTING

    watcher = Watcher()
    fields = {"backend": "fake", "backend_options": {"latency_us": "20000"}, "concurrency": 1}
    result = run(config.model_copy(update=fields), watcher)
    assert watcher.notes == result.notes
    assert watcher.notes[-1] == "25 samples, as asked for"
    assert watcher.phases == sorted(watcher.phases)
    assert Phase.TESTING in watcher.phases
    assert 0 < watcher.answered <= 25


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model_path": "missing.onnx"}, RequestError),
        ({"execution_provider": "cuda"}, RunError),
        ({"backend": "fake", "backend_options": {"fail_at": "1"}}, RunError),
    ],
)
def test_errors_are_exceptions(
    changes: dict[str, object], error: type[Exception], config: BenchmarkConfig
) -> None:
    with pytest.raises(error):
        run(config.model_copy(update=changes))
    assert threading.active_count() < 10


def test_public_names() -> None:
    for name in loadgen_generic.__all__:
        assert getattr(loadgen_generic, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = loadgen_generic.nothing_such


# They run in environments of their own, see tests/serving and tests/cluster.
WITH_EXTRAS = (
    "loadgen_generic.serving.model",
    "loadgen_generic.serving.server",
    "loadgen_generic.campaigns.spreading.on_ray",
    "loadgen_generic.cluster.engine",
    "loadgen_generic.backends.replicas.backend",
    "loadgen_generic.backends.replicas.roster",
    "loadgen_generic.backends.replicas.pools",
    "loadgen_generic.backends.replicas.worker",
)


def test_every_module_says_what_it_offers() -> None:
    walked = pkgutil.walk_packages(loadgen_generic.__path__, "loadgen_generic.")
    for name in [module.name for module in walked if module.name not in WITH_EXTRAS]:
        module = importlib.import_module(name)
        has_names = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == name]
        assert hasattr(module, "__all__") or not has_names, name
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.{public}"
