"""What an OpenVINO plugin makes of the properties it is given.

ONNX Runtime's provider tells nobody what the plugin decided, and the plugin replaces a precision
that the device does not have without a word. So the plugin is asked: the library that the provider
brings is in the process already, and through its C interface a model of one operator is compiled
with the same properties and read back. That takes about 15 ms. Properties follow from the device
and from what is given, not from the model.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

__all__ = ["in_force", "openvino_version", "what_device_computes"]

_NAME = "openvino_c.dll" if sys.platform == "win32" else "libopenvino_c.so"
_ASKED = (
    "INFERENCE_PRECISION_HINT",
    "EXECUTION_MODE_HINT",
    "PERFORMANCE_HINT",
    "NUM_STREAMS",
    "INFERENCE_NUM_THREADS",
    "ENABLE_CPU_PINNING",
    "ENABLE_HYPER_THREADING",
    "SCHEDULING_CORE_TYPE",
)


class _Version(ctypes.Structure):
    """``ov_version_t``."""

    _fields_ = (("build", ctypes.c_char_p), ("description", ctypes.c_char_p))


class _FailedError(Exception):
    """A function of the library returned an error."""


@cache
def in_force(device: str, properties: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The properties of a model that is compiled with these, as the plugin reads them back.

    Empty where the library or its C interface is not beside ONNX Runtime, or does not answer.
    """
    library = _library()
    if library is None:
        return {}
    try:
        with _core(library) as core, _compiled(library, core, device, properties) as model:
            return dict(_read(library, model))
    except _FailedError:
        return {}


@cache
def what_device_computes(device: str) -> Sequence[str]:
    """The plugin's words for the types that a device has, such as ``BF16``, ``FP32``; none where
    it does not tell."""
    library = _library()
    if library is None:
        return ()
    try:
        with _core(library) as core:
            ask = library.ov_core_get_property
            return _property(library, ask, core, device, "OPTIMIZATION_CAPABILITIES").split()
    except _FailedError:
        return ()


@cache
def openvino_version() -> str:
    """Of the library that ONNX Runtime's package brings; empty where it does not tell."""
    library, version = _library(), _Version()
    if library is None or library.ov_get_openvino_version(ctypes.byref(version)):
        return ""
    try:
        return (version.build or b"").decode()
    finally:
        library.ov_version_free(ctypes.byref(version))


@cache
def _library() -> ctypes.CDLL | None:
    """OpenVINO's C interface as ONNX Runtime's package brings it; None where it brings none."""
    try:
        return ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / _NAME))
    except OSError:
        return None


@contextmanager
def _core(library: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    core = ctypes.c_void_p()
    _call(library.ov_core_create, ctypes.byref(core))
    try:
        yield core
    finally:
        library.ov_core_free(core)


@contextmanager
def _compiled(
    library: ctypes.CDLL,
    core: ctypes.c_void_p,
    device: str,
    properties: Sequence[tuple[str, str]],
) -> Iterator[ctypes.c_void_p]:
    content = _model()
    model, compiled = ctypes.c_void_p(), ctypes.c_void_p()
    _call(
        library.ov_core_read_model_from_memory_buffer,
        core,
        content,
        ctypes.c_size_t(len(content)),
        None,
        ctypes.byref(model),
    )
    try:
        words = [ctypes.c_char_p(word.encode()) for pair in properties for word in pair]
        _call(
            library.ov_core_compile_model,
            core,
            model,
            device.encode(),
            ctypes.c_size_t(len(words)),
            ctypes.byref(compiled),
            *words,
        )
    finally:
        library.ov_model_free(model)
    try:
        yield compiled
    finally:
        library.ov_compiled_model_free(compiled)


def _read(library: ctypes.CDLL, compiled: ctypes.c_void_p) -> Iterator[tuple[str, str]]:
    """Those that the device has."""
    for name in _ASKED:
        with suppress(_FailedError):
            yield name, _property(library, library.ov_compiled_model_get_property, compiled, name)


def _property(library: ctypes.CDLL, function: Any, *arguments: Any) -> str:
    """Text that a function returns by its last parameter."""
    text = ctypes.c_char_p()
    words = [each.encode() if isinstance(each, str) else each for each in arguments]
    _call(function, *words, ctypes.byref(text))
    try:
        return (text.value or b"").decode()
    finally:
        library.ov_free(text)


def _call(function: Any, *arguments: Any) -> None:
    if function(*arguments):
        raise _FailedError


def _model() -> bytes:
    """``y = relu(x)``, float32 [1], as ONNX's protobuf writes it."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    one_float = field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08\x01"))))
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    ends = field(11, field(1, b"x") + one_float) + field(12, field(1, b"y") + one_float)
    graph = field(1, node) + field(2, b"g") + ends
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x0d")
