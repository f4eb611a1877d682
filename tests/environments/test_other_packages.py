"""The harness with other packages than the pinned ones, each set in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import tiny_models

from loadgen_generic.diagnosis.driver import find_driver

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


@pytest.fixture(scope="module")
def gpu_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with onnxruntime-gpu, and with nothing of CUDA."""
    return make_environment(tmp_path_factory.mktemp("gpu") / "env", ["numpy", "onnxruntime-gpu"])


def test_a_provider_that_is_installed_but_cannot_start_is_no_cpu_run(
    gpu_python: Path, tmp_path: Path
) -> None:
    """onnxruntime-gpu without a GPU: the run says so before ONNX Runtime is tried."""
    if find_driver() is not None:
        pytest.skip("there is an NVIDIA driver here")
    started = run_harness(gpu_python, tmp_path, "--ep", "cuda")
    assert started.returncode == 1
    assert "--ep CUDAExecutionProvider: There is no NVIDIA driver" in started.stderr
    assert "libcuda.so.1 is missing" in started.stderr
    assert "Traceback" not in started.stderr
    assert not (tmp_path / "out" / "result.json").exists()


# What ONNX Runtime prints and raises by itself, and what is made of it.
_DIAGNOSE = """
import contextlib, json, sys
import onnxruntime
from loadgen_generic.diagnosis import diagnose
from loadgen_generic.native import listening
said = ""
try:
    with listening() as heard:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            sys.argv[1], options, providers=[(sys.argv[2], {})], enable_fallback=0
        )
except RuntimeError as error:
    said = str(error)
print(json.dumps([onnxruntime.cuda_version, str(diagnose(sys.argv[2], heard.text + said))]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="libraries as Linux names them")
@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_missing_cuda_is_named_exactly(gpu_python: Path, tmp_path: Path, provider: str) -> None:
    done = subprocess.run(
        [gpu_python, "-c", _DIAGNOSE, tiny_models.write(tmp_path, "matmul"), provider],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        check=True,
    )
    cuda, told = json.loads(done.stdout)
    if told == "None":
        pytest.skip("the provider starts here")
    major = cuda.partition(".")[0]
    assert re.search(rf"onnxruntime-gpu \S+ is built for CUDA {major}, and libcublas\w*\.so", told)
    assert "onnxruntime-gpu[cuda,cudnn]" in told
