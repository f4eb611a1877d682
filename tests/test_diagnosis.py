"""What is said of a provider that does not start or fails, from the real error texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
import tiny_models
from native_words import RUNNING, STARTING

from loadgen_generic import diagnosis
from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends import onnxruntime as backend
from loadgen_generic.backends.onnxruntime import OnnxRuntimeBackend
from loadgen_generic.backends.providers import Provider
from loadgen_generic.child import SilentObserver, run_child
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.diagnosis import Finding, ProviderError, diagnose, explain_failure, missing
from loadgen_generic.diagnosis.driver import Card, Driver, find_driver
from loadgen_generic.diagnosis.libraries import CUDA, CUDNN, TENSORRT, Library, find_libraries
from loadgen_generic.diagnosis.preflight import find_driver_trouble
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.progress import Progress

PROVIDER = "CUDAExecutionProvider"
# Of another major version than the texts want.
OTHERS = {"12": "13", "13": "12"}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> list[Library]:
    """Libraries that are here, instead of those of this machine."""
    found: list[Library] = []
    monkeypatch.setattr(missing, "find_libraries", lambda: found)
    monkeypatch.setattr(missing, "find_driver", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def library(kind: str, name: str, version: str, *, loadable: bool = True) -> Library:
    return Library(kind, name, version, f"/opt/{name}-{version}/lib{name}.so.{version}", loadable)


@pytest.mark.parametrize("case", STARTING)
def test_why_it_does_not_start(case: str, here: list[Library]) -> None:
    provider, text, words = STARTING[case]
    wanted = case.split()[1] if case.startswith("CUDA") else ""
    here += [library(CUDA, "cublasLt", OTHERS.get(wanted, "11"))]
    here += [library(TENSORRT, "nvinfer", "10")] if "old TensorRT" in case else []
    found = diagnose(provider, text)
    assert found is not None
    for word in words:
        assert word in str(found)
    assert found.remedy or found.problem.startswith("OpenVINO says")


@pytest.mark.parametrize("case", RUNNING)
def test_why_a_run_failed(case: str) -> None:
    text, words = RUNNING[case]
    told = explain_failure("cuda", text)
    for word in words:
        assert word in told
    assert "HOST" not in told
    assert "std::" not in told


def test_what_nobody_knows_is_not_explained() -> None:
    assert explain_failure(PROVIDER, "Non-zero status code returned while running Reshape") == ""
    assert diagnose(PROVIDER, "something else") is None
    # On a processor the same words mean the processor's memory.
    assert explain_failure("CPUExecutionProvider", RUNNING["ONNX Runtime's arena"][0]) == ""


def test_a_wrong_option_is_a_wrong_request() -> None:
    found = diagnose(PROVIDER, STARTING["an option that is none"][1])
    assert found is not None
    error = found.as_error(PROVIDER)
    assert isinstance(error, RequestError)
    assert str(error).startswith("--ep_options: ")


def test_a_missing_library_is_a_failed_run() -> None:
    error = diagnosis.why_not_started(PROVIDER, STARTING["no cuDNN"][1], "CPU").as_error(PROVIDER)
    assert isinstance(error, ProviderError)
    assert error.exit_code == 1
    assert str(error).startswith("--ep CUDAExecutionProvider: onnxruntime-gpu")


def test_nothing_was_said() -> None:
    told = str(diagnosis.why_not_started(PROVIDER, "", "CPUExecutionProvider"))
    assert "would have run on CPUExecutionProvider instead" in told
    assert "harness.log" in told


def test_only_a_part_of_cuda_is_here(here: list[Library]) -> None:
    here.append(library(CUDA, "cudart", "12"))
    told = str(diagnose(PROVIDER, STARTING["CUDA 12 wanted"][1]))
    assert "Only a part of CUDA 12 is here, in /opt/cudart-12" in told


def test_a_library_where_the_loader_does_not_look(here: list[Library]) -> None:
    here.append(library(CUDA, "cublasLt", "12", loadable=False))
    told = str(diagnose(PROVIDER, STARTING["CUDA 12 wanted"][1]))
    assert "Set LD_LIBRARY_PATH=/opt/cublasLt-12 before the run." in told


def test_a_name_without_a_number(here: list[Library]) -> None:
    """ONNX Runtime 1.30 asks the loader for libcudnn.so; NVIDIA's package has libcudnn.so.9."""
    here.append(library(CUDNN, "cudnn", "9"))
    told = explain_failure(PROVIDER, RUNNING["no cuDNN"][0])
    assert "looks for libcudnn.so without a number" in told
    assert "ln -s /opt/cudnn-9/libcudnn.so.9 DIR/libcudnn.so" in told


def test_a_driver_that_is_older_than_the_missing_cuda(
    here: list[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "find_driver", lambda: Driver("550.54", "12.4"))
    told = str(diagnose(PROVIDER, STARTING["CUDA 13 wanted"][1]))
    assert "driver 550.54 supports no newer CUDA than 12.4" in told
    assert "built for CUDA 12" in told
    assert "make venv EP=cuda CUDA=12" in told
    assert "loadgen-generic[cuda12]" in told


def test_what_a_package_lacks_is_told_without_trying() -> None:
    runtime_only = [library(CUDA, "cudart", "12"), library(CUDNN, "cudnn", "9")]
    found = missing.find_lacking("12.2", runtime_only)
    assert found is not None
    assert "built for CUDA 12 and cuDNN 9; CUDA 12 cannot be loaded." in found.problem
    whole = [library(CUDA, "cublasLt", "12"), library(CUDNN, "cudnn", "9")]
    assert missing.find_lacking("12.2", whole) is None
    newer = [library(CUDA, "cublasLt", "13"), library(CUDNN, "cudnn", "8")]
    found = missing.find_lacking("12.2", newer)
    assert found is not None
    assert "CUDA 12 and cuDNN 9 cannot be loaded. Here are CUDA 13" in found.problem


@pytest.mark.skipif(sys.platform == "win32", reason="files as Linux names them")
def test_libraries_are_found_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, toolkit = tmp_path / "searched", tmp_path / "toolkit" / "lib64"
    for directory, names in ((searched, ["libcudnn.so.9.1.0"]), (toolkit, ["libcublasLt.so.11"])):
        directory.mkdir(parents=True)
        for name in [*names, "libcudnn_ops.so.9", "readme.txt"]:
            (directory / name).touch()
    (searched / "libcudnn.so.9").symlink_to("libcudnn.so.9.1.0")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'absent'}:{searched}")
    monkeypatch.setenv("CUDA_HOME", str(toolkit.parent))
    found = [x for x in find_libraries() if str(tmp_path) in x.path]
    assert [(x.kind, x.version, x.major, x.loadable) for x in found] == [
        (CUDNN, "9.1.0", "9", True),
        (CUDA, "11", "11", False),
    ]


class _Nvml:
    """Stands in for the driver's library: one card, or an error at its start."""

    def __init__(self, fails_with: int = 0) -> None:
        self._fails_with = fails_with
        self.closed = False

    class nvmlErrorString:  # noqa: N801 - as the library names it
        def __new__(cls, code: int) -> Any:
            return b"Driver/library version mismatch"

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._fails_with

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.closed = True
        return 0

    def nvmlSystemGetDriverVersion(self, buffer: Any, length: Any) -> int:  # noqa: N802
        buffer.value = b"580.65.06"
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, number: Any, handle: Any) -> int:  # noqa: N802
        handle._obj.value = 1
        return 0

    def nvmlDeviceGetName(self, handle: Any, buffer: Any, length: Any) -> int:  # noqa: N802
        buffer.value = b"NVIDIA H200"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.total = 141 << 30
        return 0


def test_the_driver_is_asked_for_its_cards() -> None:
    nvml = _Nvml()
    driver = find_driver(lambda _: nvml)
    assert driver == Driver("580.65.06", "13.1", (Card(0, "NVIDIA H200", 141 << 30),))
    assert nvml.closed


def test_a_driver_that_does_not_answer() -> None:
    driver = find_driver(lambda _: _Nvml(fails_with=18))
    assert driver is not None
    assert driver.problem == "Driver/library version mismatch (nvmlInit_v2: 18)"


def test_no_driver() -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    assert find_driver(absent) is None


class _Cuda:
    """Stands in for libcuda: what cuInit answers, how many cards, and the CUDA it supports."""

    def __init__(self, init: int = 0, cards: int = 1, version: int = 13000) -> None:
        self.init, self.cards, self.version = init, cards, version

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.cards
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (_Cuda(init=100), ["CUDA sees no GPU"]),
        (_Cuda(init=803), ["different versions"]),
        (_Cuda(init=999), ["stopped working"]),
        (_Cuda(init=12345), ["does not start", "12345"]),
        (_Cuda(cards=0), ["CUDA sees no GPU"]),
        (_Cuda(version=12080), ["built for CUDA 13", "supports CUDA 12.8"]),
    ],
)
def test_a_driver_with_which_nothing_can_start(cuda: _Cuda, words: Sequence[str]) -> None:
    found = find_driver_trouble(PROVIDER, "13.0", lambda _: cuda)
    assert found is not None
    assert found.remedy
    for word in words:
        assert word in found.problem


def test_a_driver_with_which_all_can_start() -> None:
    def refused(name: str) -> Any:
        raise AssertionError(name)

    assert find_driver_trouble(PROVIDER, "13.0", lambda _: _Cuda()) is None
    # Built for an older one, or for an unknown one.
    assert find_driver_trouble(PROVIDER, "12.2", lambda _: _Cuda()) is None
    assert find_driver_trouble(PROVIDER, "", lambda _: _Cuda(version=12000)) is None
    assert find_driver_trouble("CPUExecutionProvider", "", refused) is None


def test_no_driver_is_told_before_a_session_is_tried() -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    found = find_driver_trouble("TensorrtExecutionProvider", "13.0", absent)
    assert found is not None
    assert "There is no NVIDIA driver" in found.problem


def test_hidden_cards_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = find_driver_trouble(PROVIDER, "", lambda _: _Cuda(init=100))
    assert found is not None
    assert "(CUDA_VISIBLE_DEVICES is '')" in found.problem


def test_two_packages_in_one_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "version", lambda name: "1.20.1")
    found = diagnosis.why_not_installed(PROVIDER, "1.20.1", "CPUExecutionProvider")
    assert "onnxruntime==1.20.1 and onnxruntime-gpu==1.20.1" in found.problem
    assert "pip uninstall onnxruntime" in found.remedy


def test_the_wrong_package() -> None:
    found = diagnosis.why_not_installed(PROVIDER, "1.32.0", "CPUExecutionProvider")
    assert "built without it" in found.problem
    assert "onnxruntime-gpu" in found.remedy
    assert "make venv EP=cuda" in found.remedy


FAILING = """
import os, sys
from loadgen_generic import benchmark
from loadgen_generic.backends import fake
make = fake.FakeBackend.worker
def fail(batch):
    raise RuntimeError(open(sys.argv[2]).read())
def worker(backend):
    made = make(backend)
    made.infer = fail
    return made
fake.FakeBackend.worker = worker
sys.stdin = open(sys.argv[1])
benchmark._end_with_supervisor = lambda: None
benchmark.main()
"""


def _events(process: subprocess.CompletedProcess[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in process.stdout.splitlines())


def test_the_child_says_what_happened_to_the_card(tmp_path: Path) -> None:
    """The whole way of an inference's error, with the fake engine in ONNX Runtime's place."""
    config = BenchmarkConfig.model_validate({"backend": "fake", "samples": 5})
    job = {
        "config": {**config.model_dump(), "execution_provider": PROVIDER},
        "model_path": "",
        "run_dir": str(tmp_path),
        "progress": str(tmp_path / "progress"),
    }
    Progress.create(tmp_path / "progress")
    (tmp_path / "job").write_text(json.dumps(job) + "\n")
    (tmp_path / "text").write_text(RUNNING["CUDA's memory"][0])
    child = subprocess.run(
        [sys.executable, "-c", FAILING, tmp_path / "job", tmp_path / "text"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (message,) = [e["message"] for e in _events(child) if e["event"] == "error"]
    assert message.startswith("the run failed while")
    assert "GPU 1 is out of memory" in message
    assert "CUDA failure 2" in child.stderr, "the whole text is in harness.log"


@pytest.mark.skipif(sys.platform == "win32", reason="a script of the shell")
def test_last_words_of_a_crash_are_explained(tmp_path: Path) -> None:
    """CUDA's errors in places where C++ cannot raise them end the process."""
    python = tmp_path / "python"
    words = RUNNING["a card that disappears"][0]
    python.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nkill -ABRT $$\n")
    python.chmod(0o755)
    config = BenchmarkConfig.model_validate(
        {"model_path": "m.onnx", "execution_provider": PROVIDER, "telemetry": "off"}
    )
    environment = Environment("made up", python, {"onnxruntime-gpu": "1"})
    with pytest.raises(RunError) as raised:
        run_child(config, "m.onnx", tmp_path, SilentObserver(), environment)
    told = str(raised.value)
    assert told.startswith("the measured process crashed (SIGABRT). GPU 0 stopped working")
    assert str(tmp_path / "harness.log") in told


def test_the_finding_is_one_sentence_after_the_other() -> None:
    assert str(Finding("It is broken.", "Mend it.")) == "It is broken. Mend it."
    assert str(Finding("It is broken.")) == "It is broken."


def _backend(tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> OnnxRuntimeBackend:
    """The real backend, for a provider that this ONNX Runtime does not have."""
    monkeypatch.setattr(backend, "resolve_provider", lambda name: provider)
    monkeypatch.setattr(backend, "provider_of", Provider)
    monkeypatch.setattr(backend, "find_driver_trouble", lambda name, cuda: None)
    model = str(tiny_models.write(tmp_path, "matmul"))
    return OnnxRuntimeBackend(BackendSpec("onnxruntime", model, provider, 1, 1, "sequential"))


def test_what_is_printed_while_a_session_is_made_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime falls back to the CPU, and says why on the native standard error alone."""
    provider, text, _ = STARTING["no cuDNN"]

    def fall_back(path: str, options: Any, **_: Any) -> ort.InferenceSession:
        os.write(2, text.encode())
        return session(path, options, providers=["CPUExecutionProvider"])

    session = ort.InferenceSession
    engine = _backend(tmp_path, provider, monkeypatch)
    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(ProviderError, match=r"cuDNN 9, and libcudnn\.so\.9 is missing"):
        engine.load()
    assert text in capfd.readouterr().err, "harness.log has ONNX Runtime's own words"


def test_what_is_printed_says_more_than_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, text, _ = STARTING["no TensorRT"]
    printed, _, raised = text.partition("/onnxruntime_src/onnxruntime/python")

    def fail(*_: Any, **__: Any) -> ort.InferenceSession:
        os.write(2, printed.encode())
        raise RuntimeError(raised)

    engine = _backend(tmp_path, provider, monkeypatch)
    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(ProviderError, match=r"TensorRT 10, and libnvinfer\.so\.10 is missing"):
        engine.load()


def test_a_model_that_does_not_fit_onto_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> ort.InferenceSession:
        raise RuntimeError(RUNNING["CUDA's memory"][0])

    engine = _backend(tmp_path, PROVIDER, monkeypatch)
    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(RunError, match="GPU 1 is out of memory"):
        engine.load()
