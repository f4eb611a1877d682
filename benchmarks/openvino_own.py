"""OpenVINO's own side: ``benchmark_app`` and a bare loop, in an environment with its package."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

from lab import Case, Lab, Measured, UnavailableError, last_line
from models import MODELS

__all__ = ["VERSION", "app_case", "install", "loop_case"]

# What onnxruntime-openvino 1.24.1 has inside, so that both sides run the same kernels.
VERSION = "2025.4.1"
_LOOP = Path(__file__).resolve().with_name("openvino_loop.py")
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_IMAGE = (3, 224, 224)


def install(work: Path) -> Path:
    """The interpreter of an environment with OpenVINO, made unless it is there."""
    directory = work / "openvino"
    python = directory / "bin" / "python"
    if not (directory / "bin" / "benchmark_app").exists():
        print(f"installing openvino {VERSION} into an environment of its own ...", file=sys.stderr)
        venv.create(directory, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"openvino=={VERSION}", "numpy"], check=True, stdout=sys.stderr)
    return python


def loop_case(
    key: str, python: Path, model: str, what: str, precision: str, batch: int = 1
) -> Case:
    """``samples_per_sec``, or ``p50`` and ``p90`` in ns, of the bare loop."""

    def measure(lab: Lab) -> Measured:
        command = [python, _LOOP, what, lab.model(model), "--batch", batch]
        command += ["--precision", precision, "--seconds", lab.seconds]
        found = lab.json_of(command)
        figures = {name: found[name] for name in ("samples_per_sec", "p50", "p90") if name in found}
        return Measured(figures, lab.show(command), found)

    return Case(key, measure)


def app_case(key: str, python: Path, model: str, what: str, precision: str, batch: int = 1) -> Case:
    """``samples_per_sec`` of ``benchmark_app``, or ``p50`` in ns with its hint for latency.

    Its input is float32, as ours is: left to itself it feeds bytes and converts them.
    """
    if MODELS[model].floats != 3 * 224 * 224:
        raise ValueError(f"{model} takes no images")

    def measure(lab: Lab) -> Measured:
        shape = ",".join(map(str, (batch, *_IMAGE)))
        command: list[object] = [python.with_name("benchmark_app"), "-m", lab.model(model)]
        command += ["-d", "CPU", "-hint", what, "-shape", f"[{shape}]", "-ip", "f32"]
        command += ["-infer_precision", _HINTS[precision], "-t", max(1, round(lab.seconds))]
        command += ["-api", "sync"] if what == "latency" else []
        done = lab.run(command)
        if done.code:
            raise UnavailableError(last_line(done) or done.stdout[-300:])
        figures = {
            "samples_per_sec": _told(done.stdout, r"Throughput:\s+([\d.]+) FPS"),
            "p50": 1e6 * _told(done.stdout, r"Median:\s+([\d.]+) ms"),
        }
        named = dict(re.findall(r"\[ INFO \]\s+(\w+): (.+)", done.stdout))
        version = re.search(r"Build \.+ (\S+)", done.stdout)
        detail = {
            "openvino": version[1] if version else "",
            "precision": named.get("INFERENCE_PRECISION_HINT", ""),
            "streams": named.get("NUM_STREAMS", ""),
            "threads": named.get("INFERENCE_NUM_THREADS", ""),
        }
        return Measured(figures, lab.show(command), detail)

    return Case(key, measure)


def _told(text: str, pattern: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise UnavailableError(f"benchmark_app printed nothing like {pattern}")
    return float(match[1])
