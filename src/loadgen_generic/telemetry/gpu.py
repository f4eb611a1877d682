"""NVIDIA GPUs, through the driver's own library where nvidia-ml-py and a driver are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadgen_generic.telemetry.machine import Quantity, Reading

__all__ = ["Gpus"]

# Bits of NVML's clock event reasons that mean a GPU was held back, and what holds it.
_HELD_BACK = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "slowest GPU of a group",
    0x20: "heat, held by the driver",
    0x40: "heat, held by the hardware",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "voltage limit",
}


class Gpus:
    """All GPUs of the machine, whatever ``CUDA_VISIBLE_DEVICES`` says: by NVML's numbers.

    Nothing to read, and no error, where nvidia-ml-py is missing or no driver answers.
    """

    def __init__(self) -> None:
        self._library, self._devices = _open()
        self._names = [self._name(device) for device in self._devices]
        self._held_back = [0] * len(self._devices)
        self.quantities = [
            Quantity(title, f"GPU {number}", unit, peaks=peaks)
            for number in range(len(self._devices))
            for title, unit, peaks, _ in self._kinds()
        ]

    def read(self, whole: bool) -> list[Reading]:
        found: list[Reading] = []
        for number, device in enumerate(self._devices):
            found += [self._asked(read, device) for _, _, _, read in self._kinds()]
            self._held_back[number] |= int(self._asked(self._reasons, device) or 0)
        return found

    def describe(self, means: list[float | None]) -> list[dict[str, str | float | None]]:
        """What a result says of each GPU.

        Args:
            means: of the quantities, in their order.
        """
        keys = ("utilisation_percent", "memory_bytes", "power_w", "clock_mhz", "temperature_c")
        described: list[dict[str, str | float | None]] = []
        for number, name in enumerate(self._names):
            own = means[number * len(keys) : (number + 1) * len(keys)]
            reasons = [word for bit, word in _HELD_BACK.items() if self._held_back[number] & bit]
            described.append(
                {
                    "name": f"GPU {number}, {name}",
                    **dict(zip(keys, own, strict=True)),
                    "held_back_by": ", ".join(reasons) or None,
                }
            )
        return described

    def close(self) -> None:
        if self._library is not None:
            self._asked(lambda _: self._library.nvmlShutdown(), None)

    def _kinds(self) -> tuple[tuple[str, str, bool, Callable[[Any], float]], ...]:
        """Title, unit, whether peaks count, and how to read it of a device."""
        nvml = self._library
        return (
            ("GPU utilisation", "%", False, lambda d: nvml.nvmlDeviceGetUtilizationRates(d).gpu),
            ("GPU memory", "bytes", True, lambda d: nvml.nvmlDeviceGetMemoryInfo(d).used),
            ("GPU power", "W", False, lambda d: nvml.nvmlDeviceGetPowerUsage(d) / 1e3),
            (
                "GPU clock",
                "MHz",
                False,
                lambda d: nvml.nvmlDeviceGetClockInfo(d, nvml.NVML_CLOCK_SM),
            ),
            (
                "GPU temperature",
                "°C",
                True,
                lambda d: nvml.nvmlDeviceGetTemperature(d, nvml.NVML_TEMPERATURE_GPU),
            ),
        )

    def _reasons(self, device: Any) -> float:
        """Bits; the older name goes where the newer one is missing."""
        library = self._library
        current = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
        return float((current or library.nvmlDeviceGetCurrentClocksThrottleReasons)(device))

    def _name(self, device: Any) -> str:
        name = self._library.nvmlDeviceGetName(device)
        return name.decode() if isinstance(name, bytes) else str(name)

    def _asked(self, read: Callable[[Any], Any], device: Any) -> float | None:
        """None where this GPU or its driver does not tell."""
        try:
            value = read(device)
        except self._library.NVMLError:
            return None
        return None if value is None else float(value)


def _open() -> tuple[Any, list[Any]]:
    """The library and a handle on each GPU."""
    try:
        import pynvml
    except ImportError:
        return None, []
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
    except pynvml.NVMLError:
        return None, []
