"""The NVIDIA driver and its cards, asked through the library that comes with every driver."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Card", "Driver", "find_driver"]

_NAME = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_TEXT_BYTES = 96  # the longest text that NVML writes


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU, by NVML's number.

    Attributes:
        memory_bytes: all that it has.
    """

    number: int
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """An NVIDIA driver.

    Attributes:
        version: of the driver, such as ``580.65.06``.
        cuda: the newest CUDA that it can run, such as ``13.0``.
        cards: all that it has, whatever ``CUDA_VISIBLE_DEVICES`` says.
        problem: why it does not answer; empty if it does.
    """

    version: str = ""
    cuda: str = ""
    cards: tuple[Card, ...] = ()
    problem: str = ""


class _Memory(ctypes.Structure):
    """``nvmlMemory_t``: bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _DoesNotAnswerError(Exception):
    """NVML returned an error; its own words."""


def find_driver(open_library: Callable[[str], Any] = ctypes.CDLL) -> Driver | None:
    """The driver; None where there is none.

    Args:
        open_library: loads a shared library by name, or raises OSError.
    """
    try:
        nvml = open_library(_NAME)
    except OSError:
        return None
    try:
        _ask(nvml, "nvmlInit_v2")
    except _DoesNotAnswerError as error:
        return Driver(problem=str(error))
    try:
        return _describe(nvml)
    except _DoesNotAnswerError as error:
        return Driver(problem=str(error))
    finally:
        nvml.nvmlShutdown()


def _describe(nvml: Any) -> Driver:
    cuda, count = ctypes.c_int(), ctypes.c_uint()
    version = _text(nvml, "nvmlSystemGetDriverVersion")
    _ask(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
    _ask(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    cards = []
    for number in range(count.value):
        handle, memory = ctypes.c_void_p(), _Memory()
        _ask(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(handle))
        name = _text(nvml, "nvmlDeviceGetName", handle)
        _ask(nvml, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        cards.append(Card(number, name, memory.total))
    major, rest = divmod(cuda.value, 1000)
    return Driver(version, f"{major}.{rest // 10}", tuple(cards))


def _text(nvml: Any, function: str, *arguments: Any) -> str:
    buffer = ctypes.create_string_buffer(_TEXT_BYTES)
    _ask(nvml, function, *arguments, buffer, ctypes.c_uint(_TEXT_BYTES))
    return buffer.value.decode("utf-8", "replace")


def _ask(nvml: Any, function: str, *arguments: Any) -> None:
    code = getattr(nvml, function)(*arguments)
    if code:
        nvml.nvmlErrorString.restype = ctypes.c_char_p
        words = nvml.nvmlErrorString(code) or b"unknown error"
        raise _DoesNotAnswerError(f"{words.decode('utf-8', 'replace')} ({function}: {code})")
