"""The harness with other packages than the pinned ones, each set in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import tiny_models

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).resolve().parent.parent.parent
_COMMON = [
    "mlcommons-loadgen==6.0.17",
    "ml_dtypes",
    "psutil",
    "pydantic",
    "rich",
    "vl-convert-python",
]


def make_environment(directory: Path, packages: list[str]) -> Path:
    """A Python with these packages, and the checkout's harness beside them."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, *packages, *_COMMON], check=True)
    return python


def run_harness(python: Path, directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    model = tiny_models.write(directory, "matmul")
    words = ["run", str(model), "--samples", "100", "--output_dir", str(directory / "out")]
    program = "import sys; from loadgen_generic.cli import main; sys.exit(main())"
    return subprocess.run(
        [python, "-c", program, *words, *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        check=False,
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy 1.26 has no wheel for it")
def test_numpy_1_26(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env", ["numpy==1.26.4", "onnxruntime==1.20.1"])
    done = run_harness(python, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["packages"]["numpy"] == "1.26.4"
    assert result["samples_completed"] == 100


def test_a_provider_that_is_installed_but_cannot_start_is_no_cpu_run(tmp_path: Path) -> None:
    """onnxruntime-gpu without a GPU: the provider is there and does not start."""
    python = make_environment(tmp_path / "env", ["numpy", "onnxruntime-gpu"])
    started = run_harness(python, tmp_path, "--ep", "cuda")
    if (tmp_path / "out" / "result.json").exists():
        result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
        assert result["providers"][0] == "CUDAExecutionProvider"
        pytest.skip("there is a GPU here")
    assert started.returncode == 1
    assert "CUDAExecutionProvider" in started.stderr
    assert "Traceback" not in started.stderr
