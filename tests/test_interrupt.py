"""Ctrl-C, SIGTERM and SIGKILL while a run is under way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command import Command, Running, fake, within

from loadgen_generic.progress import Phase

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
BOUND_SEC = 2.0
# Endless as far as a test is concerned, and sized without a probe.
FIXED: dict[str, object] = {"batch_size": 1, "intra_op_threads": 1}  # nothing to calibrate
ENDLESS = FIXED | {"loadgen_duration_sec": 600, "loadgen_expected_qps": 200}
SERVER: dict[str, object] = {"target_qps": 200, "target_latency_ms": 100}
ALLOW_CORE_FILES = "ulimit -c $(ulimit -H -c)"

Start = Callable[..., Running]


@pytest.fixture
def start(command: Command) -> Iterator[Start]:
    careless = replace(command, shell=ALLOW_CORE_FILES)
    started: list[Running] = []

    def begin(*arguments: object, **flags: object) -> Running:
        started.append(careless.start(*arguments, **flags))
        return started[-1]

    yield begin
    for running in started:
        command.stop(running)


def endless(scenario: str) -> dict[str, object]:
    return ENDLESS | {"scenario": scenario} | (SERVER if scenario == "Server" else {})


def interrupt(running: Running, number: signal.Signals) -> None:
    """Signal the command and check everything that a user could be left with."""
    directory = running.run_dir.parent
    working = {running.run_dir / name for name in (".progress", ".pulse")}
    before = set(running.run_dir.iterdir()) - working
    assert running.family, "the measured process is a child of the command"
    sent = time.monotonic()
    running.process.send_signal(number)
    outcome = running.finish()
    took = time.monotonic() - sent

    assert outcome.code == 130, outcome.stderr
    assert took < BOUND_SEC
    assert running.orphans(BOUND_SEC - took) == []
    assert "interrupted" in outcome.stderr
    assert str(outcome.run_dir) in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.error["exit_code"] == 130
    assert before <= set(outcome.run_dir.iterdir()), "files already written stay"
    assert not working & set(outcome.run_dir.iterdir())
    assert not (outcome.run_dir / "result.json").exists()
    assert not [path for path in directory.rglob("*") if path.name.startswith("core")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_during_the_test(
    scenario: str, number: signal.Signals, start: Start, models: Callable[[str], Path]
) -> None:
    running = start("run", models("matmul"), **endless(scenario))
    running.wait_for(Phase.TESTING, answered=1)
    interrupt(running, number)


@pytest.mark.parametrize("runner", ["inline", "threadpool"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_while_an_inference_takes_for_ever(scenario: str, runner: str, start: Start) -> None:
    flags = endless(scenario) | {"runner": runner, "warmup_queries": 0, "samples": 100}
    running = start("run", **fake("hang_at=1"), **flags)
    running.wait_for(Phase.TESTING)
    interrupt(running, signal.SIGINT)


@pytest.mark.parametrize(
    "phase", [Phase.CALIBRATING, Phase.WARMING_UP, Phase.PROBING], ids=lambda p: p.name
)
def test_before_the_test(phase: Phase, start: Start) -> None:
    warmup = 0 if phase == Phase.PROBING else 1
    fixed = {} if phase == Phase.CALIBRATING else FIXED
    running = start("run", **fake("hang_at=1"), warmup_queries=warmup, **fixed)
    running.wait_for(phase)
    interrupt(running, signal.SIGINT)


def test_through_the_request_of_cm(command: Command, start: Start, tmp_path: Path) -> None:
    """CM starts src/main.py with Ctrl-C ignored; the report says what happened."""
    request, report = tmp_path / "request.json", tmp_path / "report.json"
    options = {"backend": "fake", "output_dir": str(tmp_path / "out"), **endless("Offline")}
    request.write_text(json.dumps({"options": options, "report": str(report)}))
    main = Path(__file__).resolve().parent.parent / "src" / "main.py"
    process = subprocess.Popen(
        within("trap '' INT", [sys.executable, str(main), str(request)]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Running(process, tmp_path / "out")
    try:
        running.wait_for(Phase.TESTING)
        process.send_signal(signal.SIGINT)
        assert running.finish().code == 130
        assert running.orphans(BOUND_SEC) == []
    finally:
        command.stop(running)
    told = json.loads(report.read_text())
    assert (told["status"], told["exit_code"]) == ("error", 130)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killing_the_command_ends_the_measured_process(
    scenario: str, start: Start, models: Callable[[str], Path]
) -> None:
    running = start("run", models("matmul"), **endless(scenario))
    running.wait_for(Phase.TESTING, answered=1)
    running.process.kill()
    assert running.orphans(BOUND_SEC) == []
    assert running.finish().code == -signal.SIGKILL
