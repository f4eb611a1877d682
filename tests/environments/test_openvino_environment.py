"""An environment for OpenVINO, made as the README says, and a run that finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from command import Command

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, with an environment of its own; fetches about 200 MB."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README-extra.md", "LICENSE"):
        shutil.copy(_ROOT / name, directory / name)
    leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(_ROOT / "src", directory / "src", ignore=leftovers)
    make = ["make", "venv", "EP=openvino", f"PYTHON={sys.executable}"]
    subprocess.run(make, cwd=directory, check=True)
    return directory


@pytest.fixture
def in_checkout(checkout: Path, command: Command) -> Command:
    """The command of the CPU environment, with the copy's own code."""
    return Command(command.directory, {**command.environ, "PYTHONPATH": str(checkout / "src")})


def test_a_run_under_openvino(in_checkout: Command, checkout: Path, tmp_path: Path) -> None:
    model = tiny_models.write(tmp_path, "matmul")
    outcome = in_checkout.run(model, ep="openvino", samples=200, verify="reference")
    result = outcome.result
    assert outcome.code == 0
    assert result.providers[0] == "OpenVINOExecutionProvider"
    python = checkout / ".venv-openvino" / "bin" / "python"
    assert outcome.effective["environment"] == {
        "name": "openvino",
        "python": str(python),
        "package": "onnxruntime-openvino 1.24.1",
    }
    assert result.packages["onnxruntime-openvino"] == "1.24.1"
    assert "onnxruntime" not in result.packages
    assert result.verification is not None
    assert result.verification.passed
    assert f"measured under the environment openvino ({python}" in outcome.stderr


def test_a_model_is_inspected_there(in_checkout: Command, tmp_path: Path) -> None:
    model = tiny_models.write(tmp_path, "matmul")
    outcome = in_checkout("inspect", model, ep="openvino")
    assert outcome.code == 0, outcome.stderr
    assert "loaded under the environment openvino" in outcome.stdout


def test_make_again_does_nothing_and_clean_takes_it_away(checkout: Path) -> None:
    again = subprocess.run(
        ["make", "venv", "EP=openvino"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert "installing" not in again.stdout
    subprocess.run(["make", "clean"], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    assert not list(checkout.glob(".venv*"))


def test_another_name_is_refused(checkout: Path) -> None:
    refused = subprocess.run(
        ["make", "venv", "EP=cpu"], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "EP=cpu" in refused.stderr
    assert "openvino cuda tensorrt" in refused.stderr


@pytest.mark.parametrize(
    ("driver", "given", "extra"),
    [
        ("", "", "cuda"),
        ("| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA Version: 12.4     |", "", "cuda12"),
        ("| NVIDIA-SMI 580.65  Driver Version: 580.65  CUDA Version: 13.0     |", "", "cuda"),
        ("| NVIDIA-SMI 580.65  Driver Version: 580.65  CUDA Version: 13.0     |", "12.8", "cuda12"),
    ],
)
def test_the_cuda_that_the_driver_runs(
    checkout: Path, tmp_path: Path, driver: str, given: str, extra: str
) -> None:
    """What would be installed, by the heading that nvidia-smi prints."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{driver}'\n" if driver else "#!/bin/sh\nexit 9\n")
    smi.chmod(0o755)
    planned = subprocess.run(
        ["make", "-n", "venv", "EP=cuda", *([f"CUDA={given}"] if given else [])],
        cwd=checkout,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'-e ".[{extra},images]"' in planned.stdout


def test_a_driver_that_is_too_old(checkout: Path) -> None:
    refused = subprocess.run(
        ["make", "-n", "venv", "EP=tensorrt", "CUDA=11.8"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "CUDA 11.8" in refused.stderr
