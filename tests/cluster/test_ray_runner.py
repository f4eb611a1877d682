"""``--runner ray`` on a real cluster of three nodes on this machine."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Command, Outcome, Running, fake, logged
from nodes import Cluster
from onnx import TensorProto, helper, numpy_helper

from loadgen_generic.progress import Phase
from loadgen_generic.results.result import Result

pytestmark = pytest.mark.slow

# One replica a node: processes take long to start where three nodes share few cores.
ONE_EACH: dict[str, object] = {"concurrency": 3}
# Percentiles that need few queries.
SCENARIOS: dict[str, dict[str, object]] = {
    "SingleStream": {"samples": 100},
    "MultiStream": {"samples": 400, "samples_per_query": 4, "target_latency_percentile": 90},
    "Server": {
        "samples": 100,
        "target_qps": 50,
        "target_latency_ms": 1000,
        "target_latency_percentile": 90,
    },
    "Offline": {"samples": 500},
}
Run = Callable[..., Outcome]
Beside = Callable[[Cluster], Command]
OwnCluster = Callable[..., Cluster]


@pytest.fixture
def run(cluster: Cluster, beside: Beside) -> Run:
    """``loadgen-generic run`` on the cluster that tests share."""
    return lambda *model, **flags: beside(cluster)("run", *model, **cluster.flags, **flags)


def told(result: Result) -> dict[str, Any]:
    """The block ``cluster`` as it stands in the file."""
    found: dict[str, Any] = json.loads(result.path.read_text("utf-8"))["cluster"]
    return found


def mlp(path: Path) -> Path:
    """Two layers with a ReLU between, float32 [N, 64] to [N, 10]."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape, np.float32), name)
        for name, shape in (("w0", (64, 128)), ("b0", (128,)), ("w1", (128, 10)), ("b1", (10,)))
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("x", 64), ("y", 10))
    )
    graph = helper.make_graph(nodes, "mlp", [x], [y], weights)
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def outputs_of(outcome: Outcome) -> np.ndarray:
    assert outcome.code == 0, outcome.stderr
    with np.load(outcome.run_dir / "outputs.npz") as outputs:
        return np.asarray(outputs["y"])


def test_answers_are_those_of_this_machine(run: Run, on_ray: Command, models: Any) -> None:
    model = mlp(models("matmul").with_name("mlp.onnx"))
    flags: dict[str, object] = {
        "mode": "accuracy",
        "save_outputs": True,
        "distinct_samples": 256,
        "batch_size": 4,
        "intraop": 1,
    }
    there = run(model, **flags, **ONE_EACH, verify="reference")
    here = on_ray.run(model, **flags, output_dir="here")
    answers = outputs_of(there)
    assert answers.shape == (256, 10)
    np.testing.assert_allclose(answers, outputs_of(here), rtol=1e-6, atol=1e-6)
    assert there.result.samples_completed == 256
    assert there.result.verification is not None
    assert there.result.verification.passed


def test_samples_that_are_loaded_in_turns(run: Run, models: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((21, 4), np.float32)
    np.savez(tmp_path / "all.npz", x=x)
    weights = (np.arange(12, dtype=np.float32) / 12).reshape(4, 3)
    outcome = run(
        models("matmul"),
        mode="accuracy",
        dataset="all.npz",
        samples_in_memory=8,
        save_outputs=True,
        **ONE_EACH,
    )
    np.testing.assert_allclose(outputs_of(outcome), x @ weights, rtol=1e-5)
    assert outcome.effective["samples_in_memory"] == 8


def test_samples_of_several_shapes(run: Run, models: Any) -> None:
    outcome = run(models("sequence"), dim="seq=2:8:2", samples=160, verify="reference", **ONE_EACH)
    assert outcome.code == 0, outcome.stderr
    assert outcome.result.samples_completed == 160
    assert outcome.effective["distinct_shapes"] == 4
    assert outcome.result.verification is not None
    assert outcome.result.verification.passed


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_valid(scenario: str, run: Run, models: Any, cluster: Cluster) -> None:
    outcome = run(models("matmul"), scenario=scenario, verify="reference", **SCENARIOS[scenario])
    result, effective = outcome.result, outcome.effective
    assert result.valid is True, result.invalid_reasons
    assert result.verification is not None
    assert result.verification.passed
    assert logged(outcome.run_dir)["result_validity"] == "VALID"
    one = scenario in ("SingleStream", "MultiStream")
    assert effective["runner"] == "ray"
    assert effective["concurrency"] == (1 if one else 6)
    assert effective["intra_op_threads"] == (2 if one else 1)
    assert result.phases is not None
    assert result.phases.compute_us > 0
    assert result.phases.network_us is not None
    assert result.phases.network_us > 0


def test_what_the_result_says_of_the_nodes(run: Run, models: Any, cluster: Cluster) -> None:
    outcome = run(models("matmul"), samples=20_000, batch_size=10, batches_in_flight=3, **ONE_EACH)
    result, found = outcome.result, told(outcome.result)
    assert outcome.effective["batches_in_flight"] == 3
    assert (found["replicas"], found["lost"], found["moved_batches"]) == (3, 0, 0)
    nodes = found["nodes"]
    assert len({node["id"] for node in nodes}) == 3
    assert sorted(node["address"] for node in nodes) == [node.name for node in cluster.nodes]
    assert sum(node["samples"] for node in nodes) == result.samples_completed == 20_000
    assert sum(node["batches"] for node in nodes) == 2000
    for node in nodes:
        assert (node["cpus"], node["gpus"], node["replicas"], node["lost"]) == (2, 0, 1, 0)
        assert node["package"].startswith("onnxruntime ")
        assert node["samples"] > 0
        assert node["peak_memory_bytes"] > 1 << 20
        assert 0 <= node["mean_cpu_share"] <= 1
    assert not any("submission" in text for text in [*result.doubts, *result.notes])


def test_the_model_is_sent_to_nodes_that_lack_it(run: Run, models: Any, cluster: Cluster) -> None:
    if cluster.together:
        pytest.skip(f"the nodes have the file system of this machine: {cluster.together}")
    assert run(models("identity"), samples=10, **ONE_EACH).code == 0
    sent = [len(list(node.cache.rglob("identity.onnx"))) for node in cluster.nodes]
    assert sent == [0, 1, 1]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("fail_on_load=1", "could not load, as it was told to"),
        ("fail_at=50", "failed, as it was told to"),
    ],
)
def test_a_replica_that_fails(behaviour: str, words: str, run: Run) -> None:
    outcome = run(**fake(behaviour), samples=100_000, batch_size=1, **ONE_EACH)
    assert outcome.code == 1
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_replicas_that_all_die(run: Run) -> None:
    flags = {"samples": 100_000, "batch_size": 1, "concurrency": 2}
    outcome = run(**fake("die_at=50"), **flags)
    assert outcome.code == 1
    assert "no replica is left of 2" in outcome.stderr
    assert "died" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.fixture
def start(beside: Beside) -> Iterator[Callable[..., Running]]:
    """Starts runs on a cluster; those that a test leaves are ended."""
    started: list[tuple[Command, Running]] = []

    def begin(cluster: Cluster, **flags: object) -> Running:
        command = beside(cluster)
        started.append((command, command.start("run", **cluster.flags, **flags)))
        return started[-1][1]

    yield begin
    for command, running in started:
        command.stop(running)


def test_interrupted_it_leaves_the_cluster_free(
    cluster: Cluster, start: Callable[..., Running], run: Run
) -> None:
    flags = {"samples": 10**7, "batch_size": 1, "concurrency": 6}
    running = start(cluster, **fake("latency_us=1000"), **flags)
    running.wait_for(Phase.TESTING, answered=1)
    running.process.send_signal(signal.SIGINT)
    assert running.finish().code == 130
    assert running.orphans(5) == []
    assert run(**fake(), samples=100, concurrency=6, output_dir="after").code == 0


def answered_and_expected(directory: Path, rows: int) -> None:
    """A dataset of the fake backend with the answers to it."""
    x = np.random.default_rng(0).random((rows, 4), np.float32)
    np.savez(directory / "all.npz", x=x, y=x.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("scenario", "how"), [("Offline", "kill"), ("Server", "kill"), ("Offline", "unplug")]
)
def test_a_node_that_dies_in_the_middle(
    scenario: str,
    how: str,
    own_cluster: OwnCluster,
    start: Callable[..., Running],
    command: Command,
    tmp_path: Path,
) -> None:
    cluster = own_cluster()
    if how == "unplug" and cluster.together:
        pytest.skip(f"the nodes have no network of their own: {cluster.together}")
    answered_and_expected(tmp_path, 100)
    paced = {"target_qps": 100, "target_latency_ms": 20_000} if scenario == "Server" else {}
    running = start(
        cluster,
        **fake("sample_floats=4,latency_us=20000"),
        **paced,
        scenario=scenario,
        samples=900,
        batch_size=1,
        dataset="all.npz",
        verify="data",
        verify_fraction=1,
    )
    running.wait_for(Phase.TESTING, answered=50)
    dead = cluster.nodes[2]
    if how == "kill":
        dead.kill()
    else:
        cluster.unplug(2)
    outcome = running.finish()
    assert outcome.code == 0, outcome.stderr

    result, found = outcome.result, told(outcome.result)
    issued = logged(outcome.run_dir)
    counted = "result_query_count" if scenario == "Server" else "generated_samples_per_query"
    assert result.samples_completed == issued[counted] == 900
    assert result.verification is not None
    assert result.verification.passed, result.verification.sentence
    assert result.verification.spot_answered == result.verification.spot_checked == 900

    assert (found["replicas"], found["lost"]) == (6, 2)
    # Two each, and what one of the two was given after the other had died.
    assert 1 <= found["moved_batches"] <= 8
    lost = {node["address"]: node["lost"] for node in found["nodes"]}
    assert lost == {node.name: 2 * (node is dead) for node in cluster.nodes}
    assert sum(node["samples"] for node in found["nodes"]) == 900
    assert any("not valid for submission" in text for text in result.doubts)
    assert "not valid for submission" in outcome.stdout + outcome.stderr
    made = command(
        "submission",
        runs="out",
        submitter="Example",
        system="box",
        benchmark="3d-unet-99",
        model_name="m",
        output_dir="made",
    )
    assert made.code == 2
    assert "2 of its 6 replicas died" in made.stderr


def test_replicas_go_where_processors_are_and_none_is_left(
    own_cluster: OwnCluster, beside: Beside, start: Callable[..., Running]
) -> None:
    cluster = own_cluster(0, 1, 3)
    flags = {**fake("latency_us=20000"), "batch_size": 1}
    whole = beside(cluster)("run", **cluster.flags, **flags, samples=400, output_dir="whole")
    nodes = {node["address"]: node for node in told(whole.result)["nodes"]}
    _, small, large = (node.name for node in cluster.nodes)
    assert {name: node["replicas"] for name, node in nodes.items()} == {small: 1, large: 3}
    assert 2 < nodes[large]["samples"] / nodes[small]["samples"] < 4

    running = start(cluster, **flags, samples=100_000)
    running.wait_for(Phase.TESTING, answered=50)
    for node in cluster.nodes[1:]:
        node.kill()
    outcome = running.finish()
    assert outcome.code == 1
    assert "no replica is left of 4" in outcome.stderr
    assert small in outcome.stderr or large in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_more_replicas_than_there_is_room_for(run: Run) -> None:
    outcome = run(**fake(), samples=10, concurrency=7)
    assert outcome.code == 2
    assert "--concurrency 7: " in outcome.stderr
    assert "room for 6 replicas" in outcome.stderr


def test_no_cluster_at_the_address(on_ray: Command) -> None:
    outcome = on_ray.fake(runner="ray", ray_address="127.0.0.1:1", samples=10)
    assert outcome.code == 1
    assert "127.0.0.1:1" in outcome.stderr
    assert "--ray_address" in outcome.stderr
    assert "Traceback" not in outcome.stderr
