"""What the Python that CM gives is found to lack, and what may be installed into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stand_in_environments import OPENVINO, add_package, make

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "src" / "find_packages.py"
NEEDED = ["ml_dtypes", "mlperf_loadgen", "numpy", "onnx", "psutil", "pydantic"]
ASKED = {
    "provider": "cpu",
    "allow_fallback": "",
    "backend": "",
    "dataset": "",
    "cuda": "",
    "mode": "",
    "runner": "",
    "scenario": "",
    "trials_on": "",
}


class Python:
    """An interpreter that has no packages but those which are put into its directory."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site"
        self.site.mkdir()
        self.environments = directory / "environments"
        self.environments.mkdir()

    def add(self, name: str, version: str = "1.0") -> None:
        add_package(self.site, name, version)

    def look(self, **asked: object) -> dict[str, Any]:
        question = {**ASKED, **asked}
        environ = {
            **os.environ,
            "PYTHONPATH": str(self.site),
            "LOADGEN_GENERIC_ENVIRONMENTS": str(self.environments),
            "LOADGEN_GENERIC_CACHE": str(self.environments),
        }
        done = subprocess.run(
            # -S: without the packages that are really there.
            [sys.executable, "-S", str(SCRIPT)],
            input=json.dumps(question).encode(),
            env=environ,
            cwd=self.site,
            stdout=subprocess.PIPE,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def python(tmp_path: Path) -> Python:
    return Python(tmp_path)


def here(**asked: object) -> dict[str, Any]:
    """The answer for the Python that runs the tests, which has all."""
    question = {**ASKED, **asked}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(question).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_all_is_there() -> None:
    told = {"missing": [], "install": "cpu", "images": False, "search": False, "ray": False}
    assert here() == told | {"cuda": "", "error": ""}


def test_nothing_is_there(python: Python) -> None:
    (python.site / "numpy").mkdir()  # a folder of that name is no package
    found = python.look(provider="")
    assert found["missing"] == [*NEEDED, "rich", "vl_convert"]
    assert (found["install"], found["error"]) == ("none", "")


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("cpu", "cpu"),
        ("OpenVINOExecutionProvider", "openvino"),
        ("cuda", "cuda"),
        ("TensorRT", "tensorrt"),
        ("NoSuch", "cpu"),
    ],
)
def test_a_python_without_onnx_runtime_may_get_the_right_one(
    python: Python, provider: str, extra: str
) -> None:
    if extra == "openvino" and (ROOT / ".venv-openvino").exists():
        pytest.skip("this checkout has the environment")
    found = python.look(provider=provider)
    assert found["install"] == extra
    assert "onnxruntime" in found["missing"]
    assert not found["error"]


def test_a_python_with_another_onnx_runtime_gets_none(python: Python) -> None:
    python.add("onnxruntime-gpu")
    if (ROOT / ".venv-openvino").exists():
        pytest.skip("this checkout has the environment")
    refused = python.look(provider="openvino")
    assert refused["install"] == "none"
    for word in ("onnxruntime-gpu 1.0", "onnxruntime-openvino", "make venv EP=openvino"):
        assert word in refused["error"]
    on_the_cpu = python.look(provider="openvino", allow_fallback="yes")
    assert (on_the_cpu["install"], on_the_cpu["error"]) == ("none", "")
    assert python.look(provider="cpu")["install"] == "none"


def test_an_environment_that_has_it_is_enough(python: Python) -> None:
    make(python.environments / "openvino", OPENVINO)
    for _ in range(2):  # without an ONNX Runtime here, and with another
        found = python.look(provider="openvino")
        assert (found["install"], found["error"]) == ("none", "")
        assert "onnxruntime" not in found["missing"]
        if not (python.site / "onnxruntime_gpu-1.0.dist-info").exists():
            python.add("onnxruntime-gpu")


def test_two_packages_are_an_error(python: Python) -> None:
    python.add("onnxruntime")
    python.add("onnxruntime-openvino")
    error = python.look()["error"]
    assert "onnxruntime 1.0 and onnxruntime-openvino 1.0" in error


def test_a_card_is_reached_through_cuda_bindings(python: Python) -> None:
    python.add("onnxruntime-gpu")
    assert "cuda-bindings" in python.look(provider="cuda")["missing"]
    python.add("cuda-bindings")
    found = python.look(provider="cuda", cuda="12.4")
    assert "cuda-bindings" not in found["missing"]
    assert (found["install"], found["cuda"]) == ("cuda", "12")
    assert "CUDA 11.8 is too old" in python.look(provider="cuda", cuda="11.8")["error"]


def test_images_need_pillow(python: Python, tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "a.JPG").touch()
    (tmp_path / "arrays").mkdir()
    for dataset in (tmp_path / "photos", tmp_path / "photos" / "deep" / "a.JPG"):
        found = python.look(dataset=str(dataset))
        assert found["images"]
        assert "PIL" in found["missing"]
    found = python.look(dataset=str(tmp_path / "arrays"))
    assert not found["images"]
    assert "PIL" not in found["missing"]


@pytest.mark.parametrize(
    ("flags", "spread"),
    [
        ({"runner": " Ray"}, True),
        ({"trials_on": "ray"}, True),
        ({"runner": "threadpool", "trials_on": "here"}, False),
    ],
)
def test_a_cluster_needs_ray(python: Python, flags: dict[str, str], spread: bool) -> None:
    found = python.look(**flags)
    assert found["ray"] is spread
    assert ("ray" in found["missing"]) is spread


@pytest.mark.parametrize("backend", ["kserve", "fake"])
def test_a_server_needs_its_client(python: Python, backend: str) -> None:
    missing = python.look(provider="", backend=backend)["missing"]
    assert {"tritonclient", "grpc"} & set(missing) == (
        {"tritonclient", "grpc"} if backend == "kserve" else set()
    )


@pytest.mark.parametrize(
    ("mode", "scenario", "searched"),
    [
        ("tune", "Server", True),
        (" Tune", "", True),
        ("find_peak", "", True),
        ("find_peak", "SingleStream", True),
        ("find_peak", "multistream", False),
        ("find_peak", "Server", False),
        ("performance", "Offline", False),
        ("", "", False),
    ],
)
def test_a_search_with_proposals_needs_optuna(
    python: Python, mode: str, scenario: str, searched: bool
) -> None:
    found = python.look(mode=mode, scenario=scenario)
    assert found["search"] is searched
    assert ("optuna" in found["missing"]) is searched
