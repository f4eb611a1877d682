"""Which NVIDIA GPUs this process may use, asked of the driver's own library.

By CUDA's numbers, as ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` leave them, which are
those that a session means. NVML counts in another order, and counts all.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

from loadgen_generic.errors import RunError

__all__ = ["visible_cards"]

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_NAME_BYTES = 256


def visible_cards(open_library: Callable[[str], Any] = ctypes.CDLL) -> Sequence[str]:
    """Their names, by number; empty where the driver shows none.

    Args:
        open_library: loads a shared library by name, or raises OSError.

    Raises:
        RunError: there is no driver, or it does not answer.
    """
    try:
        driver = open_library(_LIBRARY)
    except OSError as error:
        raise RunError(
            f"nobody can say which GPUs are here: {_LIBRARY}, which comes with NVIDIA's driver, "
            f"does not load ({error}). `loadgen-generic doctor` says what is missing."
        ) from None
    code = driver.cuInit(0)
    if code == _NO_DEVICE:
        return []
    _check(driver, "cuInit", code)
    count = ctypes.c_int()
    _check(driver, "cuDeviceGetCount", driver.cuDeviceGetCount(ctypes.byref(count)))
    return [_name(driver, number) for number in range(count.value)]


def _name(driver: Any, number: int) -> str:
    card, text = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    _check(driver, "cuDeviceGet", driver.cuDeviceGet(ctypes.byref(card), number))
    _check(driver, "cuDeviceGetName", driver.cuDeviceGetName(text, _NAME_BYTES, card))
    return text.value.decode("utf-8", "replace")


def _check(driver: Any, function: str, code: int) -> None:
    if code:
        words = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(words))
        said = words.value.decode("utf-8", "replace") if words.value else "unknown error"
        raise RunError(
            f"nobody can say which GPUs are here: NVIDIA's driver answers {function} with "
            f"{said} ({code}). `loadgen-generic doctor` says more."
        )
