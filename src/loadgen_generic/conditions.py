"""What the machine is doing: read before and after a test, to see what else it did meanwhile.

Two readings cost the test nothing. All times are in seconds since some fixed moment, so that
only their differences mean anything; what the system does not tell is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadgen_generic.machine import cpu_governor

__all__ = ["Reading", "read_conditions"]

_CPU = Path("/sys/devices/system/cpu")
_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine.

    Attributes:
        at: of the clock.
        cores: the processors that this process may run on, which the next two are about.
        busy: processor time that anybody used, over these processors.
        stolen: time that another virtual machine had, over these processors.
        own: processor time that the supervisor, this process, its children, and other processes
            that were named with theirs used.
        throttled: time that the container's limit held the processes back.
        heat_throttles: how often a processor slowed down because of heat.
        swapped_in: bytes that came back from swap, to whomever.
        load_average: of the last minute.
        mhz, most_mhz: of the processors, mean; most_mhz is the hardware's.
        governor: of processor frequency.
    """

    at: float
    cores: int
    busy: float
    stolen: float | None
    own: float
    throttled: float | None
    heat_throttles: int | None
    swapped_in: int
    load_average: float | None
    mhz: float | None
    most_mhz: float | None
    governor: str | None


def read_conditions(roots: Iterable[int] = ()) -> Reading:
    """Look at the machine; meant for the measured process, whose parent is the supervisor.

    Args:
        roots: other processes that count as its own, with all that they started.
    """
    numbers = _own_processors()
    times = [each for n, each in enumerate(psutil.cpu_times(percpu=True)) if n in numbers]
    stolen = [each.steal for each in times if hasattr(each, "steal")]
    frequency = _frequency()
    return Reading(
        at=time.monotonic(),
        cores=len(times),
        busy=sum(_busy(each) for each in times),
        stolen=sum(stolen) if stolen else None,
        own=_own_time(roots),
        throttled=_throttled(),
        heat_throttles=_heat_throttles(),
        swapped_in=psutil.swap_memory().sin,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        mhz=frequency[0],
        most_mhz=frequency[1],
        governor=cpu_governor(),
    )


def _own_processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _busy(times: object) -> float:
    """Guests' time is part of user and nice already."""
    parts = ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc")
    return float(sum(getattr(times, part, 0.0) for part in parts))


def _own_time(roots: Iterable[int]) -> float:
    """Of a process that ends between two readings the time is lost; workers live longer."""
    total = 0.0
    processes = {psutil.Process(), *psutil.Process().children(recursive=True)}
    parent = psutil.Process().parent()
    processes |= {parent} if parent else set()
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            processes |= {psutil.Process(root), *psutil.Process(root).children(recursive=True)}
    for process in processes:
        try:
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += times.user + times.system
    return total


def _frequency() -> tuple[float | None, float | None]:
    try:
        found = psutil.cpu_freq()
    except (OSError, RuntimeError, NotImplementedError, AttributeError):
        return None, None
    if found is None:
        return None, None
    return found.current or None, found.max or None


def _throttled() -> float | None:
    text = _text(_GROUP / "cpu.stat") or _text(_GROUP / "cpu/cpu.stat") or ""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "throttled_usec":
            return int(value) / 1e6
        if name == "throttled_time":  # the older interface has nanoseconds
            return int(value) / 1e9
    return None


def _heat_throttles() -> int | None:
    counts = [
        int(text)
        for file in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (text := _text(file)) is not None and text.isdigit()
    ]
    return sum(counts) if counts else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
