"""Processors, memory and context switches, as the operating system counts them.

Processor clocks come from Linux's ``cpufreq`` alone: what psutil says elsewhere, and what
``/proc/cpuinfo`` says in a virtual machine, is the nominal clock, which nobody measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import psutil

__all__ = ["Clock", "Family", "Processors", "Quantity", "Ration", "Reader", "Reading"]

_T = TypeVar("_T")

# A level, or a counter with what it is counted against; None where it was not read.
Reading = float | tuple[float, float] | None

_PROC = Path("/proc")
_CPUS = Path("/sys/devices/system/cpu")
_DEAR_SHARE = 0.0005  # of one core, for each thing that is dear to read
_CLOCK_EVERY_SEC = 1.0  # older kernels interrupt a core to tell its clock
_CHILDREN_EVERY_SEC = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SWITCHES = (b"voluntary_ctxt_switches:", b"nonvoluntary_ctxt_switches:")


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one reading is.

    Attributes:
        title: of the chart that it belongs on.
        name: of its line there.
        scale: a counter's rise over the rise of what it is counted against, times this, is the
            value.
        peaks: of several looks at a level that become one, keep the highest, not the mean.
        only_if_any: of no interest where all values are 0.
        drawn: whether it belongs on a chart at all.
    """

    title: str
    name: str
    unit: str
    scale: float = 1.0
    peaks: bool = False
    only_if_any: bool = False
    drawn: bool = True


class Reader(Protocol):
    """One thing to look at."""

    @property
    def quantities(self) -> list[Quantity]: ...

    def read(self, whole: bool) -> list[Reading]:
        """One for each quantity; what is dear only now and then, unless the whole is asked for."""
        ...


class Processors:
    """Time that the processors which this process may use worked, and that the hypervisor gave to
    other machines; each of all the time that passed."""

    def __init__(self) -> None:
        numbers = _numbers()
        usable = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(numbers)
        self._listed = len(numbers)
        self._rows = [row for row, number in enumerate(numbers) if number in usable]
        self._tells_stolen = hasattr(psutil.cpu_times(), "steal")
        self.quantities = [
            Quantity("CPU by core", f"core {numbers[row]}", "%", 100.0) for row in self._rows
        ]
        if self._tells_stolen:
            stolen = Quantity("CPU time stolen", "all cores", "%", 100.0, only_if_any=True)
            self.quantities.append(stolen)

    def read(self, whole: bool) -> list[Reading]:
        times = psutil.cpu_times(percpu=True)
        if len(times) != self._listed:  # one went on or off, so nobody knows which is which
            return [None] * len(self.quantities)
        worked: list[Reading] = []
        stolen = total = 0.0
        for row in self._rows:
            each = times[row]
            gone = float(getattr(each, "steal", 0.0))
            waited = each.idle + getattr(each, "iowait", 0.0)
            guests = getattr(each, "guest", 0.0) + getattr(each, "guest_nice", 0.0)
            passed = sum(each) - guests  # Linux counts the guests' time as the user's already
            worked.append((passed - waited - gone, passed))
            stolen += gone
            total += passed
        return [*worked, (stolen, total)] if self._tells_stolen else worked


class Clock:
    """Mean clock of the processors that this process may use; no quantity where nothing tells."""

    def __init__(self) -> None:
        usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        files = [_CPUS / f"cpu{number}/cpufreq/scaling_cur_freq" for number in sorted(usable)]
        self._files = [file for file in files if file.is_file()]
        self._ration = Ration(_CLOCK_EVERY_SEC)
        self.quantities = (
            [Quantity("Processor clock", "mean of the cores", "MHz")] if self._files else []
        )

    def read(self, whole: bool) -> list[Reading]:
        if not self._files:
            return []
        if not whole and not self._ration.due():
            return [None]
        return [self._ration.spend(self._mean_mhz)]

    def _mean_mhz(self) -> float | None:
        clocks = []
        for file in self._files:
            with suppress(OSError, ValueError):  # a core went offline
                clocks.append(int(file.read_bytes()) / 1e3)
        return sum(clocks) / len(clocks) if clocks else None


class Family:
    """Resident memory and context switches of a process and its children.

    Memory that they share is counted in each. Both are None once the process has ended.

    Attributes:
        ever: numbers of the process and of every child that was seen.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members, self.ever = [pid], {pid}
        self._for_children, self._for_switches = Ration(_CHILDREN_EVERY_SEC), Ration(0.0)
        self._counts: dict[int, int] = {}
        self._switches = 0
        self.quantities = [
            Quantity("Memory", "resident memory", "bytes", peaks=True),
            Quantity("Context switches", "context switches", "1/s"),
        ]

    def read(self, whole: bool) -> list[Reading]:
        if self._for_children.due():
            self._members = [self._pid, *self._for_children.spend(lambda: _children(self._pid))]
            self.ever.update(self._members)
        resident = 0
        for pid in self._members:
            with suppress(OSError, psutil.Error):  # it has ended
                resident += _resident_bytes(pid)
        if not resident:
            return [None, None]
        if not whole and not self._for_switches.due():
            return [float(resident), None]
        return [float(resident), self._for_switches.spend(self._switched)]

    def _switched(self) -> Reading:
        counts: dict[int, int] = {}
        for pid in self._members:
            with suppress(OSError, psutil.Error):
                counts.update(_switches_by_thread(pid))
        if not counts:
            return None
        # A thread that is new has switched since the last look; one that is gone is lost sight of.
        if self._counts:
            self._switches += sum(
                count - self._counts.get(thread, 0) for thread, count in counts.items()
            )
        self._counts = counts
        return float(self._switches), time.monotonic()


class Ration:
    """Keeps something dear to read below its share of one core."""

    def __init__(self, least_sec: float) -> None:
        self._least_sec = least_sec
        self._next = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def spend(self, read: Callable[[], _T]) -> _T:
        began = time.thread_time()
        value = read()
        cost = time.thread_time() - began
        self._next = time.monotonic() + max(self._least_sec, cost / _DEAR_SHARE)
        return value


def _numbers() -> list[int]:
    """The numbers of the processors that ``psutil.cpu_times`` lists; it skips offline ones."""
    if psutil.LINUX:
        lines = (_PROC / "stat").read_bytes().splitlines()
        names = [line.split(maxsplit=1)[0] for line in lines if line.startswith(b"cpu")]
        return [int(name[3:]) for name in names if len(name) > 3]
    return list(range(len(psutil.cpu_times(percpu=True))))


def _children(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    # psutil reads all processes of the machine for it: 1.2 ms where this takes 0.1.
    if not (_PROC / f"{pid}/task/{pid}/children").exists():
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.Error:  # it has ended
            return []
    found: list[int] = []
    for parent in _growing(pid, found):
        with suppress(OSError):
            for thread in os.listdir(_PROC / str(parent) / "task"):
                listed = (_PROC / str(parent) / "task" / thread / "children").read_bytes()
                found += map(int, listed.split())
    return found


def _growing(first: int, rest: list[int]) -> Iterable[int]:
    """The first, and the rest as it grows meanwhile."""
    yield first
    yield from rest


def _resident_bytes(pid: int) -> int:
    if psutil.LINUX:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    return int(psutil.Process(pid).memory_info().rss)


def _switches_by_thread(pid: int) -> dict[int, int]:
    """Voluntary and involuntary switches together. Linux counts them for each thread, and
    psutil reads the main thread's alone."""
    if not psutil.LINUX:
        counted = psutil.Process(pid).num_ctx_switches()
        return {pid: counted.voluntary + counted.involuntary}
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/status", "rb") as file:
            # They are the last lines, and the rest is long.
            lines = file.read()[-200:].splitlines()
            found[int(thread)] = sum(
                int(line.split()[1]) for line in lines if line.startswith(_SWITCHES)
            )
    return found
