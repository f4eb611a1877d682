"""``--backend kserve`` against real servers on loopback: ours, kserve's own, and MLServer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, Running, logged
from servers import Server
from test_serve import pair  # noqa: F401 - a fixture

from loadgen_generic.progress import Phase

pytestmark = pytest.mark.slow

X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, 3]}
KSERVE = {"backend": "kserve"}
SCENARIOS = {
    "SingleStream": {"samples": 100},
    "MultiStream": {"samples": 400, "samples_per_query": 4},
    "Server": {"samples": 100, "target_qps": 50, "target_latency_ms": 500},
    "Offline": {"samples": 500},
}
Serving = Callable[..., Server]


@pytest.fixture(params=["serving", "plain_kserve", "mlserver"])
def server(request: pytest.FixtureRequest, models: Callable[[str], Path]) -> Server:
    """One of them, with the model matmul."""
    tensors = ([X], [Y]) if request.param == "mlserver" else ()
    started: Server = request.getfixturevalue(request.param)(models("matmul"), *tensors)
    return started


def test_all_scenarios_and_right_answers(
    server: Server, command: Command, models: Callable[[str], Path]
) -> None:
    flags = KSERVE | {"endpoint": server.endpoint, "verify": "reference"}
    for scenario, more in SCENARIOS.items():
        outcome = command.run(
            models("matmul"), **flags, **more, scenario=scenario, output_dir=scenario
        )
        assert outcome.code == 0, outcome.stderr
        assert outcome.result.verification is not None
        assert outcome.result.verification.passed
        assert outcome.result.model.inputs == ["x: tensor(float)[?x4]"]
        inline = scenario in ("SingleStream", "MultiStream")
        assert outcome.effective["runner"] == ("inline" if inline else "inflight")
        name = str(logged(outcome.run_dir)["sut_name"])
        assert name.startswith("Network SUT: ")
        assert name.endswith(f" at {server.endpoint}")
    accuracy = command.run(models("matmul"), **flags, mode="accuracy", output_dir="accuracy")
    assert accuracy.code == 0, accuracy.stderr
    assert accuracy.result.accuracy is not None
    assert accuracy.result.verification is not None
    assert accuracy.result.verification.passed


def test_a_model_that_the_server_does_not_have(
    server: Server, command: Command, request: pytest.FixtureRequest
) -> None:
    outcome = command("run", **KSERVE, endpoint=server.endpoint, remote_model="other")
    assert outcome.code == 2
    assert "--remote_model other: " in outcome.stderr
    assert "does not know this model" in outcome.stderr
    tells = "plain_kserve" not in str(request.node.name)
    assert ("It has: matmul." in outcome.stderr) == tells
    outcome = command("run", **KSERVE, endpoint=server.endpoint, samples=10, output_dir="only")
    if tells:
        assert outcome.effective["remote_model"] == "matmul"
    else:
        assert "--remote_model: which model of" in outcome.stderr


def test_time_in_the_network_and_in_the_server(serving: Serving, command: Command) -> None:
    server = serving(backend="fake", backend_options="latency_us=20000", concurrency=1)
    outcome = command(
        "run",
        **KSERVE,
        endpoint=server.endpoint,
        remote_model="fake",
        scenario="SingleStream",
        samples=20,
    )
    phases = outcome.result.phases
    assert phases is not None
    assert phases.compute_us >= 20_000
    assert phases.network_us is not None
    assert 0 < phases.network_us < 20_000


def test_the_slower_of_two_endpoints_gets_less(serving: Serving, command: Command) -> None:
    slow, quick = (
        serving(backend="fake", backend_options=f"latency_us={us}", concurrency=1)
        for us in (100_000, 10_000)
    )
    endpoints = f"{slow.endpoint},{quick.endpoint}"
    flags = KSERVE | {"endpoint": endpoints, "remote_model": "fake", "concurrency": 8}
    outcome = command("run", **flags, samples=300, batch_size=1)
    assert outcome.code == 0, outcome.stderr
    (told,) = [note for note in outcome.result.notes if note.startswith("answered by ")]
    shares = {place: float(share) for place, share in re.findall(r"(\S+:\d+) (\S+) %", told)}
    assert shares[slow.endpoint] < 25
    assert shares[quick.endpoint] > 75


@pytest.fixture
def under_way(serving: Serving, command: Command) -> Any:
    """Starts a long run against two servers."""

    def start(**flags: object) -> tuple[list[Server], Running]:
        servers = [serving(backend="fake", concurrency=2) for _ in range(2)]
        endpoints = ",".join(server.endpoint for server in servers)
        flags = KSERVE | {"endpoint": endpoints, "remote_model": "fake", "concurrency": 4} | flags
        return servers, command.start("run", **flags, batch_size=1, samples=1_000_000)

    return start


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_an_endpoint_that_is_killed(scenario: str, under_way: Any) -> None:
    more = {"target_qps": 100, "target_latency_ms": 500} if scenario == "Server" else {}
    (lost, left), running = under_way(scenario=scenario, **more)
    running.wait_for(Phase.TESTING, answered=50)
    lost.process.kill()
    outcome = running.finish()
    assert outcome.code == 1
    found = re.search(rf"{lost.endpoint}: (\d+) of (\d+) requests failed", outcome.stderr)
    assert found is not None, outcome.stderr
    assert 1 <= int(found[1]) <= 4 < int(found[2])
    assert f"{left.endpoint}: 0 of " in outcome.stderr
    assert running.orphans(5) == []


@pytest.mark.parametrize("runner", ["inflight", "threadpool"])
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("fail_at=200", "INTERNAL: "),
        ("hang_at=200", "no answer within --request_timeout_ms 1000"),
    ],
)
def test_an_endpoint_that_fails(
    behaviour: str, words: str, runner: str, serving: Serving, command: Command
) -> None:
    server = serving(backend="fake", backend_options=behaviour, concurrency=1)
    outcome = command(
        "run",
        **KSERVE,
        endpoint=server.endpoint,
        remote_model="fake",
        request_timeout_ms=1000,
        samples=1000,
        concurrency=1,
        batch_size=1,
        runner=runner,
    )
    assert outcome.code == 1
    assert re.search(
        rf"{server.endpoint}: 1 of \d+ requests failed, the first with", outcome.stderr
    )
    assert words in outcome.stderr


def test_tls_with_the_right_certificate_and_a_wrong_one(
    serving: Serving,
    command: Command,
    pair: Callable[[str], tuple[str, str]],  # noqa: F811
) -> None:
    (certificate, key), (other, _) = pair("own"), pair("other")
    server = serving(backend="fake", tls_certificate=certificate, tls_key=key)
    flags = KSERVE | {"endpoint": server.endpoint, "remote_model": "fake", "samples": 20}
    assert command("run", **flags, tls_ca=certificate, output_dir="right").effective["tls"] is True
    for wrong in ({"tls_ca": other}, {"tls": True}, {}):
        outcome = command("run", **flags, **wrong, output_dir="wrong")
        assert outcome.code == 1
        assert f"{server.endpoint} does not answer" in outcome.stderr
        assert ("--tls_ca FILE" if wrong else "needs --tls") in outcome.stderr
