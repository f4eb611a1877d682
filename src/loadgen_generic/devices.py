"""Which devices a run uses: the numbers of GPUs."""

from __future__ import annotations

from loadgen_generic.config import BenchmarkConfig

__all__ = ["planned_devices"]


def planned_devices(config: BenchmarkConfig) -> tuple[int, ...]:
    """The numbers of the devices of a run, in the order that the user gave; never empty.

    A provider without numbered devices has the device 0.
    """
    return tuple(int(number) for number in (config.devices or "0").split(","))
