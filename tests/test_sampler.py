"""The looks at the machine that are taken from outside the measured process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from loadgen_generic.results.telemetry import Timeline
from loadgen_generic.telemetry.sampler import Sampled, Sampler

# Says "ready", does as told, and ends with its standard input.
PROGRAM = """
import os, subprocess, sys, threading, time
child = None
if "child" in sys.argv:
    child = subprocess.Popen([sys.executable, "-c", "held = b'x' * (80 << 20); print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
def switch():
    while True:
        time.sleep(0.001)
if "switching" in sys.argv:
    threading.Thread(target=switch, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line == "grow\\n":
        held = b"x" * (64 << 20)
        print("grown", flush=True)
if child is not None:
    child.communicate(b"\\n")
"""


@contextmanager
def process(*doing: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *doing],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
        assert started.stdin is not None
        started.stdin.close()


def tell(running: subprocess.Popen[str], word: str) -> None:
    """Have it do something, and wait until it has."""
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(f"{word}\n")
    running.stdin.flush()
    running.stdout.readline()


def looked(sampler: Sampler, number: int) -> None:
    """Wait until it has looked so often."""
    end = time.monotonic() + 30
    while len(sampler._looks) < number:
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def sampled(pid: int, looks: int = 2) -> Sampled:
    sampler = Sampler(pid)
    sampler.start()
    looked(sampler, looks)
    return sampler.stop()


def line(found: Sampled, title: str) -> Timeline:
    (timeline,) = [each for each in found.machine if each.title == title]
    return timeline


def test_every_series_has_a_value_for_each_time_and_a_unit() -> None:
    found = sampled(os.getpid(), looks=3)
    titles = [timeline.title for timeline in found.machine]
    assert len(set(titles)) == len(titles)
    assert {"CPU by core", "Memory", "Context switches"} <= set(titles)
    assert not any("GPU" in title for title in titles) or found.gpus
    for timeline in found.machine:
        assert timeline.at_s == sorted(timeline.at_s)
        assert abs(timeline.at_s[-1] - time.monotonic()) < 30
        for series in timeline.series:
            assert series.unit
            assert len(series.values) == len(timeline.at_s)
    assert found.interval_s >= 0.25
    assert found.own_cpu_share > 0


def test_one_line_for_each_core_that_may_be_used() -> None:
    found = line(sampled(os.getpid(), looks=3), "CPU by core")
    usable = psutil.Process().cpu_affinity()
    assert [series.name for series in found.series] == [f"core {n}" for n in sorted(usable)]
    values = [value for series in found.series for value in series.values]
    assert all(0 <= value <= 100 for value in values if value is not None)


def test_a_core_that_goes_off_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(os.getpid())
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [])
    sampler.start()
    found = sampler.stop()
    assert found.mean_cpu_share is None
    assert [timeline.title for timeline in found.machine][:1] == ["Memory"]


def test_a_busy_core_shows() -> None:
    """This thread keeps about one core busy, whatever else runs."""
    sampler = Sampler(os.getpid())
    sampler.start()
    while len(sampler._looks) < 3:
        pass
    found = sampler.stop()
    assert found.mean_cpu_share is not None
    assert found.mean_cpu_share > 0.4 / psutil.cpu_count()
    busiest = max(max(filter(None, s.values)) for s in line(found, "CPU by core").series)
    assert busiest > 30


def test_memory_is_that_of_the_process_and_its_children() -> None:
    with process() as alone, process("child") as two:
        one, both = sampled(alone.pid), sampled(two.pid)
        rss = psutil.Process(alone.pid).memory_info().rss
    assert one.peak_memory_bytes is not None
    assert both.peak_memory_bytes is not None
    assert one.peak_memory_bytes == pytest.approx(rss, rel=0.05)
    assert both.peak_memory_bytes - one.peak_memory_bytes > 80 << 20


def test_memory_that_grows_is_seen() -> None:
    with process() as growing:
        sampler = Sampler(growing.pid)
        sampler.start()
        looked(sampler, 1)
        tell(growing, "grow")
        found = sampler.stop()
    (series,) = line(found, "Memory").series
    assert series.unit == "bytes"
    first, last = series.values[0], series.values[-1]
    assert first is not None
    assert last is not None
    assert last - first > 60 << 20
    assert found.peak_memory_bytes == last


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a process is all that is counted")
def test_switches_of_every_thread_are_counted() -> None:
    """The main thread waits for its input; another one sleeps a thousand times a second."""
    with process("switching") as busy, process() as idle:
        often, seldom = sampled(busy.pid, looks=3), sampled(idle.pid, looks=3)
    assert often.context_switches_per_s is not None
    assert seldom.context_switches_per_s is not None
    assert often.context_switches_per_s > 100
    assert seldom.context_switches_per_s < 50


def test_a_test_that_is_over_at_once_has_two_looks() -> None:
    sampler = Sampler(os.getpid())
    sampler.start()
    found = sampler.stop()
    assert len(line(found, "Memory").at_s) == 2
    assert found.peak_memory_bytes


def test_a_process_that_ends_meanwhile_is_no_error() -> None:
    with process() as short:
        sampler = Sampler(short.pid)
        sampler.start()
        looked(sampler, 1)
    seen = len(sampler._looks)
    looked(sampler, seen + 2)
    found = sampler.stop()
    assert found.peak_memory_bytes
    assert len(line(found, "Memory").at_s) < len(line(found, "CPU by core").at_s)


def test_a_process_that_is_gone_already() -> None:
    with process() as gone:
        pass
    found = sampled(gone.pid)
    assert found.peak_memory_bytes is None
    assert found.context_switches_per_s is None
    assert "Memory" not in [timeline.title for timeline in found.machine]


def test_a_long_test_keeps_six_hundred_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means stay means, peaks stay peaks, and rates are those of the longer interval."""
    sampler = Sampler(os.getpid())
    clock = iter(range(10**6))
    worked = iter(range(0, 10**6, 2))

    class Level:
        quantities = ()

        def __init__(self, *readings: Callable[[], object]) -> None:
            self.readings = readings

        def read(self, whole: bool) -> list[object]:
            return [read() for read in self.readings]

    titles = {quantity.title: quantity for quantity in sampler._quantities}
    memory, switches = titles["Memory"], titles["Context switches"]
    levels = iter([0.0, *([100.0, 300.0] * 700)])
    seconds = iter(range(10**6))
    sampler._quantities = [memory, switches]
    sampler._readers = [
        Level(lambda: next(levels), lambda: (float(next(worked)), float(next(seconds))))
    ]
    monkeypatch.setattr(
        "loadgen_generic.telemetry.sampler.time.monotonic", lambda: float(next(clock))
    )
    for _ in range(1001):
        sampler._look()
        if len(sampler._looks) > 600:
            sampler._thin()
    memories, rates = sampler._timelines()
    assert len(memories.at_s) <= 601
    assert memories.at_s[0] == 0
    assert memories.at_s[-1] == 1000
    assert set(memories.series[0].values[1:300]) == {300.0}
    assert set(rates.series[0].values) == {2.0}
    assert sampler._interval == 2.0  # thinned twice
