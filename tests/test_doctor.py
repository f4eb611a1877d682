"""``loadgen-generic doctor``: what it finds, what it says, and what it returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from command import Command

from loadgen_generic import doctor, environments
from loadgen_generic.diagnosis.driver import Card, Driver
from loadgen_generic.doctor import checkup, children
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RunError
from loadgen_generic.models import smallest
from loadgen_generic.provider_facts import facts_of

NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


def test_the_cpu_starts(command: Command) -> None:
    done = command("doctor", ep="cpu")
    assert done.code == 0, done.stdout + done.stderr
    assert f"onnxruntime {ort.__version__}" in done.stdout
    assert "numpy" in done.stdout
    assert "mlcommons-loadgen" in done.stdout
    # This checkout may have other environments, which come later.
    line = next(line for line in done.stdout.splitlines() if line.startswith("  cpu:"))
    assert line.split()[1:3] == ["starts", "in"]
    assert "every provider that counts starts" in done.stdout


def test_json_is_one_document(command: Command) -> None:
    done = command("doctor", json=True, ep="cpu")
    told = json.loads(done.stdout)
    assert done.code == 0
    assert told["ok"] is True
    own = told["environments"][0]
    assert own["onnxruntime"]["version"] == ort.__version__
    (start,) = own["starts"]
    assert start["provider"] == NAMES["cpu"]
    assert start["starts"] is True
    assert start["seconds"] > 0


def test_a_provider_that_is_nowhere(command: Command) -> None:
    known = environments.known()
    absent = [short for short in NAMES if not any(each.has(short) for each in known)]
    if not absent:
        pytest.skip("this checkout has an environment of every kind")
    done = command("doctor", ep=absent[0])
    assert done.code == 1
    page = " ".join(done.stdout.split())
    assert f"is in the package {facts_of(absent[0]).package}" in page
    assert f"make venv EP={absent[0]}" in page
    assert f"does not start: {absent[0]}" in page


def test_a_provider_that_is_none(command: Command) -> None:
    done = command("doctor", ep="nonsense")
    assert done.code == 2
    assert "--ep nonsense" in done.stderr
    assert "cpu, cuda, tensorrt, openvino" in done.stderr


def test_the_smallest_model_is_what_it_says(tmp_path: Path) -> None:
    smallest.write(tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    values = np.arange(16, dtype=np.float32).reshape(smallest.SHAPE)
    (answer,) = session.run(None, {"x": values})
    assert np.array_equal(answer, smallest.expected(values))


Told = Callable[[Environment, Mapping[str, Any]], dict[str, Any]]
WORKS = {"starts": True, "seconds": 0.2, "problem": "", "remedy": ""}
FAILS = {"starts": False, "seconds": 0.1, "problem": "No cuDNN 9.", "remedy": "Install cuDNN 9."}


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., doctor.Checkup]:
    """A checkup of environments that are made up: name to packages and built-in providers."""

    def examined(
        made_up: Mapping[str, tuple[Mapping[str, str], list[str]]],
        answers: Mapping[tuple[str, str], dict[str, Any]],
        asked: str | None = None,
        libraries: list[dict[str, Any]] | None = None,
        lacking: Mapping[str, str] | None = None,
    ) -> doctor.Checkup:
        known = [Environment(n, Path(f"/{n}/python"), p) for n, (p, _) in made_up.items()]

        def for_provider(name: str) -> Environment:
            for environment in known:
                packages, built_in = made_up[environment.name]
                if facts_of(name).short in built_in and len(packages) == 1:
                    return environment
            raise RunError(f"nothing has {name}")

        monkeypatch.setattr(environments, "known", lambda: known)
        monkeypatch.setattr(environments, "for_provider", for_provider)

        def ask(
            environment: Environment, job: Mapping[str, Any], slow: Callable[[], None]
        ) -> dict[str, Any]:
            if "provider" not in job:
                built_in = [NAMES[short] for short in made_up[environment.name][1]]
                runtime = {"version": "1", "cuda": "12.2", "providers": built_in}
                told = {"onnxruntime": runtime, "packages": {}, "libraries": libraries or []}
                return told | dict(lacking or {})
            device = job.get("options", {}).get("device_type")
            return answers.get((environment.name, device or job["provider"]), FAILS)

        return checkup.check(asked, lambda text: None, ask)

    return examined


HERE = "this Python"


def test_each_environment_that_was_made_counts(examine: Callable[..., doctor.Checkup]) -> None:
    found = examine(
        {
            HERE: ({"onnxruntime": "1"}, ["cpu"]),
            "cuda": ({"onnxruntime-gpu": "1"}, ["tensorrt", "cuda", "cpu"]),
            "openvino": ({"onnxruntime-openvino": "1"}, ["openvino", "cpu"]),
        },
        {
            (HERE, NAMES["cpu"]): WORKS,
            ("openvino", NAMES["openvino"]): WORKS,
            ("openvino", "GPU"): WORKS,
        },
    )
    # TensorRT is built into the package for GPUs; nobody who wants CUDA alone need have it.
    assert found.broken == {"cuda": ""}
    _, cuda, openvino = found.environments
    assert {start.provider: start.asked for start in cuda.starts} == {
        NAMES["cuda"]: True,
        NAMES["tensorrt"]: False,
    }
    assert openvino.starts[0].devices == ("CPU", "GPU")


def test_tensorrt_counts_where_its_library_is(examine: Callable[..., doctor.Checkup]) -> None:
    nvinfer = {"kind": "TensorRT", "name": "nvinfer", "version": "10", "path": "/x"}
    found = examine(
        {
            HERE: ({"onnxruntime": "1"}, ["cpu"]),
            "cuda": ({"onnxruntime-gpu": "1"}, ["tensorrt", "cuda", "cpu"]),
        },
        {(HERE, NAMES["cpu"]): WORKS, ("cuda", NAMES["cuda"]): WORKS},
        libraries=[{**nvinfer, "loadable": True}],
    )
    assert found.broken == {"tensorrt": ""}


def test_the_environment_that_a_run_would_take_is_the_one_that_counts(
    examine: Callable[..., doctor.Checkup],
) -> None:
    gpu = ({"onnxruntime-gpu": "1"}, ["cuda", "cpu"])
    both = {"cuda": gpu, "tensorrt": gpu}
    assert examine(both, {("cuda", NAMES["cuda"]): WORKS}, "cuda").broken == {}
    assert examine(both, {("tensorrt", NAMES["cuda"]): WORKS}, "cuda").broken == {"cuda": ""}


def test_a_provider_that_its_package_was_built_without(
    examine: Callable[..., doctor.Checkup],
) -> None:
    found = examine({"cuda": ({"onnxruntime-gpu": "1"}, ["cpu"])}, {}, "cuda")
    assert found.broken == {"cuda": "nothing has CUDAExecutionProvider"}


def test_two_packages_in_one_environment(examine: Callable[..., doctor.Checkup]) -> None:
    both = {"onnxruntime": "1.20.1", "onnxruntime-gpu": "1.20.1"}
    found = examine({HERE: (both, ["cpu"])}, {(HERE, NAMES["cpu"]): WORKS})
    (own,) = found.environments
    assert "onnxruntime 1.20.1 and onnxruntime-gpu 1.20.1 are installed together" in own.problem
    assert "uninstall -y onnxruntime onnxruntime-gpu" in own.remedy
    assert list(found.broken) == ["cpu"]


def test_what_starts_lacks_nothing(examine: Callable[..., doctor.Checkup]) -> None:
    lacking = {"problem": "CUDA 12 cannot be loaded.", "remedy": "Install it."}
    gpu = {"cuda": ({"onnxruntime-gpu": "1"}, ["cuda", "cpu"])}
    found = examine(gpu, {}, "cuda", lacking=lacking)
    assert found.environments[0].problem == "CUDA 12 cannot be loaded."
    found = examine(gpu, {("cuda", NAMES["cuda"]): WORKS}, "cuda", lacking=lacking)
    assert found.environments[0].problem == ""


def test_an_environment_whose_onnxruntime_cannot_be_imported(
    examine: Callable[..., doctor.Checkup], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"problem": "numpy cannot be imported.", "remedy": "Install it."}
    made = Environment("openvino", Path("/x"), {"onnxruntime-openvino": "1"}, frozenset(NAMES))
    monkeypatch.setattr(environments, "known", lambda: [made])
    monkeypatch.setattr(environments, "for_provider", lambda name: made)
    found = checkup.check("openvino", lambda text: None, lambda *_: broken)
    assert found.environments[0].problem == "numpy cannot be imported."
    assert list(found.broken) == ["openvino"]


def _page(found: doctor.Checkup) -> str:
    from loadgen_generic.commands.doctor import _page as page

    return " ".join(" ".join(page(found)).split())


def test_the_page_names_cards_problems_and_remedies() -> None:
    start = doctor.Start(NAMES["cuda"], False, True, 0.1, (), "No cuDNN 9.", "Install cuDNN 9.")
    cublas = {"kind": "CUDA", "name": "cublasLt", "version": "12", "path": "/a/libcublasLt.so.12"}
    cudart = {"kind": "CUDA", "name": "cudart", "version": "13", "path": "/b/libcudart.so.13"}
    checked = doctor.Checked(
        "cuda",
        "/env/bin/python",
        {"onnxruntime-gpu": "1.22.0"},
        {"numpy": "2.4.6"},
        {"version": "1.22.0", "cuda": "12.2", "providers": []},
        ({**cudart, "loadable": True}, {**cublas, "loadable": False}),
        (start,),
    )
    driver = Driver("580.65.06", "13.1", (Card(0, "NVIDIA H200", 141 << 30),))
    broken = {"cuda": "", "openvino": "It is nowhere."}
    page = _page(doctor.Checkup("0.1.0", "3.11.7", "Linux", driver, "0", (checked,), broken))
    for words in (
        "driver 580.65.06, for CUDA up to 13.1",
        "GPU 0: NVIDIA H200, 141 GiB",
        "CUDA_VISIBLE_DEVICES=0",
        "built for: CUDA 12.2",
        "CUDA 12 in /a, where the loader does not look, CUDA 13 (the runtime only) in /b",
        "cuda: does not start problem: No cuDNN 9. remedy: Install cuDNN 9.",
        "openvino: It is nowhere.",
        "does not start: cuda, openvino",
    ):
        assert words in page


def _interpreter(directory: Path, script: str) -> Environment:
    """An environment whose interpreter is a script of the shell."""
    python = directory / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return Environment("made up", python, {"onnxruntime-gpu": "1.22.0"})


@pytest.mark.skipif(sys.platform == "win32", reason="scripts of the shell")
def test_a_crash_is_no_crash_of_the_doctor(tmp_path: Path) -> None:
    """As of onnxruntime-gpu 1.22.0 with CUDA's libraries and without a driver."""
    environment = _interpreter(tmp_path, "echo 'last words' >&2; kill -SEGV $$")
    told = children.ask(environment, {}, lambda: None)
    assert told["starts"] is False
    assert "SIGSEGV" in told["problem"]
    assert "last words" in told["problem"]
    assert told["remedy"]


@pytest.mark.skipif(sys.platform == "win32", reason="scripts of the shell")
def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_SAY_AFTER_SEC", 0.01)
    monkeypatch.setattr(children, "_PATIENCE_SEC", 0.02)
    told_of: list[str] = []
    environment = _interpreter(tmp_path, "exec sleep 60")
    told = children.ask(environment, {}, lambda: told_of.append("slow"))
    assert told_of == ["slow"]
    assert "does not start within" in told["problem"]


def test_an_interpreter_that_is_gone(tmp_path: Path) -> None:
    environment = Environment("gone", tmp_path / "python", {"onnxruntime-gpu": "1"})
    told = children.ask(environment, {}, lambda: None)
    assert told["starts"] is False
    assert str(tmp_path / "python") in told["problem"]
