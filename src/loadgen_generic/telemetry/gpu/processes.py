"""Which processes compute on which GPU, ours told apart from others'.

In a container the driver may list processes by the numbers that they have outside. The measured
process is then never seen on a GPU, and all that can be said of numbers that do not exist here is
how many they are.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import psutil

from loadgen_generic.results.telemetry import GpuProcess
from loadgen_generic.telemetry.gpu.driver import Card, Driver

__all__ = ["Processes"]


class Processes:
    """Looks at all GPUs.

    Args:
        own: numbers of the measured process and its children, also of those that ended.
    """

    def __init__(self, driver: Driver, own: Callable[[], Collection[int]]) -> None:
        self._driver, self._own = driver, own
        self._listing = driver.function("nvmlDeviceGetComputeRunningProcesses")
        self._seen: dict[int, dict[int, GpuProcess]] = defaultdict(dict)
        self._here: set[int] = set()
        self._most_strange: dict[int, int] = defaultdict(int)

    def look(self) -> None:
        if self._listing is None:
            return
        for card in self._driver.cards:
            listed = self._driver.ask(self._listing, card) or []
            strange = [not self._add(card, each) for each in listed]
            self._most_strange[card.number] = max(self._most_strange[card.number], sum(strange))

    def ours(self, number: int) -> bool:
        """Whether the measured process was seen on a GPU."""
        return bool(self._seen[number].keys() & set(self._own()))

    def others(self, number: int) -> list[GpuProcess]:
        """Processes on a GPU that are not ours, with the most memory that each had there."""
        own, known = {os.getpid(), *self._own()}, self._numbers_are_ours()
        return [
            process
            for pid, process in self._seen[number].items()
            if pid not in own and (known or pid in self._here)
        ]

    def unnamed(self, number: int) -> int:
        """How many more processes a GPU had than are named and can be ours."""
        if self._numbers_are_ours():
            return 0
        return max(0, self._most_strange[number] - len(self._own()))

    def _numbers_are_ours(self) -> bool:
        own = set(self._own())
        return any(seen.keys() & own for seen in self._seen.values())

    def _add(self, card: Card, listed: object) -> bool:
        """Whether a process of that number exists here."""
        pid = _process_of(int(getattr(listed, "pid", 0)))
        memory = getattr(listed, "usedGpuMemory", None)
        before = self._seen[card.number].get(pid)
        if before is None:
            if psutil.pid_exists(pid):
                self._here.add(pid)
            before = GpuProcess(pid=pid, name=_name_of(pid), memory_bytes=None)
        known = [each for each in (before.memory_bytes, memory) if each is not None]
        self._seen[card.number][pid] = before.model_copy(
            update={"memory_bytes": max(known) if known else None}
        )
        return pid in self._here


def _process_of(number: int) -> int:
    """Some drivers list a thread in its process's place."""
    with suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{number}/status").read_bytes()
        return int(status.partition(b"\nTgid:")[2].split(maxsplit=1)[0])
    return number


def _name_of(pid: int) -> str:
    with suppress(psutil.Error):
        return psutil.Process(pid).name()
    return ""
