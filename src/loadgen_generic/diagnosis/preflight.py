"""What of the NVIDIA driver keeps a provider from starting, asked before ONNX Runtime is.

ONNX Runtime may end the whole process where the driver is missing (onnxruntime-gpu 1.22.0 with
CUDA and cuDNN from Python packages and no driver: a segmentation fault), so it is not tried then.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from loadgen_generic.diagnosis.cuda import find_by_code
from loadgen_generic.diagnosis.finding import Finding
from loadgen_generic.diagnosis.remedies import DRIVER, get_environment
from loadgen_generic.provider_facts import facts_of

__all__ = ["find_driver_trouble"]

_NAME = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100


def find_driver_trouble(
    provider: str, built_for: str, open_library: Callable[[str], Any] = ctypes.CDLL
) -> Finding | None:
    """Why no session on a provider can start with this driver; None for a provider without cards.

    Args:
        provider: ONNX Runtime's name.
        built_for: the CUDA that ONNX Runtime was built for, such as ``13.0``; empty if unknown.
        open_library: loads a shared library by name, or raises OSError.
    """
    if not facts_of(provider).cards:
        return None
    try:
        cuda = open_library(_NAME)
    except OSError:
        return Finding(f"There is no NVIDIA driver: {_NAME} is missing.", DRIVER)
    code = int(cuda.cuInit(0))
    if code:
        return find_by_code(code) or Finding(
            f"The NVIDIA driver does not start (CUDA's error {code}).",
            "nvidia-smi shows whether the driver and the cards work.",
        )
    count, supported = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return find_by_code(_NO_DEVICE)
    cuda.cuDriverGetVersion(ctypes.byref(supported))  # such as 12080 for CUDA 12.8
    major, minor = supported.value // 1000, supported.value % 1000 // 10
    wanted = built_for.partition(".")[0]
    # Within one major version a driver runs what was built for a newer minor one.
    if wanted.isdigit() and 0 < major < int(wanted):
        return Finding(
            f"This onnxruntime-gpu is built for CUDA {wanted}, and the NVIDIA driver supports "
            f"CUDA {major}.{minor}.",
            f"Update the driver, or take an onnxruntime-gpu that is built for CUDA {major}. "
            f"{get_environment(facts_of(provider), str(major))}",
        )
    return None
