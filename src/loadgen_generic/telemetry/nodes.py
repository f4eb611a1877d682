"""One node of a cluster, watched by a process on it while the test runs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadgen_generic.conditions import Reading, read_conditions
from loadgen_generic.telemetry.sampler import Sampler

__all__ = ["NodeWatcher", "this_machine"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_machine() -> str:
    """The same text in all processes of a machine, whatever name it has in each, and in no other."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


class NodeWatcher:
    """Its parent is the process that has started all workers of the cluster on this node."""

    def __init__(self) -> None:
        self._root = os.getppid()
        self._before: Reading | None = None
        self._sampler: Sampler | None = None

    def who(self) -> tuple[str, int]:
        """The machine, and the process on it whose children do the work."""
        return this_machine(), self._root

    def begin(self, roots: Mapping[str, Sequence[int]], telemetry: bool) -> None:
        """Watch from now on.

        Args:
            roots: of each machine the processes whose children belong to the system under test.
            telemetry: look now and then, not only now and at the end.
        """
        self._roots = list(roots.get(this_machine(), ()))
        if telemetry:
            self._sampler = Sampler(self._root)
            self._sampler.start()
        self._before = read_conditions(self._roots)

    def end(self) -> dict[str, Any]:
        """What was seen, as fields of :class:`~loadgen_generic.results.cluster.ClusterNode`, and as
        ``timelines`` with times in seconds since the epoch."""
        assert self._before is not None
        after = read_conditions(self._roots)
        found: dict[str, Any] = {
            "conditions": {"before": asdict(self._before), "after": asdict(after)}
        }
        if self._sampler is None:
            return found
        sampled = self._sampler.stop()
        shift = time.time() - time.monotonic()
        lines = [line.model_dump() for line in sampled.machine]
        for line in lines:
            line["at_s"] = [at + shift for at in line["at_s"]]
        return found | {
            "timelines": lines,
            "mean_cpu_share": sampled.mean_cpu_share,
            "peak_memory_bytes": sampled.peak_memory_bytes,
        }
