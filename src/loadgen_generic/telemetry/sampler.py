"""Looks at the machine again and again while a test runs, from a thread outside the measured process.

Looking costs what is measured as well, since both share the processors: so it paces itself by
the processor time that a look takes, and a test of hours is looked at less often than one of a
minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen_generic.results.telemetry import Series, Timeline
from loadgen_generic.telemetry.gpu import Driver, Gpus, SeenGpu
from loadgen_generic.telemetry.machine import (
    Clock,
    Family,
    Processors,
    Quantity,
    Reader,
    Reading,
)

__all__ = ["Sampled", "Sampler"]

_SHORTEST_SEC = 0.5  # processor times come in steps of 10 ms
_MOST_SHARE = 0.001  # of one core
_DECIMALS = 1  # which is more than any of it is read with
_PATIENCE_SEC = 5.0  # with the last look
_STUCK = "telemetry ends early: the GPU driver stopped answering, as it may when a GPU is lost"
_MOST_LOOKS = 600  # even, so that pairs are left over by none


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was seen.

    Attributes:
        interval_s: between two looks, in the mean of those that were kept.
        own_cpu_share: processor time that looking took, as a share of one core (0 to 1).
        machine: ``at_s`` is in seconds of ``time.monotonic()``. Processor time that was stolen is
            there only if some was.
        peak_memory_bytes: largest resident memory seen, of the process and its children.
        mean_cpu_share: of all processors that this process may use (0 to 1).
        context_switches_per_s: of the process and its children.
        gpus: of the machine, by the driver's numbers.
        driver: of the GPUs; None where nothing was looked at.
        notes: what the user should know of how it was seen.
    """

    interval_s: float
    own_cpu_share: float
    machine: list[Timeline]
    peak_memory_bytes: int | None
    mean_cpu_share: float | None
    context_switches_per_s: float | None
    gpus: list[SeenGpu]
    driver: Driver | None = None
    notes: Sequence[str] = ()


@dataclass(slots=True)
class _Look:
    at_s: float
    readings: list[Reading]


class Sampler:
    """Looks at a process and its machine between :meth:`start` and :meth:`stop`.

    Making one opens the GPU driver, which may take a second: make it before the test.

    Args:
        pid: of the measured process; that it ends meanwhile is no error.
    """

    def __init__(self, pid: int) -> None:
        self._processors, self._family = Processors(), Family(pid)
        self._gpus = Gpus(lambda: self._family.ever)
        self._readers: list[Reader] = [self._processors, Clock(), self._family, self._gpus]
        self._quantities = [each for reader in self._readers for each in reader.quantities]
        self._interval = _SHORTEST_SEC
        self._looks: list[_Look] = []
        self._cpu_sec = self._wall_sec = 0.0
        self._stuck = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> Sampled:
        """Take a last look, and say what was seen."""
        self._ended.set()
        self._thread.join(_PATIENCE_SEC)
        driver = self._gpus.driver
        notes = [driver.note] if driver.note else []
        if self._thread.is_alive():
            self._stuck = True
            notes.append(_STUCK)
        else:
            self._gpus.close()
        if not self._looks:
            return Sampled(self._interval, 0.0, [], None, None, None, [], driver, notes)
        return Sampled(
            self._mean_interval(),
            self._cpu_sec / self._wall_sec if self._wall_sec else 0.0,
            self._timelines(),
            self._peak_memory(),
            self._mean_cpu_share(),
            self._mean_rise("Context switches"),
            self._gpus.describe(self._means(self._gpus), self._looks_of(self._gpus)),
            driver,
            notes,
        )

    def _watch(self) -> None:
        began, spent_before = time.monotonic(), time.thread_time()
        cost, over = self._look(), False
        while not over:
            over = self._ended.wait(max(self._interval, cost / _MOST_SHARE))
            cost = self._look(whole=over)
            if len(self._looks) > _MOST_LOOKS and not over:
                self._thin()
            self._cpu_sec = time.thread_time() - spent_before
            self._wall_sec = time.monotonic() - began

    def _mean_interval(self) -> float:
        """Without the last look, which comes when the test is over."""
        *regular, _ = self._looks
        if len(regular) < 2:
            return self._interval
        return (regular[-1].at_s - regular[0].at_s) / (len(regular) - 1)

    def _look(self, whole: bool = False) -> float:
        """Read everything; gives the processor time that it took, in s."""
        before = time.thread_time()
        readings = [value for reader in self._readers for value in reader.read(whole)]
        if not self._stuck:  # nobody waits for it any more
            self._looks.append(_Look(time.monotonic(), readings))
        return time.thread_time() - before

    def _thin(self) -> None:
        """One look of each two after the first, and half as many from now on."""
        first, *rest = self._looks
        pairs = zip(rest[::2], rest[1::2], strict=True)
        self._looks = [first, *(self._merged(one, other) for one, other in pairs)]
        self._interval *= 2

    def _merged(self, one: _Look, other: _Look) -> _Look:
        return _Look(
            other.at_s,
            [
                _merged(quantity, a, b)
                for quantity, a, b in zip(
                    self._quantities, one.readings, other.readings, strict=True
                )
            ],
        )

    def _timelines(self) -> list[Timeline]:
        titles = dict.fromkeys(each.title for each in self._quantities if each.drawn)
        return [line for title in titles if (line := self._timeline(title)) is not None]

    def _timeline(self, title: str) -> Timeline | None:
        """The chart of that title, without the looks that read nothing of it."""
        columns = [
            (quantity, self._values(position))
            for position, quantity in enumerate(self._quantities)
            if quantity.title == title
        ]
        columns = [
            (quantity, values)
            for quantity, values in columns
            if any(values) or not quantity.only_if_any
        ]
        kept = [
            row
            for row in range(len(self._looks))
            if any(values[row] is not None for _, values in columns)
        ]
        if not kept:
            return None
        return Timeline(
            title=title,
            at_s=[round(self._looks[row].at_s, 4) for row in kept],
            series=[
                Series(
                    name=quantity.name,
                    unit=quantity.unit,
                    values=[values[row] for row in kept],
                )
                for quantity, values in columns
            ],
        )

    def _values(self, position: int) -> list[float | None]:
        """Of one quantity at each look."""
        readings = [look.readings[position] for look in self._looks]
        quantity = self._quantities[position]
        values: list[float | None] = []
        before: Reading = None
        for now in readings:
            # A counter has risen since it was last read, and not yet at the first look.
            value = _rise(before, now, quantity) if isinstance(now, tuple) else now
            before = now if isinstance(now, tuple) else before
            values.append(None if value is None else round(value, _DECIMALS))
        return values

    def _positions(self, title: str) -> list[int]:
        return [at for at, each in enumerate(self._quantities) if each.title == title]

    def _peak_memory(self) -> int | None:
        (position,) = self._positions("Memory")
        known = [value for value in self._values(position) if value is not None]
        return int(max(known)) if known else None

    def _mean_cpu_share(self) -> float | None:
        shares = [self._rise_of(position) for position in self._positions("CPU by core")]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) / 100 if known else None

    def _mean_rise(self, title: str) -> float | None:
        (position,) = self._positions(title)
        return self._rise_of(position)

    def _rise_of(self, position: int) -> float | None:
        """From the first to the last time that a counter was read."""
        read = [value for look in self._looks if (value := look.readings[position]) is not None]
        return _rise(read[0], read[-1], self._quantities[position]) if read else None

    def _places(self, reader: Reader) -> range:
        """Where its quantities stand among all."""
        first = next(
            sum(len(before.quantities) for before in self._readers[:at])
            for at, each in enumerate(self._readers)
            if each is reader
        )
        return range(first, first + len(reader.quantities))

    def _looks_of(self, reader: Reader) -> list[list[tuple[float, Reading]]]:
        """When each of its quantities was read, and what."""
        return [
            [(look.at_s, look.readings[position]) for look in self._looks]
            for position in self._places(reader)
        ]

    def _means(self, reader: Reader) -> list[float | None]:
        means: list[float | None] = []
        for position in self._places(reader):
            known = [value for value in self._values(position) if value is not None]
            means.append(sum(known) / len(known) if known else None)
        return means


def _rise(before: Reading, now: Reading, quantity: Quantity) -> float | None:
    """None if nothing passed between the two, or either is missing."""
    if not isinstance(before, tuple) or not isinstance(now, tuple) or now[1] <= before[1]:
        return None
    # An idle core's times can step back by a tick.
    return max(0.0, quantity.scale * (now[0] - before[0]) / (now[1] - before[1]))


def _merged(quantity: Quantity, one: Reading, other: Reading) -> Reading:
    if isinstance(one, tuple) or isinstance(other, tuple):
        return one if other is None else other  # the later counter covers both intervals
    known = [value for value in (one, other) if value is not None]
    if not known:
        return None
    return max(known) if quantity.peaks else sum(known) / len(known)
