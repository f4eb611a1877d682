"""What the driver tells of GPUs while a test runs, from a stand-in for its library."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvml import LOST, FakeCard, NvmlError, nvml

from loadgen_generic.results.doubts import doubts_of_gpus
from loadgen_generic.results.telemetry import GpuProcess, GpuSummary, TelemetrySummary
from loadgen_generic.telemetry import sampler as sampler_module
from loadgen_generic.telemetry.gpu import driver as driver_module
from loadgen_generic.telemetry.gpu.driver import Driver
from loadgen_generic.telemetry.gpu.energy import energy_between, summed_power
from loadgen_generic.telemetry.gpu.summary import GpusOfTest, gpus_of_test
from loadgen_generic.telemetry.gpu.used import used_cards
from loadgen_generic.telemetry.sampler import Sampled, Sampler

CUDA = {"execution_provider": "CUDAExecutionProvider", "devices": [0]}
GONE = 2**22 + 1  # the number of no process: Linux goes no further
Install = Callable[..., ModuleType]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a stand-in with these cards in pynvml's place."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sampler_module, "_SHORTEST_SEC", 0.02)
    monkeypatch.setattr(sampler_module, "_MOST_SHARE", 1.0)  # looking is not dear here

    def put(*cards: FakeCard, **changes: object) -> ModuleType:
        module = nvml(list(cards), **changes)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    return put


def sampled(looks: int = 2, pid: int | None = None, seconds: float = 0.0) -> Sampled:
    sampler = Sampler(os.getpid() if pid is None else pid)
    sampler.start()
    end = time.monotonic() + max(seconds, 30)
    least = time.monotonic() + seconds
    while len(sampler._looks) < looks or time.monotonic() < least:
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    return sampler.stop()


def seen_in(
    found: Sampled, effective: dict[str, Any], samples: int = 100, seconds: float = 1.0
) -> GpusOfTest:
    """As if the test had ended with the last look."""
    duration_ns = round(seconds * 1e9)
    last_s = max((line.at_s[-1] for line in found.machine), default=time.monotonic())
    begin_ns = round(1e9 * (last_s + time.perf_counter() - time.monotonic())) - duration_ns
    return gpus_of_test(found.driver, found.gpus, effective, begin_ns, duration_ns, samples)


def titles(found: Sampled) -> list[str]:
    return [line.title for line in found.machine]


def test_what_is_read_of_each_gpu(install: Install) -> None:
    """The second one tells its memory only."""
    install(FakeCard(reasons=0x1 | 0x4 | 0x20), FakeCard(b"Small", bus=1, tells=False))
    found = sampled()
    first, second = seen_in(found, CUDA).gpus
    assert first.name == "GPU 0, Big"
    assert (first.utilisation_percent, first.memory_bytes, first.power_w) == (75, 1 << 30, 250.5)
    assert (first.clock_mhz, first.temperature_c) == (1410, 66)
    assert first.held_back_by == "power cap, heat, held by the driver"
    assert first.held_back_shares == {"power cap": 1.0, "heat, held by the driver": 1.0}
    assert second == GpuSummary(
        name="GPU 1, Small",
        utilisation_percent=None,
        memory_bytes=1 << 30,
        power_w=None,
        clock_mhz=None,
        temperature_c=None,
        held_back_by=None,
        number=1,
        used=False,
    )
    lines = {line.title: line.series for line in found.machine}
    assert [(s.name, s.unit, s.values[0]) for s in lines["GPU power"]] == [
        ("GPU 0", "W", 250.5),
        ("GPU 1", "W", None),
    ]
    assert [s.values[0] for s in lines["GPU held back"]] == [100.0]
    assert lines["GPU clock"][0].unit == "MHz"
    assert "GPU energy" not in lines


def test_what_is_never_held_back_has_no_chart_of_it(install: Install) -> None:
    install(FakeCard(reasons=0x1))
    found = sampled()
    assert "GPU held back" not in titles(found)
    (gpu,) = seen_in(found, CUDA).gpus
    assert (gpu.held_back_by, gpu.held_back_shares) == (None, {})


def test_older_libraries(install: Install) -> None:
    """Another name for what holds a GPU back; no energy, no processes."""
    older = install(FakeCard(), nvmlDeviceGetCurrentClocksThrottleReasons=lambda card: 0x8)
    del older.nvmlDeviceGetCurrentClocksEventReasons
    del older.nvmlDeviceGetTotalEnergyConsumption
    del older.nvmlDeviceGetComputeRunningProcesses
    del older.nvmlDeviceGetUUID
    del older.nvmlDeviceGetPciInfo
    (gpu,) = seen_in(sampled(), CUDA).gpus
    assert gpu.held_back_by == "hardware slowdown"
    assert gpu.used


def test_no_library_and_no_driver_are_no_error(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver() -> None:
        raise NvmlError("Driver Not Loaded", 9)

    for library, why in (
        (None, "nvidia-ml-py is not installed"),
        (nvml([FakeCard()], nvmlInit=no_driver), "Driver Not Loaded"),
    ):
        monkeypatch.setitem(sys.modules, "pynvml", library)
        found = sampled(looks=1)
        assert found.gpus == []
        assert not any("GPU" in title for title in titles(found))
        (note,) = seen_in(found, CUDA).notes
        assert why in note
        on_the_cpu = {"execution_provider": "CPUExecutionProvider"}
        assert seen_in(found, on_the_cpu) == GpusOfTest([], None, [])


@pytest.mark.parametrize("counts", [True, False])
def test_energy_of_the_cards_in_use(install: Install, counts: bool) -> None:
    """By the card's own count, or by the power that was read; the other card's is told apart."""
    install(FakeCard(watts=400, counts=counts), FakeCard(bus=1, watts=70))
    looks = sampled(seconds=1.3)
    found = seen_in(looks, CUDA, samples=1000, seconds=1.2)
    assert found.energy is not None
    assert found.energy.gpus == [0]
    assert found.energy.source == ("counter" if counts else "power")
    assert found.energy.energy_j == pytest.approx(400 * 1.2, rel=0.02)
    assert found.energy.per_sample_j == pytest.approx(0.48, rel=0.02)
    assert found.gpus[1].energy_j == pytest.approx(70 * 1.2, rel=0.02)
    assert [gpu.used for gpu in found.gpus] == [True, False]
    both = seen_in(looks, {**CUDA, "devices": [1, 0]}, seconds=1.2).energy
    assert both is not None
    assert both.energy_j == pytest.approx(470 * 1.2, rel=0.02)
    assert both.source == ("counter" if counts else "both")


def test_no_energy_without_a_card_in_use_or_of_too_short_a_test(install: Install) -> None:
    install(FakeCard())
    found = sampled(looks=2, seconds=1.3)
    cpu = seen_in(found, {"execution_provider": "CPUExecutionProvider"}, seconds=1.2)
    assert cpu.energy is None
    assert [gpu.used for gpu in cpu.gpus] == [False]
    assert seen_in(found, CUDA, seconds=0.5).energy is None
    assert seen_in(found, CUDA, samples=0, seconds=1.2).energy is None
    other = seen_in(found, {"execution_provider": "DmlExecutionProvider"})
    assert [gpu.used for gpu in other.gpus] == [None]


@given(
    at=st.lists(st.floats(0, 100), min_size=3, max_size=30, unique=True),
    watts=st.floats(0, 1000),
    begin=st.floats(0, 90),
    length=st.floats(0.1, 50),
)
def test_energy_of_steady_power(at: list[float], watts: float, begin: float, length: float) -> None:
    """Power times time, whenever it was looked at, or nothing where too little was seen."""
    at.sort()
    counted = [(time_s, 5e6 + watts * time_s) for time_s in at]
    summed = summed_power([(time_s, watts) for time_s in at])
    seen = min(begin + length, at[-1]) - max(begin, at[0])
    for points in (counted, summed):
        energy = energy_between(points, begin, begin + length)
        if seen < 1 or seen < 0.9 * length:
            assert energy is None
        else:
            assert energy == pytest.approx(watts * length, rel=1e-6, abs=1e-3)


def test_energy_follows_the_power() -> None:
    """10 W for ten seconds, then 20 W; the test lies across the step."""
    looks = [(float(s), 10.0 if s < 10 else 20.0) for s in range(21)]
    points = summed_power(looks)
    assert energy_between(points, 12, 18) == pytest.approx(120)
    assert energy_between(points, 2, 8) == pytest.approx(60)
    assert energy_between([(0, 7.0), (10, 107.0), (20, 307.0)], 5, 15) == pytest.approx(150)


CARDS = [FakeCard(bus=9), FakeCard("Other", bus=3), FakeCard("Third", bus=6)]  # by bus: 1, 2, 0
ALIKE = [FakeCard(bus=1), FakeCard(bus=2), FakeCard(bus=3)]
BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("cards", "environ", "devices", "used"),
    [
        (ALIKE, {}, [0], {0}),
        (ALIKE, {}, [0, 2], {0, 2}),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "2,0"}, [0], {2}),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "2, 1"}, [1], {1}),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "GPU-00000003,0"}, [0, 1], {0, 2}),
        (CARDS, BY_BUS, [0], {1}),
        (CARDS, BY_BUS, [0, 1], {1, 2}),
        (CARDS, {**BY_BUS, "CUDA_VISIBLE_DEVICES": "2"}, [0], {0}),
        (CARDS, {"CUDA_VISIBLE_DEVICES": "GPU-00000006-0000"}, [0], {2}),
    ],
)
def test_cards_by_cudas_numbers(
    install: Install,
    cards: list[FakeCard],
    environ: dict[str, str],
    devices: list[int],
    used: set[int],
) -> None:
    install(*cards)
    found = used_cards(Driver(), {**CUDA, "devices": devices}, environ, [])
    assert (found.numbers, found.assumed) == (used, "")


def test_what_is_assumed_of_different_cards_is_told(install: Install) -> None:
    install(*CARDS)
    driver = Driver()
    guessed = used_cards(driver, CUDA, {}, [])
    assert guessed.numbers == {1}
    assert "CUDA's GPU 0 for the driver's 1" in guessed.assumed
    seen = used_cards(driver, CUDA, {}, [0])
    assert (seen.numbers, seen.assumed) == ({0}, ""), "where the measured process was seen"
    for hidden in ("7", "-1", "GPU-no", "0,7,1"):
        environ = {**BY_BUS, "CUDA_VISIBLE_DEVICES": hidden}
        lost = used_cards(driver, {**CUDA, "devices": [1]}, environ, [])
        assert lost.numbers is None
        assert hidden in lost.assumed


def test_a_part_of_a_gpu_counts_as_that_gpu(install: Install) -> None:
    """What NVML tells is of the whole card."""
    install(
        *ALIKE,
        nvmlDeviceGetHandleByUUID=lambda uuid: {"MIG-5": "part of 1"}[uuid],
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle=lambda part: ALIKE[int(part[-1])],
    )
    environ = {"CUDA_VISIBLE_DEVICES": "MIG-5"}
    assert used_cards(Driver(), CUDA, environ, []).numbers == {1}


def test_other_processes_are_told_from_ours(install: Install) -> None:
    waiting = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(waiting, stdin=subprocess.PIPE) as ours,
        subprocess.Popen(waiting, stdin=subprocess.PIPE) as other,
    ):
        sizes = iter([1 << 30, 3 << 30])
        install(
            FakeCard(processes=lambda: [(ours.pid, 5), (other.pid, next(sizes, 2 << 30))]),
            FakeCard(bus=1, processes=lambda: [(GONE, None)]),
        )
        found = seen_in(sampled(pid=ours.pid), {**CUDA, "devices": [0, 1]})
        for each in (ours, other):
            each.communicate(b"\n")
    first, second = found.gpus
    (process,) = first.other_processes
    assert (process.pid, process.memory_bytes) == (other.pid, 3 << 30)
    assert process.name.startswith("python")
    # Ours was seen, so the driver's numbers are ours, and one that has ended was another's.
    assert second.other_processes == [GpuProcess(pid=GONE, name="", memory_bytes=None)]
    one, another = doubts_of_gpus(found.gpus)
    assert one == (
        f"another process used GPU 0 during the test: process {other.pid} ({process.name}), "
        "3,072 MiB of its memory; end it and measure again"
    )
    assert f"GPU 1 during the test: process {GONE}, memory not told" in another


def test_processes_by_numbers_of_another_namespace_are_not_taken_for_others(
    install: Install,
) -> None:
    """As in a container, where the driver may have another number for the measured process."""
    # Ours are this process and what it started, such as the trackers of multiprocessing.
    ours = 1 + len(psutil.Process().children(recursive=True))
    listed = [(GONE + number, 1 << 30) for number in range(ours)]
    install(FakeCard(processes=lambda: listed))
    (gpu,) = seen_in(sampled(), CUDA).gpus
    assert (gpu.other_processes, gpu.unnamed_processes) == ([], 0)
    listed.append((GONE + ours, 1 << 30))
    (gpu,) = seen_in(sampled(), CUDA).gpus
    assert (gpu.other_processes, gpu.unnamed_processes) == ([], 1)
    (doubt,) = doubts_of_gpus([gpu])
    assert doubt.startswith(
        "another process used GPU 0 during the test: its driver lists 1 more than this run has"
    )


@pytest.mark.skipif(not psutil.LINUX, reason="threads have numbers of processes there")
def test_a_thread_of_ours_is_ours(install: Install) -> None:
    """Some drivers list threads."""
    numbers: list[int] = []
    done = threading.Event()

    def compute() -> None:
        numbers.append(threading.get_native_id())
        done.wait()

    thread = threading.Thread(target=compute)
    thread.start()
    install(FakeCard(processes=lambda: [(number, 5) for number in numbers]))
    found = sampled()
    done.set()
    thread.join()
    assert numbers != [os.getpid()]
    assert found.gpus[0].ours
    assert found.gpus[0].others == []


def test_a_gpu_that_is_lost_in_the_middle(install: Install) -> None:
    install(FakeCard(lost_after=30), FakeCard(bus=1))
    sampler = Sampler(os.getpid())
    sampler.start()
    end = time.monotonic() + 30
    while len(sampler._looks) < 6:
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    found = sampler.stop()
    lines = {line.title: line.series for line in found.machine}
    power = [series.values for series in lines["GPU power"]]
    assert power[0][0] == 250.5
    assert power[0][-1] is None
    assert power[1][-1] == 250.5, "the other one goes on"
    assert "CPU by core" in lines
    of_test = seen_in(found, CUDA)
    assert of_test.gpus[0].lost == "GPU is lost"
    assert of_test.energy is None
    assert of_test.notes == ["GPU 0, Big, does not answer its driver any more: GPU is lost"]
    assert doubts_of_gpus(of_test.gpus) == [
        "GPU 0 stopped answering during the test, as its driver says: GPU is lost"
    ]
    assert not doubts_of_gpus(seen_in(found, {**CUDA, "devices": [1]}).gpus), "it was not in use"


def test_a_gpu_that_is_lost_already_does_not_hide_the_others(install: Install) -> None:
    cards = [FakeCard(), FakeCard(bus=1)]

    def handle(number: int) -> FakeCard:
        if number == 0:
            raise NvmlError("GPU is lost", LOST)
        return cards[number]

    install(*cards, nvmlDeviceGetHandleByIndex=handle)
    first, second = seen_in(sampled(), CUDA).gpus
    assert (first.lost, second.power_w) == ("GPU is lost", 250.5)


def test_a_driver_that_does_not_open(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_PATIENCE_SEC", 0.05)
    never = threading.Event()
    install(FakeCard(), nvmlInit=never.wait)
    found = sampled()
    assert found.gpus == []
    assert "Memory" in titles(found)
    assert found.notes == ["telemetry has no GPUs: the driver did not answer within 0.05 s"]
    never.set()


def test_a_driver_that_stops_answering_hangs_nobody(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "_PATIENCE_SEC", 0.05)
    never, looks = threading.Event(), iter(range(2))

    def power(card: FakeCard) -> int:
        if next(looks, None) is None:
            never.wait()
        return 250_500

    install(FakeCard(), nvmlDeviceGetPowerUsage=power)
    found = sampled()
    assert any("stopped answering" in note for note in found.notes)
    assert found.gpus[0].means["power_w"] == 250.5
    assert "Memory" in titles(found)
    never.set()


def test_a_driver_that_never_answers_a_look(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "_PATIENCE_SEC", 0.05)
    never = threading.Event()
    install(FakeCard(), nvmlDeviceGetPowerUsage=lambda card: never.wait())
    found = sampled(looks=0)
    assert (found.machine, found.gpus) == ([], [])
    assert any("stopped answering" in note for note in found.notes)
    never.set()


def test_a_result_from_before_knows_less() -> None:
    """Its GPUs have neither energy nor processes."""
    old = {
        "name": "GPU 0, Big",
        "utilisation_percent": 75.0,
        "memory_bytes": 1024.0,
        "power_w": 250.5,
        "clock_mhz": 1410.0,
        "temperature_c": 66.0,
        "held_back_by": "power cap",
    }
    summary = TelemetrySummary.model_validate(
        {
            "file": "telemetry.json",
            "interval_s": 0.5,
            "own_cpu_share": 0.0,
            "peak_memory_bytes": None,
            "mean_cpu_share": None,
            "context_switches_per_s": None,
            "gpus": [old],
        }
    )
    assert summary.gpu_energy is None
    assert summary.gpus[0].held_back_by == "power cap"
    assert doubts_of_gpus(summary.gpus) == []
