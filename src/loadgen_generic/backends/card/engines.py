"""TensorRT's engines, kept so that the next run need not build them again.

An engine is fit for one model, one GPU, one version of TensorRT and one set of options, and
ONNX Runtime recognises an engine of its cache by less: its name for one leaves out the weights. So
each set has a directory of its own, ``engines/<key>`` in the cache directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.entries import make_room, remove
from loadgen_generic.backends.wire import external_weights
from loadgen_generic.errors import RunError
from loadgen_generic.rundir import cache_dir

__all__ = ["EngineCache", "preload_tensorrt"]

_FORMAT = 1  # of a directory; another one never takes it
_LARGEST_TOTAL_BYTES = 8 << 30
_LIBRARIES = ("libnvinfer.so.10", "libnvinfer.so.11", "nvinfer_10.dll", "nvinfer_11.dll")
_PACKAGE = "tensorrt_libs"  # where TensorRT's Python packages have their libraries
_PRELOADED = ("libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*")
_ENABLE, _PATH = "trt_engine_cache_enable", "trt_engine_cache_path"


def preload_tensorrt() -> None:
    """Load TensorRT's libraries from its Python package, where the loader does not look.

    Raises:
        RunError: one of them cannot be loaded.
    """
    found = importlib.util.find_spec(_PACKAGE)
    for directory in (found.submodule_search_locations or []) if found is not None else []:
        for pattern in _PRELOADED:
            for file in sorted(Path(directory).glob(pattern)):
                try:
                    ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
                except OSError as error:
                    raise RunError(
                        f"TensorRT's library {file.name} cannot be loaded: {error}. Install "
                        "TensorRT for the CUDA version that onnxruntime-gpu was built for."
                    ) from error


class EngineCache:
    """The engines of one run.

    Args:
        gpu: its name.
        options: of the provider, the user's own among them: where they say what to do with
            engines, that is done.

    Attributes:
        options: those that keep engines.
        directory: where they are; None where they are not kept.
    """

    def __init__(self, spec: BackendSpec, gpu: str, options: Mapping[str, str]) -> None:
        self.options: dict[str, str] = {}
        self.directory: Path | None = None
        if _ENABLE in options or _PATH in options:
            place = options.get(_PATH)
            self.directory = Path(place) if place else None
        elif spec.optimized_cache:
            parent = cache_dir() / "engines"
            self.directory = parent / _key(spec, gpu, options)
            self.directory.mkdir(parents=True, exist_ok=True)
            os.utime(self.directory)  # the oldest ones are removed first
            make_room(parent, 0, _LARGEST_TOTAL_BYTES)
            self.options = {
                _ENABLE: "1",
                _PATH: str(self.directory),
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": str(self.directory),
            }
        self._before = self._engines()

    def built(self) -> int | None:
        """How many engines this run has built so far; None where they are not kept."""
        if self.directory is None:
            return None
        now = self._engines()
        return sum(self._before.get(name) != state for name, state in now.items())

    def discard(self) -> None:
        """Remove engines that were made from another file than it seemed."""
        if self.directory is not None and self.options:
            remove(self.directory)

    def _engines(self) -> dict[str, tuple[int, int]]:
        """Time of change and size of each."""
        found: dict[str, tuple[int, int]] = {}
        if self.directory is None or not self.directory.is_dir():
            return found
        for path in self.directory.glob("*.engine"):
            with contextlib.suppress(OSError):  # another run replaces it
                status = path.stat()
                found[path.name] = status.st_mtime_ns, status.st_size
        return found


def _key(spec: BackendSpec, gpu: str, options: Mapping[str, str]) -> str:
    """A name for all that an engine depends on, except what the model's files hold."""
    model = Path(spec.model_path).resolve()
    files = [model]
    with contextlib.suppress(OSError, ValueError, IndexError):  # no model: the session tells
        files += [model.parent / name for name in external_weights(str(model))]
    settings = [
        _FORMAT,
        [[str(file), *_identity(file)] for file in files],
        ort.__version__,
        _tensorrt(),
        gpu,
        spec.precision,
        os.environ.get("NVIDIA_TF32_OVERRIDE"),
        sorted(options.items()),
        sorted(spec.sizes.items()),
        sorted(spec.options.items()),
        spec.graph_optimization,
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _identity(file: Path) -> list[int]:
    """Changes whenever the content does, short of a file system that has no clock."""
    try:
        status = file.stat()
    except OSError:  # the session says what is wrong with it
        return []
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _tensorrt() -> list[str]:
    """The versions of TensorRT: of the packages, and of the library that is loaded first."""
    versions = [
        f"{name} {each.version}"
        for each in importlib.metadata.distributions()
        if (name := str(each.metadata["Name"])).lower().startswith("tensorrt")
    ]
    for library in _LIBRARIES:
        with contextlib.suppress(OSError, AttributeError):
            versions.append(f"{library} {ctypes.CDLL(library).getInferLibVersion()}")
            break
    return sorted(versions)
