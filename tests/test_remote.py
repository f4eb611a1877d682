"""``--backend kserve`` against a stand-in for a server: what is refused, kept secret and sent."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Command, logged
from recording import Recorder
from standin_server import StandIn, raw_answer, standing_in, sums
from tritonclient.grpc import service_pb2 as pb

from loadgen_generic.backends import BackendSpec, RemoteSpec
from loadgen_generic.backends.kserve.backend import KserveBackend
from loadgen_generic.backends.kserve.ledger import Ledger
from loadgen_generic.backends.kserve.worker import decoded, encoded
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.remote import asks_this_machine
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.flags import parse_config
from loadgen_generic.remote import check_padding, remote_spec
from loadgen_generic.results.manifest import environment_that_matters, masked_arguments
from loadgen_generic.runners import create_runner
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Batch
from loadgen_generic.supervisor import check_request, requested
from loadgen_generic.tensors import InputPlan, SamplePlan

SECRET = "Bearer 0123-secret-word"
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
KSERVE = {"backend": "kserve"}


def spec(*endpoints: str, **changes: Any) -> BackendSpec:
    remote = RemoteSpec(endpoints, "", "", 5.0, tls=False, tls_ca="", headers={})
    return BackendSpec(
        name="kserve",
        model_path="",
        execution_provider="CPUExecutionProvider",
        intra_op_threads=1,
        inter_op_threads=1,
        execution_mode="sequential",
        remote=replace(remote, **changes),
    )


def loaded(server: StandIn, **changes: Any) -> KserveBackend:
    backend = KserveBackend(spec(server.endpoint, **changes))
    backend.load()
    return backend


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in = StandIn()
    with standing_in(stand_in):
        yield stand_in


# What is said before anything is asked of a server.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoint": "a:1"}, "--endpoint has no meaning without --backend kserve"),
        ({"network_division": True}, "--network_division has no meaning without --backend kserve"),
        (KSERVE | {"endpoint": "a"}, "expected HOST:PORT"),
        (KSERVE | {"endpoint": "http://a:1"}, "expected HOST:PORT"),
        (KSERVE | {"endpoint": "a:1,a:1"}, "named twice"),
        (KSERVE | {"endpoint": "a:65536"}, "expected HOST:PORT"),
        (KSERVE | {"precision": "float32"}, "--precision float32 is about a session here"),
        (KSERVE | {"intraop": 2}, "--intra_op_threads 2 is about a session here"),
        (KSERVE | {"runner": "processpool"}, "one client"),
        (KSERVE | {"profile": True}, "--profile looks into a session here"),
        (KSERVE | {"mode": "tune"}, "--mode tune tries providers"),
        (
            KSERVE | {"network_division": True, "batch_size": 4},
            "--batch_size 4: --network_division",
        ),
        (
            KSERVE | {"network_division": True, "scenario": "Server", "batch_timeout_us": 5},
            "--network_division forbids batching",
        ),
    ],
)
def test_options_that_contradict(options: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_config(options)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "header",
    [
        SECRET,
        f"authorization: {SECRET}",
        f"authorization: {SECRET}==",
        f"Authorization={SECRET},{SECRET}",
        f"authorization={SECRET},authorization={SECRET}",
        f"authorization={SECRET}\u00e4",
        f"authorization={SECRET}\nx",
        f"authorization={SECRET},Authorization={SECRET}",
        f"grpc-x={SECRET}",
    ],
)
def test_a_header_that_is_none_stays_secret(header: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_config(KSERVE | {"header": header})
    assert "--header" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert not any("secret" in word for word in masked_arguments(["run", "--header", header]))
    assert not any("secret" in word for word in masked_arguments(["run", f"--header={header}"]))


def test_what_is_written_down_has_no_secret() -> None:
    config = parse_config(KSERVE | {"header": f"authorization={SECRET},X-Team=blue"})
    assert requested(config)["header"] == "authorization=***,x-team=***"
    remote = remote_spec(config)
    assert remote is not None
    assert remote.headers == {"authorization": SECRET, "x-team": "blue"}
    assert "secret" not in repr(remote)
    assert "CM_MLPERF_HEADER" not in environment_that_matters({"CM_MLPERF_HEADER": SECRET})


def test_files_that_are_needed(tmp_path: Path) -> None:
    for options, words in (
        ({"tls_ca": str(tmp_path / "no.crt")}, "no.crt: there is no such file"),
        ({"verify": "reference"}, "the model is on a server"),
        ({"ep": "cuda"}, "--ep cuda: with --backend kserve the server has"),
        ({"model_path": "nowhere.onnx"}, "--modelpath nowhere.onnx: there is no such file"),
    ):
        with pytest.raises(RequestError) as refused:
            check_request(parse_config(KSERVE | options))
        assert words in str(refused.value)
    assert check_request(parse_config(KSERVE)) == ""


def test_the_defaults_are_those_of_serve(tmp_path: Path) -> None:
    remote = remote_spec(parse_config(KSERVE | {"modelpath": str(tmp_path / "net.onnx")}))
    assert remote is not None
    assert remote.endpoints == ("127.0.0.1:8081",)
    assert (remote.likely_model, remote.timeout_sec, remote.tls) == ("net", 30.0, False)


def test_the_network_division_pads_nothing() -> None:
    def check(fixed: int, **options: object) -> None:
        config = BenchmarkConfig.model_validate(KSERVE | {"network_division": True} | options)
        plan = InputPlan("x", np.dtype(np.float32), (4,))
        check_padding(config, SamplePlan((plan,), batched=True, fixed_batch=fixed))

    with pytest.raises(RequestError, match="batches of exactly 8 samples"):
        check(8)
    check(1)
    check(0)
    check(8, scenario="MultiStream", samples_per_query=8)


def test_what_is_served_is_here(command: Command) -> None:
    outcome = command("serve", backend="kserve")
    assert outcome.code == 2
    assert "--backend kserve: this asks a server, and does not serve" in outcome.stderr


# What a server says.


def test_a_signature_from_metadata(server: StandIn) -> None:
    server.inputs = {"x": ("FP32", (-1, 4)), "words": ("BYTES", (-1,)), "flag": ("BOOL", (-1, 2))}
    signature = KserveBackend(spec(server.endpoint)).load()
    told = [each.describe() for each in signature.inputs]
    assert told == ["x: tensor(float)[?x4]", "words: tensor(string)[?]", "flag: tensor(bool)[?x2]"]


def test_a_type_that_the_protocol_lacks(server: StandIn) -> None:
    server.outputs = {"y": ("BF16", (-1, 1))}
    with pytest.raises(RequestError, match="output y of the model on the server is BF16"):
        loaded(server)


def test_a_model_without_metadata(server: StandIn) -> None:
    server.inputs = {}
    with pytest.raises(RequestError, match="does not say what model sums takes and gives"):
        loaded(server)


def test_which_model_is_meant(server: StandIn) -> None:
    assert loaded(server).effective()["remote_model"] == "sums"
    with pytest.raises(RequestError, match=r"--remote_model other: .*\bIt has: sums\."):
        loaded(server, model="other")
    server.tells = False
    with pytest.raises(RequestError, match="does not tell which it has"):
        loaded(server)
    assert loaded(server, likely_model="sums").effective()["remote_model"] == "sums"
    server.ready = False
    with pytest.raises(RunError, match="model sums is not ready"):
        loaded(server, model="sums")


def test_models_that_are_not_the_same() -> None:
    one, other = StandIn(), StandIn(inputs={"x": ("FP32", (-1, 5))})
    with standing_in(one, other) as endpoints, pytest.raises(RequestError, match="not the same"):
        KserveBackend(spec(*endpoints)).load()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        endpoint = f"127.0.0.1:{bound.getsockname()[1]}"
    with pytest.raises(RunError, match=f"{endpoint} does not answer .*UNAVAILABLE.*--tls"):
        KserveBackend(spec(endpoint)).load()


def test_answers_come_back_in_the_order_of_the_model(server: StandIn) -> None:
    def answer(request: Any) -> Any:
        first = raw_answer("z", "INT64", np.array([[7], [8]]))
        second = raw_answer("y", "FP32", np.array([[1.5], [2.5]], np.float32))
        first.outputs.append(second.outputs[0])
        first.raw_output_contents.append(second.raw_output_contents[0])
        return first

    server.outputs = {"y": ("FP32", (-1, 1)), "z": ("INT64", (-1, 1))}
    server.answer = answer
    worker = loaded(server).worker()
    worker.infer(Batch(2, (ROWS,)))
    floats, whole = worker.outputs()
    assert (floats.tolist(), whole.tolist()) == ([[1.5], [2.5]], [[7], [8]])
    server.outputs = {"y": ("FP32", (-1, 1)), "other": ("INT64", (-1, 1))}
    worker = loaded(server).worker()
    worker.infer(Batch(2, (ROWS,)))
    with pytest.raises(RunError, match="lacks its output other"):
        worker.outputs()


def tensor(datatype: str, shape: tuple[int, ...], **contents: object) -> Any:
    return pb.ModelInferResponse.InferOutputTensor(
        name="y", datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents)
    )


def test_answers_that_are_not_raw() -> None:
    floats = decoded(tensor("FP32", (1, 2), fp32_contents=[1.5, 2.0]), None)
    assert (floats.dtype, floats.tolist()) == (np.float32, [[1.5, 2.0]])
    small = decoded(tensor("INT8", (2,), int_contents=[-1, 3]), None)
    assert (small.dtype, small.tolist()) == (np.int8, [-1, 3])
    assert decoded(tensor("BYTES", (1,), bytes_contents=[b"\xc3\xa4"]), None).tolist() == ["ä"]


@pytest.mark.parametrize(
    ("sent", "raw"),
    [
        (tensor("FP32", (3,)), b"1234"),
        (tensor("FP32", (1,)), b"123"),
        (tensor("BF16", (1,)), b"12"),
    ],
)
def test_answers_that_are_none(sent: Any, raw: bytes) -> None:
    with pytest.raises(RunError, match="output y of an answer is not"):
        decoded(sent, raw)


def test_strings_come_and_go() -> None:
    words = np.array([["", "ä longer one"], ["a", "日本"]], "<U16")
    (raw,) = [encoded("x", "BYTES", words)._get_content()]
    assert decoded(tensor("BYTES", (2, 2)), raw).tolist() == words.tolist()


# What is sent, and what fails.


def test_requests_go_to_the_endpoint_with_the_fewest_outstanding() -> None:
    ledger = Ledger(["a:1", "b:1"])
    held = [ledger.take() for _ in range(4)]
    assert held == [0, 1, 0, 1]
    ledger.answered(1)
    ledger.answered(1)
    assert [ledger.take(), ledger.take()] == [1, 1]
    ledger.answered(0)
    assert ledger.take() == 0
    assert ledger.sent() == [3, 4]


def test_a_failure_waits_for_those_under_way_and_counts_them() -> None:
    ledger = Ledger(["a:1", "b:1"])
    for _ in range(4):
        ledger.take()
    ledger.answered(1)
    errors: list[RunError] = []
    threads = [
        threading.Thread(target=lambda why=why: errors.append(ledger.failed(0, why)))  # type: ignore[misc]
        for why in ("first.", "second")
    ]
    for thread in threads:
        thread.start()
        while "1" not in str(ledger._error()):
            pass
    ledger.answered(1)
    for thread in threads:
        thread.join()
    for error in errors:
        assert "a:1: 2 of 2 requests failed, the first with: first; b:1: 0 of 2" in str(error)
    with pytest.raises(RunError, match="2 of 2 requests failed"):
        ledger.take()


def test_an_error_of_the_server_is_told_without_secrets(server: StandIn) -> None:
    server.fails_at = 2
    worker = loaded(server, headers={"authorization": SECRET}).worker()
    worker.infer(Batch(2, (ROWS,)))
    assert worker.outputs()[0].tolist() == [[6.0], [22.0]]
    assert server.headers["authorization"] == SECRET
    with pytest.raises(RunError) as failed:
        worker.infer(Batch(2, (ROWS,)))
    assert "1 of 2 requests failed, the first with: INTERNAL: refused, as told ***" in str(
        failed.value
    )


def test_no_answer_in_time(server: StandIn) -> None:
    server.hangs_at = 1
    worker = loaded(server, timeout_sec=0.2).worker()
    with pytest.raises(RunError, match="no answer within --request_timeout_ms 200"):
        worker.infer(Batch(2, (ROWS,)))


def test_time_is_split_where_the_server_tells(server: StandIn) -> None:
    backend = loaded(server)
    batches = iter(lambda: Batch(2, (ROWS,)), None)
    assert backend.phases(batches, lambda: None) == {}
    server.reported = {"queue_ns": 3000, "compute_ns": 5000}
    phases = dict(backend.phases(batches, lambda: None))
    assert (phases.pop("queue_us"), phases.pop("compute_us")) == (3.0, 5.0)
    assert phases.pop("network_us") > 0
    assert not phases


def test_so_many_in_flight_and_no_more(server: StandIn) -> None:
    lock, room = threading.Lock(), threading.Barrier(3)
    most = flying = 0

    def answer(request: Any) -> Any:
        nonlocal most, flying
        with lock:
            flying += 1
            most = max(most, flying)
        if warm:
            room.wait(10)  # all of them are here at once
        with lock:
            flying -= 1
        return sums(request)

    warm = False
    server.answer = answer
    plan = SamplePlan((InputPlan("x", np.dtype(np.float32), (4,)),), batched=True)
    samples = SyntheticSamples(plan, 30, 0)
    samples.load(range(30))
    backend = loaded(server)
    setup = RunnerSetup(
        runner="inflight",
        workers=3,
        batch_size=1,
        batch_timeout_sec=0,
        warmup_queries=1,
        pin=False,
        make_backends=[],
        backends=[backend],
        samples=samples,
        beat=lambda: None,
    )
    runner, recorder = create_runner(setup), Recorder()
    warm = True
    runner.start(recorder.make_complete, recorder.fail)
    runner.issue(list(range(100, 130)), list(range(30)))
    recorder.wait(30)
    runner.close()
    assert recorder.errors == []
    assert most == 3
    rows = samples.reader(30).batch(list(range(30))).arrays[0]
    for identity, (output,) in recorder.answers:
        np.testing.assert_allclose(output.reshape(-1), rows[identity - 100].sum(), rtol=1e-5)


# Whole runs.


def texts(directory: Path) -> str:
    """All that a run wrote."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    return "".join(file.read_text("utf-8", errors="replace") for file in files)


def test_a_run(command: Command, server: StandIn) -> None:
    server.reported = {"queue_ns": 3000, "compute_ns": 5000}
    outcome = command(
        "run",
        **KSERVE,
        endpoint=server.endpoint,
        header=f"authorization={SECRET}",
        request_timeout_ms=20000,
        samples=40,
        repeat=2,
        batch_size=3,
        output_dir="out",
    )
    result = outcome.result
    effective = result.config.effective
    assert server.headers["authorization"] == SECRET
    assert {name: effective[name] for name in ("endpoint", "remote_model", "header", "tls")} == {
        "endpoint": server.endpoint,
        "remote_model": "sums",
        "header": "authorization=***",
        "tls": False,
    }
    assert effective["request_timeout_ms"] == 20000
    assert result.model.path == f"grpc://{server.endpoint}/sums"
    assert any("puts up to 3 samples into a request" in note for note in result.notes)
    assert result.phases is not None
    assert result.phases.queue_us == 3.0
    assert "network" in outcome.stdout
    name = logged(outcome.run_dir / "runs" / "001")["sut_name"]
    assert name == f"Network SUT: stand-in 7 (patience) at {server.endpoint}"
    assert "secret" not in texts(command.directory) + outcome.stdout + outcome.stderr


def test_a_run_by_the_rules_of_the_network_division(command: Command, server: StandIn) -> None:
    outcome = command("run", **KSERVE, endpoint=server.endpoint, samples=100, network_division=True)
    assert outcome.effective["network_division"] is True
    assert outcome.effective["batch_size"] == 1
    assert set(server.asked) == {(1, 4)}
    assert not any("puts up to" in note for note in outcome.result.notes)


def test_a_server_on_this_machine_is_nothing_to_stop(command: Command, server: StandIn) -> None:
    def laborious(request: Any) -> Any:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
        return sums(request)

    server.answer = laborious
    outcome = command("run", **KSERVE, endpoint=server.endpoint, samples=60, batch_size=1)
    (doubt,) = [each for each in outcome.result.doubts if "other processes" in each]
    assert doubt.startswith("the server, which is on this machine, and other processes used ")
    assert "stop them" not in doubt


@pytest.mark.parametrize(
    ("endpoints", "here"),
    [
        ("localhost:1", True),
        ("LocalHost:1", True),
        ("127.1.2.3:1", True),
        ("[::1]:1", True),
        ("far.example:1, 127.0.0.1:1", True),
        ("10.127.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_which_endpoints_are_this_machine_by_name(endpoints: str, here: bool) -> None:
    assert asks_this_machine(endpoints) is here


def test_a_run_that_fails_in_the_middle(command: Command, server: StandIn) -> None:
    server.fails_at = 300
    outcome = command("run", **KSERVE, endpoint=server.endpoint, samples=5000, runner="inline")
    assert outcome.code == 1
    assert f"{server.endpoint}: 1 of 300 requests failed" in outcome.stderr
    assert "refused, as told" in json.dumps(outcome.error)
