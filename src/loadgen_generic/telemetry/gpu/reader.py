"""Looks at the GPUs as the sampler looks at the processors."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen_generic.results.telemetry import GpuProcess
from loadgen_generic.telemetry.gpu.driver import Card, Driver
from loadgen_generic.telemetry.gpu.energy import Points, summed_power
from loadgen_generic.telemetry.gpu.processes import Processes
from loadgen_generic.telemetry.machine import Quantity, Ration, Reading

__all__ = ["Gpus", "SeenGpu"]

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
_PROCESSES_EVERY_SEC = 1.0
_POWER, _ENERGY = "power_w", "energy"


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """What was seen of one GPU.

    Attributes:
        means: of what was read, by the names that a result has for it; None where nothing was.
        held_back: what held it back, and in which share of the looks (0 to 1).
        others: processes that computed there and are not ours.
        unnamed: how many more there were at least.
        ours: whether the measured process was seen there.
        energy: against ``time.monotonic()``.
        counted: whether the energy is the card's own count, not a sum of its power.
    """

    card: Card
    means: Mapping[str, float | None]
    held_back: Mapping[str, float] = field(default_factory=dict)
    others: list[GpuProcess] = field(default_factory=list)
    unnamed: int = 0
    ours: bool = False
    energy: Points = ()
    counted: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    """One thing to read of each GPU; ``key`` is a result's name for it."""

    key: str
    title: str
    unit: str
    read: Callable[[Card], Reading]
    peaks: bool = False
    only_if_any: bool = False
    drawn: bool = True


class Gpus:
    """All GPUs of the machine, whatever ``CUDA_VISIBLE_DEVICES`` says: by NVML's numbers.

    Nothing to read, and no error, where nvidia-ml-py is missing or no driver answers.

    Args:
        own: numbers of the measured process and its children, also of those that ended.
    """

    def __init__(self, own: Callable[[], Collection[int]]) -> None:
        self.driver = Driver()
        self._processes = Processes(self.driver, own)
        self._for_processes = Ration(_PROCESSES_EVERY_SEC)
        self._told = Counter[int]()  # looks that told what holds a GPU back, by its number
        self._held_back: dict[int, Counter[str]] = defaultdict(Counter)
        self._reasons = self.driver.function(
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",  # the older name
        )
        self._count = self.driver.function("nvmlDeviceGetTotalEnergyConsumption")
        self._kinds = self._all_kinds()
        self.quantities = [
            Quantity(
                kind.title,
                f"GPU {card.number}",
                kind.unit,
                peaks=kind.peaks,
                only_if_any=kind.only_if_any,
                drawn=kind.drawn,
            )
            for card in self.driver.cards
            for kind in self._kinds
        ]

    def read(self, whole: bool) -> list[Reading]:
        if whole or self._for_processes.due():
            self._for_processes.spend(self._processes.look)
        return [kind.read(card) for card in self.driver.cards for kind in self._kinds]

    def describe(
        self, means: list[float | None], looks: list[list[tuple[float, Reading]]]
    ) -> list[SeenGpu]:
        """What was seen of each GPU.

        Args:
            means: of the quantities, in their order.
            looks: what was read of them and when, likewise.
        """
        keys = [kind.key for kind in self._kinds]
        described = []
        for row, card in enumerate(self.driver.cards):
            places = slice(row * len(keys), (row + 1) * len(keys))
            by_key = dict(zip(keys, looks[places], strict=True))
            counted = [
                (against, value)
                for value, against in (r for _, r in by_key[_ENERGY] if isinstance(r, tuple))
            ]
            power = [(at, read) for at, read in by_key[_POWER] if isinstance(read, float)]
            described.append(
                SeenGpu(
                    card=card,
                    means=dict(zip(keys, means[places], strict=True)),
                    held_back={
                        reason: count / self._told[card.number]
                        for reason, count in self._held_back[card.number].items()
                    },
                    others=self._processes.others(card.number),
                    unnamed=self._processes.unnamed(card.number),
                    ours=self._processes.ours(card.number),
                    energy=counted or summed_power(power),
                    counted=bool(counted),
                )
            )
        return described

    def close(self) -> None:
        self.driver.close()

    def _all_kinds(self) -> tuple[_Kind, ...]:
        nvml: Any = self.driver.library

        def level(read: Callable[[Any], Any]) -> Callable[[Card], Reading]:
            return lambda card: self.driver.number(read, card)

        return (
            _Kind(
                "utilisation_percent",
                "GPU utilisation",
                "%",
                level(lambda handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            ),
            _Kind(
                "memory_bytes",
                "GPU memory",
                "bytes",
                level(lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used),
                peaks=True,
            ),
            _Kind(
                _POWER,
                "GPU power",
                "W",
                level(lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3),
            ),
            _Kind(
                "clock_mhz",
                "GPU clock",
                "MHz",
                level(lambda handle: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            ),
            _Kind(
                "temperature_c",
                "GPU temperature",
                "°C",
                level(
                    lambda handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
                ),
                peaks=True,
            ),
            _Kind("held_back", "GPU held back", "%", self._holding, only_if_any=True),
            _Kind(_ENERGY, "GPU energy", "W", self._energy, drawn=False),
        )

    def _holding(self, card: Card) -> Reading:
        """100 if anything holds it back at this moment."""
        bits = self.driver.number(self._reasons, card) if self._reasons is not None else None
        if bits is None:
            return None
        found = [reason for bit, reason in _HELD_BACK.items() if int(bits) & bit]
        self._told[card.number] += 1
        self._held_back[card.number].update(found)
        return 100.0 if found else 0.0

    def _energy(self, card: Card) -> Reading:
        """J since the driver was loaded, and when."""
        counted = self.driver.number(self._count, card) if self._count is not None else None
        return None if counted is None else (counted / 1e3, time.monotonic())
