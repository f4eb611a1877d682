"""What can be wrong with a request or a machine: exit code, one clear message, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command import Command, Outcome

ANSWERED = ("SingleStream", "MultiStream", "Server", "Offline")
SERVER: dict[str, object] = {"target_qps": 1000, "target_latency_ms": 100}
STALL_SEC = 3  # what a busy machine may take to start a process counts too


def assert_clear(outcome: Outcome, code: int, *words: str) -> None:
    """It failed with this code, and said why in words for people, on standard error alone."""
    assert outcome.code == code, outcome.stderr
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    message = outcome.stderr.partition("loadgen-generic: error: ")[2]
    assert message, outcome.stderr
    for word in words:
        assert word in message
    assert not (outcome.run_dir / "result.json").exists()


# The short table lacks row 9; left alone, it would be spared.
PAST_THE_TABLE = "row=0:10"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("not_onnx", 2, ("--modelpath", "not_onnx.onnx", "not an ONNX model", "Check that")),
        ("truncated", 2, ("--modelpath", "truncated.onnx", "only a part", "Check that")),
        ("empty", 2, ("--modelpath", "empty.onnx", "not an ONNX model", "Check that")),
        ("unknown_operator", 1, ("unknown_operator.onnx", "Transmogrify", "Update onnxruntime")),
        ("unknown_domain", 1, ("com.example", "Custom", "Update onnxruntime")),
        ("too_new_opset", 1, ("too_new_opset.onnx", "Opset 99", "newer onnxruntime")),
    ],
)
def test_models_that_cannot_run(
    name: str, code: int, words: tuple[str, ...], command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(models(name), samples=10)
    assert_clear(outcome, code, *words)
    assert outcome.error["exit_code"] == code
    assert outcome.error["error"] in outcome.stderr


def test_model_missing(command: Command) -> None:
    outcome = command.run("no/such.onnx")
    assert_clear(outcome, 2, "--modelpath no/such.onnx", "no such file", "Give the path")
    assert not outcome.run_dir.exists(), "nothing is written for a request that cannot start"


def test_model_that_is_not_built_in(command: Command) -> None:
    assert_clear(command("run", "--model", "resnet"), 2, "--model resnet", "demo")


def test_model_is_a_directory(command: Command) -> None:
    assert_clear(command.run(command.directory), 2, "--modelpath", "is a directory")


def test_dimension_that_the_model_lacks(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(models("sequence"), dim="seq=4,width=3")
    assert_clear(outcome, 2, "--dim width", "N, seq")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"scenario": "Sever"}, ("--scenario Sever", "Server", "Offline")),
        ({"runner": "thread"}, ("--runner thread", "threadpool", "inline")),
        ({"backend": "torch"}, ("--backend torch", "onnxruntime")),
        ({"execmode": "fast"}, ("fast", "parallel", "sequential")),
        ({"samples": 0}, ("--samples 0", "1")),
        ({"samples": 2.5}, ("--samples 2.5", "integer")),
        ({"concurrency": -1}, ("--concurrency -1", "0")),
        ({"concurrency": 5000}, ("--concurrency 5000", "4096")),
        ({"concurrency": 2, "runner": "inline"}, ("--concurrency 2", "another --runner")),
        ({"loadgen_duration_sec": -1}, ("--loadgen_duration_sec -1", "0")),
        ({"loadgen_duration_sec": "nan"}, ("--loadgen_duration_sec nan",)),
        ({"loadgen_expected_qps": 0}, ("--loadgen_expected_qps 0", "greater than 0")),
        ({"seed": -1}, ("--seed -1", "0")),
        ({"stall_timeout_sec": 0}, ("--stall_timeout_sec 0", "greater than 0")),
        ({"dim": "N"}, ("--dim N", "NAME=VALUE")),
        ({"dim": "N=0"}, ("--dim", "at least 1")),
        ({"dim": "N=1,N=2"}, ("--dim", "twice")),
        ({"target_qps": 5}, ("--target_qps", "Offline", "applies to Server")),
        ({"samples_per_query": 2}, ("--samples_per_query", "MultiStream")),
        ({"min_query_count": 9, "max_query_count": 3}, ("9", "--max_query_count 3")),
        (
            {"scenario": "Server", "target_latency_percentile": 100},
            ("--target_latency_percentile 100", "less than 100"),
        ),
        ({"ep": "QuantumExecutionProvider"}, ("QuantumExecutionProvider", "CPUExecutionProvider")),
        ({"backend": "fake", "backend_options": "speed=9"}, ("speed", "latency_us")),
        ({"backend": "fake", "backend_options": "latency_us=x"}, ("latency_us=x", "number")),
        (
            {"scenario": "SingleStream", "loadgen_expected_qps": 1e9},
            ("--loadgen_duration_sec 10", "--loadgen_expected_qps"),
        ),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_requests_that_cannot_be_carried_out(
    flags: dict[str, object],
    words: tuple[str, ...],
    command: Command,
    models: Callable[[str], Path],
) -> None:
    assert_clear(command.run(models("matmul"), **flags), 2, *words)


@pytest.mark.parametrize("name", ["CUDAExecutionProvider", "cuda", "CUDA"])
def test_provider_that_is_not_installed(
    name: str, command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(models("matmul"), ep=name, samples=10)
    assert_clear(outcome, 1, f"--ep {name}", "onnxruntime-gpu", "make venv EP=cuda")


@pytest.mark.parametrize("where", ["file", "file/under", "/proc/out", "/proc/1/task/out"])
def test_output_directory_that_cannot_be_written(
    where: str, command: Command, models: Callable[[str], Path]
) -> None:
    (command.directory / "file").write_text("mine")
    outcome = command.run(models("matmul"), output_dir=where, samples=10)
    assert_clear(outcome, 2, "--output_dir", where, "Choose a directory")
    assert (command.directory / "file").read_text() == "mine"


def test_an_earlier_result_is_never_overwritten(
    command: Command, models: Callable[[str], Path]
) -> None:
    first = command.run(models("matmul"), samples=10)
    before = {path: path.read_bytes() for path in first.run_dir.iterdir()}
    second = command.run(models("matmul"), samples=11, json=True)
    assert json.loads(second.stdout)["output_dir"] == str(first.run_dir / "run-2")
    failed = command.run(models("truncated"))
    assert failed.code == 2
    assert (first.run_dir / "run-3" / "error.json").is_file()
    assert {path: path.read_bytes() for path in first.run_dir.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("runner", ["inline", "threadpool"])
@pytest.mark.parametrize("scenario", ANSWERED)
def test_model_that_raises_in_the_middle_of_a_test(
    scenario: str, runner: str, command: Command, models: Callable[[str], Path]
) -> None:
    server = SERVER if scenario == "Server" else {}
    outcome = command.run(
        models("short_table"),
        range=PAST_THE_TABLE,
        scenario=scenario,
        runner=runner,
        batch_size=1,
        samples=4000,
        warmup_queries=0,
        **server,
    )
    assert_clear(outcome, 1, "in the middle of the test", "Gather", "out of data bounds")
    assert outcome.error["exit_code"] == 1
    assert "Traceback" in (outcome.run_dir / "harness.log").read_text("utf-8")


@pytest.mark.parametrize("phase", ["warming up", "calibrating"])
def test_model_that_raises_before_the_test(
    phase: str, command: Command, models: Callable[[str], Path]
) -> None:
    warmup = 3000 if phase == "warming up" else 0
    single = {"scenario": "SingleStream", "samples": 1} if warmup else {}
    outcome = command.run(
        models("short_table"), range=PAST_THE_TABLE, warmup_queries=warmup, **single
    )
    assert_clear(outcome, 1, phase, "Gather")


@pytest.mark.parametrize("runner", ["inline", "threadpool"])
@pytest.mark.parametrize("scenario", ANSWERED)
def test_child_that_is_killed(scenario: str, runner: str, command: Command) -> None:
    server = SERVER if scenario == "Server" else {}
    outcome = command.fake(
        "die_at=50", scenario=scenario, runner=runner, samples=500, warmup_queries=0, **server
    )
    assert_clear(outcome, 1, "killed", "SIGKILL", "memory", "harness.log")
    assert outcome.error["exit_code"] == 1
    assert (outcome.run_dir / "harness.log").is_file()


@pytest.mark.parametrize("runner", ["inline", "threadpool"])
@pytest.mark.parametrize("scenario", ANSWERED)
def test_child_that_hangs(scenario: str, runner: str, command: Command) -> None:
    server = SERVER if scenario == "Server" else {}
    outcome = command.fake(
        "hang_at=8",
        scenario=scenario,
        runner=runner,
        batch_size=1,
        samples=80,
        warmup_queries=0,
        concurrency=1,
        stall_timeout_sec=STALL_SEC,
        **server,
    )
    words = (f"nothing happened for {STALL_SEC} s", "testing", "samples", "--stall_timeout_sec")
    assert_clear(outcome, 1, "hung", *words)
    assert outcome.error["exit_code"] == 1


def test_child_that_hangs_while_warming_up(command: Command) -> None:
    outcome = command.fake("hang_at=2", samples=10, stall_timeout_sec=STALL_SEC)
    assert_clear(outcome, 1, "hung", "warming up", "--stall_timeout_sec")


@pytest.mark.parametrize("runner", ["threadpool+replication", "processpool"])
@pytest.mark.parametrize(
    ("scenario", "hangs", "warming"),
    [("Server", 16, True), ("Server", 17, False), ("Offline", 3, False)],
)
def test_a_worker_warms_up_with_every_size_of_batch_that_may_come(
    scenario: str, hangs: int, warming: bool, runner: str, command: Command
) -> None:
    """Two full ones, then in Server two each of 1 to 7 samples; it shows by what is next."""
    outcome = command.fake(
        f"hang_at={hangs}",
        scenario=scenario,
        warmup_queries=2,
        runner=runner,
        concurrency=1,
        intra_op_threads=1,
        batch_size=8,
        samples=100,
        target_qps=1000 if scenario == "Server" else None,
        loadgen_expected_qps=1000 if scenario == "Offline" else None,
        stall_timeout_sec=STALL_SEC,
    )
    assert_clear(outcome, 1, "hung", "--stall_timeout_sec")
    assert ("warming up" in outcome.stderr) is warming


@pytest.mark.parametrize(
    "flags",
    [
        {"warmup_queries": 3, "samples": 1},
        {"warmup_queries": 0, "samples": 1, "scenario": "Server", "target_qps": 100},
    ],
    ids=["warming up", "probing"],
)
def test_slow_is_not_hung(flags: dict[str, object], command: Command) -> None:
    """Every inference is a sign of life, before the test as well."""
    outcome = command.fake(
        "latency_us=2000000", runner="inline", stall_timeout_sec=STALL_SEC, **flags
    )
    assert outcome.code == 0, outcome.stderr


LIMITED = f"ulimit -v {6 << 20}"  # KiB


@pytest.mark.parametrize("warmup", [0, 3], ids=["in the test", "while warming up"])
def test_out_of_memory(warmup: int, command: Command, models: Callable[[str], Path]) -> None:
    outcome = replace(command, shell=LIMITED).run(
        models("hungry"), samples=5, warmup_queries=warmup
    )
    assert_clear(outcome, 1, "out of memory" if warmup else "memory", "Failed to allocate")
    assert outcome.error["exit_code"] == 1


def test_samples_that_do_not_fit_into_memory(
    command: Command, models: Callable[[str], Path]
) -> None:
    outcome = replace(command, shell=LIMITED).run(
        models("sequence"), dim=f"seq={1 << 30}", samples=5
    )
    assert_clear(outcome, 1, "out of memory")
