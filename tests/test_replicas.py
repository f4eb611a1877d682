"""Replicas over a cluster, as far as that goes without Ray: who goes where, who takes what, and what
a result says; with Ray itself in tests/cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.backends.balance import Balance
from loadgen_generic.backends.replicas.held import HeldPool
from loadgen_generic.cluster.files import contents_of, describe_model, keep_model, model_here
from loadgen_generic.cluster.node import Node, Room, placed
from loadgen_generic.config import SCENARIOS, BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.placed import PlacedBatch
from loadgen_generic.results.cluster import cluster_of, doubts_of_cluster
from loadgen_generic.runners.rule import layout_by_rule, rivals, wish_of
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.tensors import InputPlan, SamplePlan

ANY_PLAN = SamplePlan((), batched=True)


def nodes(*cpus: int, gpus: int = 0) -> list[Node]:
    return [Node(f"id{n}", f"host{n}", f"10.0.0.{n}", each, gpus) for n, each in enumerate(cpus)]


@given(
    cpus=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    threads=st.integers(1, 4),
    share=st.floats(0, 1),
)
def test_replicas_go_where_there_is_room(cpus: list[int], threads: int, share: float) -> None:
    room = sum(each // threads for each in cpus)
    wanted = int(share * room)
    chosen = placed(nodes(*cpus), wanted, cpus=threads, gpus=0)
    counts = [sum(node.host == f"host{n}" for node in chosen) for n in range(len(cpus))]
    assert sum(counts) == wanted
    left = [each // threads - count for each, count in zip(cpus, counts, strict=True)]
    assert min(left) >= 0
    # Each was chosen while no other had more room.
    assert all(rest + 1 >= max(left) for rest, taken in zip(left, counts, strict=True) if taken)


def test_replicas_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        RequestError, match=r"--concurrency 5: .*room for 4 replicas .*host1"
    ) as told:
        placed(nodes(4, 5), 5, cpus=2, gpus=0)
    assert "fewer" in str(told.value)
    assert len(placed(nodes(8, 8, gpus=1), 2, cpus=1, gpus=1)) == 2
    with pytest.raises(RequestError, match=r"room for 2 replicas of 1 GPU"):
        placed(nodes(8, 8, gpus=1), 3, cpus=1, gpus=1)


def layout(scenario: str, room: Room, **flags: Any) -> tuple[int, int]:
    config = BenchmarkConfig(backend="fake", runner="ray", scenario=scenario, **flags)
    wish = wish_of(config, ANY_PLAN, 2, 0, room)
    chosen = layout_by_rule(wish)
    assert chosen.runner == "ray"
    assert not list(rivals(chosen, wish))
    return chosen.workers, chosen.intra_op_threads


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_how_many_replicas_by_rule(scenario: str) -> None:
    processors, cards = Room((8, 3), cards=False), Room((4, 0, 2), cards=True)
    if scenario in ("Offline", "Server"):
        assert layout(scenario, processors) == (11, 1)
        assert layout(scenario, processors, intra_op_threads=2) == (5, 2)
        assert layout(scenario, cards) == (6, 1)
    else:
        assert layout(scenario, processors) == (1, 8)
        assert layout(scenario, cards) == (1, 1)
    assert layout(scenario, processors, concurrency=3) == (3, 1)
    assert layout(scenario, processors, concurrency=2, intra_op_threads=4) == (2, 4)


@given(
    count=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(["take", "back", "drop"]), st.integers(0, 5))),
)
def test_the_next_goes_to_whoever_has_the_fewest(count: int, steps: list[tuple[str, int]]) -> None:
    """Against the plain rule: fewest outstanding, then fewest given."""
    balance = Balance(count)
    known: dict[int, list[int]] = {at: [0, 0] for at in range(count)}
    for step, at in steps:
        if step == "take":
            taken = balance.take()
            expected = min((tuple(load), who) for who, load in known.items()) if known else None
            assert taken == (-1 if expected is None else expected[1])
            if expected is not None:
                known[taken] = [known[taken][0] + 1, known[taken][1] + 1]
        elif at in known and step == "back" and known[at][0]:
            balance.back(at)
            known[at][0] -= 1
        elif at in known and step == "drop":
            balance.drop(at)
            del known[at]
        assert balance.outstanding() == sum(load[0] for load in known.values())


@given(
    count=st.integers(1, 5),
    slots=st.lists(st.integers(0, 19), min_size=5, max_size=8),
    first=st.integers(0, 12),
    side_by_side=st.booleans(),
)
def test_a_node_reads_what_the_pool_holds(
    count: int, slots: list[int], first: int, side_by_side: bool
) -> None:
    plan = SamplePlan(
        (InputPlan("x", np.dtype(np.float32), (3,)), InputPlan("n", np.dtype(np.int64), ())), True
    )
    samples = SyntheticSamples(plan, 20, seed=1)
    samples.load(range(20))
    where = range(first, first + len(slots)) if side_by_side else slots
    expected = PlacedBatch(count, samples.pool, where).arrays
    held = HeldPool(samples.pool.arrays, plan.batched)
    for _ in range(2):  # the second is one that was kept
        batch = held.batch(count, where)
        assert batch.count == count
        for mine, theirs in zip(batch.arrays, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_model_goes_to_a_node_that_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "a path with spaces", tmp_path / "cache"
    here.mkdir()
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(there))
    (here / "m.onnx").write_bytes(b"graph")
    (here / "weights.bin").write_bytes(b"\x00\x01weights")
    files = describe_model(str(here / "m.onnx"), ["weights.bin"])
    assert model_here(files) == str(here / "m.onnx")

    contents = contents_of(files)
    (here / "weights.bin").write_bytes(b"\x00\x01WEIGHTS")  # other weights are another model
    assert model_here(files) == ""
    kept = Path(keep_model(files, contents))
    assert model_here(files) == str(kept)
    assert kept.is_relative_to(there)
    assert kept.read_bytes() == b"graph"
    assert (kept.parent / "weights.bin").read_bytes() == b"\x00\x01weights"


def told(lost: int = 0) -> dict[str, Any]:
    node = {"cpus": 2, "gpus": 0, "package": "onnxruntime 1.32.0", "replicas": 2, "lost": 0}
    return {
        "replicas": 4,
        "lost": lost,
        "moved_batches": 3 * lost,
        "nodes": [
            {**node, "host": "a", "address": "10.0.0.1", "id": "1", "batches": 9, "samples": 72},
            {
                **node,
                "host": "b",
                "address": "10.0.0.2",
                "id": "2",
                "batches": 3,
                "samples": 24,
                "lost": lost,
                "timelines": [{"title": "Memory"}],
            },
        ],
    }


def test_lost_replicas_are_a_doubt() -> None:
    assert doubts_of_cluster(cluster_of(told())) == []
    (doubt,) = doubts_of_cluster(cluster_of(told(lost=2)))
    assert "2 of 4 replicas died (2 on b (10.0.0.2))" in doubt
    assert "6 batch(es)" in doubt
    assert "not valid for submission" in doubt
