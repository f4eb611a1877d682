"""A stand-in for pynvml, so that what is made of its answers can be tested without a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

__all__ = ["LOST", "FakeCard", "NvmlError", "nvml"]

LOST = 15


class NvmlError(Exception):
    """As pynvml's own: a code, and the driver's words."""

    def __init__(self, words: str = "Not Supported", value: int = 3) -> None:
        super().__init__(words)
        self.value = value


@dataclass
class FakeCard:
    """One GPU, which draws the same power all the time.

    Attributes:
        tells: whether it tells anything but its memory.
        counts: whether it counts the energy that it takes.
        reasons: why its clock is held back, as NVML's bits.
        processes: (number, bytes) of those that compute there.
        lost_after: answers, from which on it is gone.
    """

    name: str | bytes = "Big"
    bus: int = 0
    watts: float = 250.5
    tells: bool = True
    counts: bool = True
    reasons: int = 0
    processes: Callable[[], list[tuple[int, int | None]]] = field(default=list)
    lost_after: float = float("inf")
    answers: int = 0

    @property
    def uuid(self) -> str:
        return f"GPU-{self.bus:08x}-0000"


def nvml(cards: list[FakeCard], **changes: object) -> ModuleType:
    """The module; handles are the cards themselves."""

    def told(read: Callable[[FakeCard], object], *, always: bool = False) -> Callable[..., object]:
        def ask(card: FakeCard, *more: object) -> object:
            card.answers += 1
            if card.answers > card.lost_after:
                raise NvmlError("GPU is lost", LOST)
            if not always and not card.tells:
                raise NvmlError
            return read(card)

        return ask

    def counted(card: FakeCard) -> int:
        if not card.counts:
            raise NvmlError
        return round(1e3 * card.watts * time.monotonic())

    def running(card: FakeCard) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in card.processes()]

    module = ModuleType("pynvml")
    members = {
        "NVMLError": NvmlError,
        "NVML_ERROR_GPU_IS_LOST": LOST,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda number: cards[number],
        "nvmlDeviceGetName": told(lambda card: card.name, always=True),
        "nvmlDeviceGetUUID": told(lambda card: card.uuid, always=True),
        "nvmlDeviceGetPciInfo": told(
            lambda card: SimpleNamespace(busId=f"00000000:{card.bus:02X}:00.0"), always=True
        ),
        "nvmlDeviceGetUtilizationRates": told(lambda card: SimpleNamespace(gpu=75, memory=20)),
        "nvmlDeviceGetMemoryInfo": told(lambda card: SimpleNamespace(used=1 << 30), always=True),
        "nvmlDeviceGetPowerUsage": told(lambda card: round(1e3 * card.watts)),
        "nvmlDeviceGetTotalEnergyConsumption": told(counted),
        "nvmlDeviceGetClockInfo": told(lambda card: 1410),
        "nvmlDeviceGetTemperature": told(lambda card: 66),
        "nvmlDeviceGetCurrentClocksEventReasons": told(lambda card: card.reasons),
        "nvmlDeviceGetComputeRunningProcesses": told(running, always=True),
        **changes,
    }
    for name, member in members.items():
        setattr(module, name, member)
    return module
