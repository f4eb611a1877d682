"""What the GPUs of the machine say of themselves, through nvidia-ml-py where there is one."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

__all__ = ["cards", "describe"]


def cards() -> list[dict[str, Any]]:
    """Clocks, power, temperature, memory and processes of every GPU now; empty where nvidia-ml-py
    or a driver is missing, and None for what a card does not tell."""
    library = _open()
    if library is None:
        return []
    try:
        return [_card(library, number) for number in range(library.nvmlDeviceGetCount())]
    finally:
        library.nvmlShutdown()


def describe() -> dict[str, Any]:
    """Names of the GPUs, driver, and the packages that bring CUDA."""
    library = _open()
    versions = {
        name: each.version
        for each in importlib.metadata.distributions()
        if (name := each.metadata["Name"] or "").startswith(("cuda-", "nvidia-", "tensorrt"))
    }
    if library is None:
        return {"cards": [], "driver": None, "cuda_of_driver": None, "packages": versions}
    try:
        return {
            "cards": [card["name"] for card in cards()],
            "driver": library.nvmlSystemGetDriverVersion(),
            "cuda_of_driver": library.nvmlSystemGetCudaDriverVersion(),
            "packages": versions,
        }
    finally:
        library.nvmlShutdown()


def _open() -> Any | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _card(library: Any, number: int) -> dict[str, Any]:
    device = library.nvmlDeviceGetHandleByIndex(number)

    def told(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except library.NVMLError:
            return None

    # nvidia-ml-py renamed it in release 12.535.
    new, old = (f"nvmlDeviceGetCurrentClocks{kind}Reasons" for kind in ("Event", "Throttle"))
    reasons = getattr(library, new if hasattr(library, new) else old)
    name = told(lambda: library.nvmlDeviceGetName(device))
    milliwatts = told(lambda: library.nvmlDeviceGetPowerUsage(device))
    running = told(lambda: library.nvmlDeviceGetComputeRunningProcesses(device))
    return {
        "number": number,
        "name": name.decode() if isinstance(name, bytes) else name,
        "sm_clock_mhz": told(lambda: library.nvmlDeviceGetClockInfo(device, library.NVML_CLOCK_SM)),
        "memory_clock_mhz": told(
            lambda: library.nvmlDeviceGetClockInfo(device, library.NVML_CLOCK_MEM)
        ),
        "power_w": None if milliwatts is None else milliwatts / 1000,
        "temperature_c": told(
            lambda: library.nvmlDeviceGetTemperature(device, library.NVML_TEMPERATURE_GPU)
        ),
        "memory_used_bytes": told(lambda: library.nvmlDeviceGetMemoryInfo(device).used),
        "clock_event_reasons": told(lambda: reasons(device)),
        "processes": None if running is None else len(running),
    }
