"""Quantised models on disk: made once, found again, never taken half-written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import for_provider
from loadgen_generic.errors import RunError
from loadgen_generic.hashing import sha256_of
from loadgen_generic.machine import describe_host
from loadgen_generic.quantization.recipe import recipe_of
from loadgen_generic.quantization.watching import watch
from loadgen_generic.results.result import write_json

__all__ = ["Quantized", "quantized"]

_ASIDE = ".int8-"  # then the number of the process that writes there


@dataclass(frozen=True, slots=True)
class Quantized:
    """An int8 version of a model, with the same names and types of inputs and outputs.

    Attributes:
        path: of the ONNX file.
        samples: by which its ranges were calibrated.
        words: how it was made.
        computed_on: the package of ONNX Runtime and the processor that made it.
    """

    path: Path
    samples: int
    words: str
    computed_on: str


def quantized(
    config: BenchmarkConfig, model_path: str, directory: Path, tell: Callable[[str], None]
) -> Quantized:
    """The int8 version of a model, calibrated on samples of the run that a config asks for.

    ``MODEL-int8.onnx`` in the directory, with its weights in a file beside it where those of the
    model are, and ``MODEL-int8.json``, which says how it was made. They are made only where they
    are not there already, for this model, these samples and this ONNX Runtime.

    Args:
        model_path: of the original; what the config says of a model is not looked at.
        directory: made if need be.
        tell: told what goes on if it takes over two seconds.

    Raises:
        RequestError: the samples do not fit the model, as in a run.
        RunError: there is nothing to quantise, ONNX Runtime cannot do it, or the process that
            does it crashed or hung.
    """
    environment = for_provider("cpu")
    recipe = recipe_of(config, model_path, environment)
    model = directory / f"{Path(model_path).stem}-int8.onnx"
    found = _found(model, recipe)
    if found is not None:
        return found
    with _aside(directory) as aside:
        job = {
            "config": config.model_dump(),
            "model_path": model_path,
            "target": str(aside / model.name),
            "seven_bits": recipe["seven_bit_weights"],
        }
        made = watch(environment, job, config.stall_timeout_sec, tell)
        made["computed_on"] = f"{environment.described()} on {describe_host()['cpu']}"
        return _published(model, aside, recipe, made)


def _published(
    model: Path, aside: Path, recipe: Mapping[str, Any], made: Mapping[str, Any]
) -> Quantized:
    """Put what was made in its place; the file that vouches for it comes last."""
    try:
        names = sorted(path.name for path in aside.iterdir() if path.name.startswith(model.name))
        files = {name: sha256_of(aside / name) for name in names}
        for name in files:
            os.replace(aside / name, model.with_name(name))
        how = {**made, "files_sha256": files, "recipe": recipe}
        write_json(model.with_suffix(".json"), how)
    except OSError as error:
        raise _unwritable(model.parent, error) from None
    return _as_quantized(model, how)


def _found(model: Path, recipe: Mapping[str, Any]) -> Quantized | None:
    """What was made by this recipe, as long as every byte is there."""
    try:
        how = json.loads(model.with_suffix(".json").read_text("utf-8"))
        if how["recipe"] != recipe:
            return None
        files: dict[str, str] = how["files_sha256"]
        if any(sha256_of(model.with_name(name)) != known for name, known in files.items()):
            return None
        return _as_quantized(model, how)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or not whole: made anew


def _as_quantized(model: Path, how: Mapping[str, Any]) -> Quantized:
    return Quantized(model, how["samples"], how["words"], how["computed_on"])


@contextmanager
def _aside(directory: Path) -> Iterator[Path]:
    """A directory to write in, on the same file system; those of processes that were killed go."""
    import psutil

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob(f"{_ASIDE}*"):
            number = left.name.split("-")[1]
            if number.isdigit() and not psutil.pid_exists(int(number)):
                shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(dir=directory, prefix=f"{_ASIDE}{os.getpid()}-"))
    except OSError as error:
        raise _unwritable(directory, error) from None
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unwritable(directory: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write the int8 model in {directory}: {error.strerror or error}. Make room there "
        "or choose another --output_dir."
    )
