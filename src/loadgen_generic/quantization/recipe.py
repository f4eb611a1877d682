"""What decides what a quantised model is: the model, the samples, ONNX Runtime, the processor."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from loadgen_generic.answers.precision import precision_of
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.data import DataOptions
from loadgen_generic.config.inputs import InputOptions
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RunError
from loadgen_generic.graph.summary import summarize
from loadgen_generic.hashing import sha256_of
from loadgen_generic.machine import processor_identity

__all__ = ["MOST_BYTES", "MOST_SAMPLES", "PRODUCTS", "nothing_to_quantize", "recipe_of"]

MOST_SAMPLES = 128
MOST_BYTES = 256 << 20
# Where a model spends its time, and what int8 is faster at.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FORMAT = 1  # of what is written; another one is never taken for what this code would make
_SAMPLES = (
    *DataOptions.model_fields,
    *InputOptions.model_fields,
    "batch_dim",
    "dim",
    "distinct_samples",
    "seed",
)
_X86 = ("x86_64", "amd64", "i386", "i686")
_VNNI = ("avx512_vnni", "avx_vnni")


def recipe_of(config: BenchmarkConfig, model_path: str, environment: Environment) -> dict[str, Any]:
    """As JSON holds it; equal recipes make equal models.

    Raises:
        RunError: there is nothing to quantise in the model, or it cannot be read.
    """
    try:
        return {
            "format": _FORMAT,
            "onnxruntime": environment.described(),
            "model_sha256": sha256_of(Path(model_path)),
            "external_sha256": _external(model_path),
            "samples_from": {name: getattr(config, name) for name in _SAMPLES},
            "dataset": _state_of(config.dataset),
            "most_samples": MOST_SAMPLES,
            "most_bytes": MOST_BYTES,
            "seven_bit_weights": _saturates(),
        }
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror or error}.") from None


def nothing_to_quantize(model_path: str, why: str) -> RunError:
    """In the words that every such error has."""
    return RunError(f"{model_path} cannot be quantised to int8: {why}. Leave int8 out.")


def _external(model_path: str) -> dict[str, str]:
    """The hash of each file with weights."""
    summary = summarize(model_path)
    if summary is None:
        raise nothing_to_quantize(model_path, "it is not in ONNX's own format")
    if not set(PRODUCTS) & set(summary.operators):
        raise nothing_to_quantize(model_path, f"it has no {', no '.join(PRODUCTS)}")
    if "quantized" in precision_of(model_path):
        raise nothing_to_quantize(model_path, "it is quantised already")
    directory = Path(model_path).parent
    return {name: sha256_of(directory / name) for name in sorted(summary.external)}


def _state_of(dataset: str | None) -> list[int]:
    """What changes with the files of a dataset: how many, their bytes, the newest change in ns."""
    if dataset is None:
        return []
    path = Path(dataset).expanduser()
    files = [path]
    if path.is_dir():
        files = [Path(at) / name for at, _, names in os.walk(path) for name in names]
    stats = [file.stat() for file in files]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return [len(stats), sum(stat.st_size for stat in stats), newest]


def _saturates() -> bool:
    """Whether sums of two products of uint8 and int8 may overflow the 16 bits that the processor
    has for them: x86 without VNNI. Weights of seven bits never do."""
    if platform.machine().lower() not in _X86:
        return False
    return not any(flag in processor_identity() for flag in _VNNI)
