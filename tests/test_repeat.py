"""Repeated runs, and what makes a number doubtful."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import Command, Running, fake
from few import few
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic import supervisor
from loadgen_generic.campaigns import carry_out
from loadgen_generic.conditions import read_conditions
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.bootstrap import median_interval, spread
from loadgen_generic.results.doubts import conditions_between, doubts_of_runs, doubts_of_test
from loadgen_generic.results.manifest import environment_that_matters, git_state
from loadgen_generic.results.result import read_result

MAIN = Path(__file__).resolve().parent.parent / "src" / "main.py"
# Sleeps, so that its figures hardly depend on what else the machine does.
RUNS: dict[str, object] = {
    **fake("latency_us=5000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "SingleStream",
    "loadgen_expected_qps": 200,
    "loadgen_duration_sec": 0.6,
}

VALUES = st.lists(st.floats(0.1, 1e6), min_size=2, max_size=30)


@given(VALUES)
def test_the_interval_holds_the_median_and_lies_within_the_values(values: list[float]) -> None:
    low, high = median_interval(values)
    middle = sorted(values)[len(values) // 2]
    assert min(values) <= low <= high <= max(values)
    assert low <= middle * (1 + 1e-9)
    assert median_interval(values) == (low, high), "the same values give the same interval"


def test_the_interval_narrows_with_more_values() -> None:
    few, many = ([100 + i % 5 for i in range(count)] for count in (5, 200))
    wide, narrow = median_interval(few), median_interval(many)
    assert wide[1] - wide[0] > narrow[1] - narrow[0]
    assert spread([90, 100, 110]) == pytest.approx(0.2)


class Machine:
    """A /proc of our own, which the real readers read.

    Two processors of which ``others`` cores are busy with someone else's work and ``stolen``
    are another machine's.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._proc = directory
        self._ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        (directory / "vmstat").write_text("pswpin 0\npswpout 0\n")
        (directory / "meminfo").write_text("SwapTotal: 0 kB\nSwapFree: 0 kB\n")
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(directory))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
        monkeypatch.setattr("loadgen_generic.conditions._own_time", lambda roots: self._own)

    def read(self, at: float, own: float, others: float, stolen: float = 0.0) -> dict[str, Any]:
        """A reading so many seconds after the start, with these totals of seconds."""
        self._own = own
        lines, all_ = [], [0] * 10
        for name in ("cpu0", "cpu1"):
            busy, gone = (own + others) / 2, stolen / 2
            fields = [busy, 0, 0, at - busy - gone, 0, 0, 0, gone, 0, 0]
            ticks = [round(each * self._ticks) for each in fields]
            all_ = [a + b for a, b in zip(all_, ticks, strict=True)]
            lines.append(" ".join([name, *map(str, ticks)]))
        (self._proc / "stat").write_text(
            "\n".join([" ".join(["cpu ", *map(str, all_)]), *lines, "intr 0", ""])
        )
        return asdict(read_conditions()) | {"at": at}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    if not hasattr(psutil, "PROCFS_PATH"):
        pytest.skip("there is no /proc here")
    proc = tmp_path / "proc"
    proc.mkdir()
    return Machine(proc, monkeypatch)


def during(machine: Machine, **used: float) -> dict[str, Any]:
    """Conditions of ten seconds in which one of two cores was ours."""
    before = machine.read(100, own=50, others=3)
    rest = {"others": 3 + used.get("others", 0.0), "stolen": used.get("stolen", 0.0)}
    return conditions_between(before, machine.read(110, own=60, **rest))


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ({}, ""),
        ({"others": 0.4}, ""),  # what a system does for itself
        ({"others": 9.8}, "other processes used 49 %"),
        ({"stolen": 0.2}, ""),
        ({"stolen": 3}, "steal"),
    ],
)
def test_what_the_machine_did_meanwhile(
    used: dict[str, float], words: str, machine: Machine
) -> None:
    conditions = during(machine, **used)
    assert conditions["own_cpu_share"] == pytest.approx(0.5)
    assert conditions["other_cpu_share"] == pytest.approx(used.get("others", 0) / 20, abs=1e-3)
    doubts = doubts_of_test(conditions)
    assert len(doubts) == bool(words)
    assert not words or words in doubts[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"throttled_seconds": 2.0}, "container's processor limit"),
        ({"heat_throttles": 3}, "heat"),
        ({"swapped_in_bytes": 5 << 20}, "5.0 MiB came back from swap"),
        ({"mhz": 1000, "most_mhz": 3000, "governor": "powersave", "own_cpu_share": 0.9}, "powers"),
        ({"mhz": 1000, "most_mhz": 3000, "own_cpu_share": 0.1}, ""),  # idle: right to be slow
        ({"other_cpu_share": 0.5, "seconds": 0.1}, ""),  # too short to say
    ],
)
def test_what_else_is_doubted(change: dict[str, Any], words: str, machine: Machine) -> None:
    doubts = doubts_of_test(during(machine) | change)
    assert len(doubts) == bool(words)
    assert not words or words in doubts[0]


def test_runs_that_lie_apart() -> None:
    quiet: list[tuple[list[str], Mapping[str, Any] | None]] = [([], None)] * 3
    assert doubts_of_runs(0.02, 3, quiet) == []
    assert "12 % apart" in doubts_of_runs(0.12, 3, quiet)[0]
    clocks = [([], {"mhz": mhz, "most_mhz": 3000}) for mhz in (2000, 3000)]
    assert "2000 MHz in one run and at 3000" in doubts_of_runs(0, 2, clocks)[0]
    assert doubts_of_runs(0, 2, [(["x"], None), ([], None)]) == ["run 1 of 2: x"]


def stage(monkeypatch: pytest.MonkeyPatch, before: object, after: object) -> None:
    """Real runs, except for what they read of the machine."""
    real = supervisor.run_child

    def staged(*arguments: Any) -> dict[str, Any]:
        return real(*arguments) | {"conditions": {"before": before, "after": after}}

    monkeypatch.setattr(supervisor, "run_child", staged)


@pytest.mark.parametrize("neighbour", few([True, False], 2))
def test_five_runs_alone_and_with_a_busy_neighbour(
    neighbour: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.read(100, own=50, others=3)
    after = machine.read(110, own=60, others=13 if neighbour else 3.3)
    monkeypatch.undo()
    stage(monkeypatch, before, after)
    # What other programs do to this machine is not the question here.
    monkeypatch.setattr("loadgen_generic.results.doubts.MOST_SPREAD", 100)
    config = BenchmarkConfig.model_validate(
        RUNS | {"repeat": 5, "output_dir": str(tmp_path / "out")}
    )
    result = carry_out(config).result
    assert result.repeat is not None
    assert len(result.repeat.values) == 5
    if neighbour:
        assert len(result.doubts) == 5
        assert result.doubts[0].startswith("run 1 of 5: other processes used 50 %")
    else:
        assert result.doubts == []


def test_a_real_neighbour_is_seen(command: Command) -> None:
    """A process that spins on a core that the test may use."""
    spin = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(spin) as neighbour:
        try:
            outcome = command("run", **RUNS | {"loadgen_duration_sec": 2})
        finally:
            neighbour.kill()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    assert outcome.result.conditions is not None
    assert outcome.result.conditions["other_cpu_share"] > 0.3 / cores
    if cores < 16:
        assert any("other processes used" in doubt for doubt in outcome.result.doubts)
        assert "doubtful:  other processes used" in outcome.stdout


@pytest.mark.slow
def test_own_work_is_no_neighbour(command: Command) -> None:
    """Inferences that keep a core busy, in the measured process and in workers of its own."""
    # Below 200 us the fake backend spins.
    busy = RUNS | fake("latency_us=150") | {"scenario": "Offline", "loadgen_duration_sec": 2}
    busy |= {"loadgen_expected_qps": 6000}
    for runner in ("inline", "processpool"):
        outcome = command("run", **busy | {"runner": runner, "output_dir": runner})
        found = outcome.result.conditions
        assert found is not None
        assert found["own_cpu_share"] * found["cores"] > 0.3, "seen, and counted as our own"


def test_repeat_from_end_to_end(command: Command) -> None:
    outcome = command("run", **RUNS, repeat=4)
    result = outcome.result
    assert result.repeat is not None
    values = [
        read_result(outcome.run_dir / "runs" / f"{number:03d}").metric.value
        for number in range(1, 5)
    ]
    assert result.repeat.values == values
    assert result.metric.value == sorted(values)[1]
    assert sorted(values)[1] <= result.repeat.median <= sorted(values)[2]
    low, high = result.repeat.interval
    assert min(values) <= low <= result.repeat.median <= high <= max(values)
    assert result.valid
    assert outcome.stdout.startswith("VALID: SingleStream")
    assert "the median of 4 runs (95 % interval" in outcome.stdout
    assert outcome.effective["repeat"] == 4
    journal = json.loads((outcome.run_dir / "repeat.json").read_text("utf-8"))
    assert journal["state"] == "finished"
    assert [run["value"] for run in journal["runs"]] == values


def test_one_invalid_run_makes_the_whole_invalid(command: Command) -> None:
    few = RUNS | {"max_query_count": 10}
    outcome = command("run", **few, repeat=2, strict=True)
    assert outcome.code == 3
    assert outcome.result.invalid_reasons[0].startswith("run 1 of 2: ")
    assert outcome.result.next_command.endswith("--repeat 2")


@pytest.fixture
def running(command: Command) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(**flags: object) -> Running:
        started.append(command.start("run", **flags))
        return started[-1]

    yield begin
    for each in started:
        command.stop(each)


@pytest.mark.parametrize("number", few([signal.SIGKILL, signal.SIGINT], 2), ids=lambda n: n.name)
def test_half_way_every_finished_run_is_whole_and_it_goes_on(
    number: signal.Signals, command: Command, running: Callable[..., Running]
) -> None:
    begun = running(**RUNS, repeat=4)
    end = time.monotonic() + 60
    while not (begun.run_dir / "runs" / "003" / ".progress").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    begun.process.send_signal(number)
    code = begun.finish().code
    assert code == (130 if number == signal.SIGINT else -number)
    whole = {path: read_result(path) for path in sorted(begun.run_dir.rglob("result.json"))}
    assert [path.parent.name for path in whole] == ["001", "002"]

    outcome = command("run", **RUNS, repeat=4)
    assert "2 of 4 runs are done" in outcome.stderr
    assert outcome.result.repeat is not None
    assert len(outcome.result.repeat.values) == 4
    assert all(read_result(path) == result for path, result in whole.items())
    assert not (outcome.run_dir / "error.json").exists()


def test_through_the_request_of_cm(tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.json"
    options = {**RUNS, "repeat": "2", "output_dir": str(tmp_path / "out")}
    request.write_text(json.dumps({"options": options, "report": str(report)}))
    assert subprocess.run([sys.executable, str(MAIN), str(request)], check=False).returncode == 0
    told = json.loads(report.read_text())
    assert told["status"] == "ok"
    result = read_result(Path(told["result_json"]))
    assert result.repeat is not None
    assert result.repeat.runs == 2


def test_the_manifest_of_a_run(command: Command, models: Callable[[str], Path]) -> None:
    environ = {**command.environ, "OMP_NUM_THREADS": "1", "MY_TOKEN": "secret"}
    told = Command(command.directory, environ).run(models("matmul"), samples=5).result
    assert told.manifest["environment"]["OMP_NUM_THREADS"] == "1"
    assert "MY_TOKEN" not in told.manifest["environment"]
    assert "--samples" in told.manifest["command_line"]
    assert set(told.manifest["git"]) == {"harness", "model"}
    assert len(told.model.sha256) == 64
    for name in ("cpu", "governor", "kernel", "memory_bytes", "load_average", "python"):
        assert name in told.host
    assert "onnxruntime" in told.packages


def test_variables_with_secrets_are_left_out() -> None:
    kept = environment_that_matters(
        {"ORT_X": "1", "LD_PRELOAD": "a.so", "CM_MLPERF_X": "y", "ORT_API_KEY": "k", "HOME": "/"}
    )
    assert kept == {"CM_MLPERF_X": "y", "LD_PRELOAD": "a.so", "ORT_X": "1"}


def test_the_state_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    file, other = tmp_path / "model.onnx", tmp_path / "other.onnx"
    file.write_text("1")
    other.write_text("1")
    git("init", "-q")
    git("add", "model.onnx")
    git("commit", "-q", "-m", "x")
    state = git_state(file)
    assert state is not None
    assert (len(state["commit"]), state["changed"], state["tracked"]) == (40, False, True)
    file.write_text("2")
    state, beside = git_state(file), git_state(other)
    assert state is not None
    assert beside is not None
    assert (state["changed"], beside["tracked"]) == (True, False)
