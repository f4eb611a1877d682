"""Samples of several shapes in one run: each is answered as if it were alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from command import Command
from few import few
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder

from loadgen_generic.assembly import Assembly, settle
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.feed import settle_feed
from loadgen_generic.notation import SizeRange, parse_size
from loadgen_generic.runners import RUNNERS
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.shapes import ShapedWorkQueue, by_shape
from loadgen_generic.samples import MixedSamples, draw_sizes, generated_shape
from loadgen_generic.tensors import Array

Models = Callable[[str], Path]
_POOL = 40
_ONE_PER_IMPLEMENTATION = ("inline", "threadpool", "threadpool+replication", "processpool")


@given(
    low=st.integers(1, 500),
    more=st.integers(1, 500),
    step=st.integers(1, 60),
    seed=st.integers(0, 2**63 - 1),
)
def test_sizes_are_those_of_the_range_and_repeat_with_the_seed(
    low: int, more: int, step: int, seed: int
) -> None:
    size = parse_size(f"{low}:{low + more}:{step}")
    allowed = set(range(low, low + more + 1, step))
    if isinstance(size, int):
        assert len(allowed) == 1
        return
    assert {size.low, size.high} <= allowed
    few, many = (draw_sizes({"seq": size}, count, seed) for count in (20, 90))
    assert many == draw_sizes({"seq": size}, 90, seed)
    size_of = {index: sizes["seq"] for sizes, members in many for index in members}
    assert sorted(size_of) == list(range(90))
    assert set(size_of.values()) <= allowed
    assert all(size_of[i] == sizes["seq"] for sizes, members in few for i in members)


def test_every_size_of_a_range_occurs() -> None:
    drawn = draw_sizes({"a": SizeRange(2, 10, 4), "b": SizeRange(1, 2)}, 500, seed=0)
    assert [sizes for sizes, _ in drawn] == [
        {"a": a, "b": b} for a, b in itertools.product((2, 6, 10), (1, 2))
    ]


@given(shapes=st.lists(st.integers(0, 3), min_size=1, max_size=60), data=st.data())
def test_a_query_is_cut_by_shape_and_nothing_is_lost(
    shapes: list[int], data: st.DataObject
) -> None:
    indices = data.draw(st.lists(st.integers(0, len(shapes) - 1), min_size=1, max_size=200))
    ids = list(range(1000, 1000 + len(indices)))
    size, workers = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    queue = ShapedWorkQueue(size, 0.0, workers, shapes)
    queue.put(ids, indices)
    for _ in range(workers):
        queue.close()
    taken = list(iter(queue.take, None))
    for its_ids, its_indices in taken:
        assert 1 <= len(its_ids) <= size
        assert len({shapes[index] for index in its_indices}) == 1
    pairs = [pair for work in taken for pair in zip(*work, strict=True)]
    assert sorted(pairs) == sorted(zip(ids, indices, strict=True))


def test_what_waits_joins_its_like() -> None:
    queue = ShapedWorkQueue(3, 0.0, 1, [0, 1, 0, 1, 0, 0])
    for index in range(6):
        queue.put([index], [index])
    queue.close()
    assert [list(ids) for ids, _ in iter(queue.take, None)] == [[0, 2, 4], [1, 3], [5]]


def test_a_batch_waits_for_its_like_as_long_as_it_is_told_to() -> None:
    queue = ShapedWorkQueue(2, 60.0, 1, [0, 1, 0])
    for index in range(3):
        queue.put([index], [index])
    # Full: it does not wait.
    assert queue.take() == ([0, 2], [0, 2])
    queue.close()  # nothing more will come, so nothing waits for it
    assert queue.take() == ([1], [1])
    assert queue.take() is None


def test_order_within_a_shape_stays() -> None:
    work = list(by_shape([10, 11, 12, 13], [3, 2, 0, 1], [0, 1, 1, 0]))
    assert work == [([10, 12], [3, 0]), ([11, 13], [2, 1])]


@pytest.mark.parametrize("runner", _ONE_PER_IMPLEMENTATION)
def test_answers_are_those_of_each_sample_alone(runner: str, tmp_path: Path) -> None:
    path = tmp_path / "sequence.onnx"
    path.write_bytes(tiny_models.sequence())
    config = BenchmarkConfig(model_path=str(path), runner=runner, dim={"seq": "2:9"})
    assembly = Assembly(config, str(path), cores=2)
    settled = settle(config, assembly, Layout("inline", 1, 2, 1))
    for batch_size in (1, 4, 7):
        shapes = [
            generated_shape(settled.resized(sizes), [0, *sizes.values()], members)
            for sizes, members in draw_sizes(config.size_ranges, _POOL, seed=0)
        ]
        assert len(shapes) == 8
        samples = MixedSamples(shapes, shared=runner == "processpool")
        samples.load(range(_POOL))
        inputs = [np.array(samples.reader(1).batch([i]).arrays[0]) for i in range(_POOL)]
        running = assembly.build(
            Layout(runner, 1 if runner == "inline" else 2, 1, batch_size), samples, 3
        )
        record = Recorder()
        running.start(record.make_complete, record.fail)
        order = np.random.default_rng(3).permutation(_POOL).tolist()
        samples.load([*order, *order[:7]])
        offline = list(itertools.islice(itertools.cycle(order), 90))
        server = np.random.default_rng(5).integers(0, _POOL, 60).tolist()
        running.issue(list(range(90)), offline)
        for position, index in enumerate(server, start=90):
            running.issue([position], [index])
        running.flush()
        record.wait(150)
        running.close()
        assert not record.errors
        assert sorted(identity for identity, _ in record.answers) == list(range(150))
        asked = offline + server
        for identity, (answer,) in record.answers:
            np.testing.assert_array_equal(answer.reshape(-1), inputs[asked[identity]].reshape(-1))
    assembly.close()


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
@pytest.mark.parametrize("runner", few(["auto", *sorted(RUNNERS.keys() - {"inflight", "ray"})], 2))
def test_a_run_over_several_shapes(
    runner: str, scenario: str, command: Command, models: Models
) -> None:
    outcome = command.run(
        models("sequence"),
        runner=runner,
        scenario=scenario,
        dim="seq=3:12:3",
        samples=400,
        distinct_samples=50,
        target_qps=500 if scenario == "Server" else None,
        target_latency_ms=2000 if scenario == "Server" else None,
        verify="reference",
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.result.samples_completed == 400
    assert outcome.effective["dim"] == {"seq": "3:12:3"}
    assert outcome.effective["distinct_shapes"] == 4
    assert outcome.effective["inputs"]["tokens"].startswith("int64[3..12]")
    verification = outcome.result.verification
    assert verification is not None
    assert (verification.passed, verification.samples) == (True, 50)


def test_outputs_have_the_size_of_their_sample(command: Command, models: Models) -> None:
    outcome = command.run(
        models("sequence"),
        dim="seq=1:6",
        mode="accuracy",
        distinct_samples=60,
        batch_size=4,
        save_outputs=True,
    )
    assert outcome.code == 0, outcome.stderr
    with np.load(outcome.run_dir / "outputs.npz") as outputs:
        sizes = {len(outputs[f"y/{index}"]) for index in range(60)}
    assert sizes == {1, 2, 3, 4, 5, 6}


def test_a_range_that_goes_beyond_the_model(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "short.onnx"
    path.write_bytes(tiny_models.only_up_to(8))
    outcome = command.run(path, dim="seq=2:20", samples=10)
    assert outcome.code == 2
    assert "--dim seq=2:20" in outcome.stderr
    assert "not on the largest, seq=20" in outcome.stderr
    assert "narrower" in outcome.stderr
    assert command.run(path, dim="seq=2:8", samples=10, output_dir="fits").code == 0


@pytest.mark.parametrize("wrong", ["9:3", "0:4", "1:2:0", "a:b", "1:2:3:4", ":", "-1:4"])
def test_what_is_no_range_is_refused(wrong: str, command: Command, models: Models) -> None:
    outcome = command.run(models("sequence"), dim=f"seq={wrong}", samples=5)
    assert outcome.code == 2
    assert "--dim" in outcome.stderr
    assert "seq" in outcome.stderr


def test_a_range_of_one_size_is_that_size(command: Command, models: Models) -> None:
    outcome = command.run(models("sequence"), dim="seq=4:4", samples=20)
    assert outcome.effective["dim"] == {"seq": 4}
    assert outcome.effective["distinct_shapes"] == 1


def test_dimensions_named_after_a_sum_follow(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "past.onnx"
    path.write_bytes(tiny_models.with_past())
    outcome = command.run(path, dim="past=2:6", samples=60, distinct_samples=40)
    assert outcome.code == 0, outcome.stderr
    assert "[3..7]" in outcome.effective["inputs"]["mask"]


def _texts(directory: Path, lengths: list[int]) -> Path:
    """Token ids of these lengths as JSON lines; the label is the length."""
    lines = [
        json.dumps({"tokens": list(range(100 * number, 100 * number + length)), "label": length})
        for number, length in enumerate(lengths)
    ]
    path = directory / "texts.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_dataset_of_variable_length(command: Command, models: Models, tmp_path: Path) -> None:
    lengths = [3, 5, 3, 9, 5, 3, 4]
    outcome = command.run(
        models("sequence"),
        dim="seq=1:16",
        dataset=str(_texts(tmp_path, lengths)),
        mode="accuracy",
        batch_size=2,
        save_outputs=True,
        verify="reference",
    )
    assert outcome.code == 0, outcome.stderr
    with np.load(outcome.run_dir / "outputs.npz") as outputs:
        for number, length in enumerate(lengths):
            wanted = np.arange(100 * number, 100 * number + length)
            np.testing.assert_array_equal(outputs[f"y/{number}"], wanted)
    assert outcome.effective["distinct_shapes"] == 4
    assert outcome.effective["inputs"]["tokens"] == "int64[3..9], from the dataset"
    assert outcome.effective["labels"] is True
    accuracy = outcome.result.accuracy
    assert accuracy is not None
    assert (accuracy.samples, accuracy.labelled) == (7, 7)


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_a_dataset_of_variable_length_in_every_scenario(
    scenario: str, command: Command, models: Models, tmp_path: Path
) -> None:
    outcome = command.run(
        models("sequence"),
        dim="seq=2:8:2",
        dataset=str(_texts(tmp_path, [2, 4, 6, 8] * 5)),
        scenario=scenario,
        samples=160,
        distinct_samples=18,
        target_qps=500 if scenario == "Server" else None,
        target_latency_ms=2000 if scenario == "Server" else None,
        verify="reference",
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.result.samples_completed == 160
    assert outcome.effective["distinct_samples"] == 18


def test_labels_go_with_their_samples(tmp_path: Path) -> None:
    for number, length in enumerate([5, 2, 5, 3]):
        np.save(tmp_path / f"{number}.npy", np.full(length, number))
    np.save(tmp_path / "labels.npy", np.array([40, 41, 42, 43]))
    model = tmp_path / "sequence.onnx"
    model.write_bytes(tiny_models.sequence())
    config = BenchmarkConfig(
        model_path=str(model), dim={"seq": "2:5"}, dataset=str(tmp_path), label_offset=1
    )
    feed = settle_feed(config, Assembly(config, str(model), 1), Layout("inline", 1, 1, 1), 1 << 20)
    feed.samples.load(range(4))
    for index, length in enumerate([5, 2, 5, 3]):
        (values,) = feed.samples.reader(1).batch([index]).arrays
        _equal(values.reshape(-1), np.full(length, index))
        assert feed.known.label(index) == 41 + index


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"dim": "seq=1:8"}, ("texts.jsonl", "has 9 for the dimension seq", "seq=1:8", "wider")),
        ({"dim": "seq=1:9:2"}, ("texts.jsonl", "has 4 for the dimension seq", "seq=1:9:2")),
        ({"dim": "seq=1:9", "samples_in_memory": 2}, ("--samples_in_memory 2", "in memory")),
        ({"dim": "seq=1:9", "distinct_samples": 8}, ("--distinct_samples 8", "holds 7")),
        ({"dim": "N=1:9"}, ("--dim N=1:9",)),
        ({}, ("one shape",)),
    ],
)
def test_what_a_dataset_of_variable_length_cannot_be(
    flags: dict[str, object],
    words: tuple[str, ...],
    command: Command,
    models: Models,
    tmp_path: Path,
) -> None:
    texts = _texts(tmp_path, [3, 5, 3, 9, 5, 3, 4])
    outcome = command.run(models("sequence"), dataset=str(texts), samples=5, **flags)
    assert outcome.code == 2
    for word in words:
        assert word in outcome.stderr


def test_memory_of_bindings_is_bounded(tmp_path: Path) -> None:
    from loadgen_generic.backends import ortworkers

    path = tmp_path / "sequence.onnx"
    path.write_bytes(tiny_models.sequence())
    config = BenchmarkConfig(model_path=str(path), dim={"seq": 1})
    assembly = Assembly(config, str(path), cores=1)
    alone = Layout("inline", 1, 1, 1)
    backend, _ = assembly.backend(alone)
    worker = backend.worker()
    plan = settle(config, assembly, alone).plan
    (each,) = plan.inputs
    for size in range(1, 2 * ortworkers._MOST_BINDINGS):
        shape = generated_shape(replace(plan, inputs=(replace(each, shape=(size,)),)), [size], [0])
        samples = MixedSamples([shape])
        samples.load([0])
        batch = samples.reader(1).batch([0])
        worker.infer(batch)
        (answer,) = worker.outputs()
        _equal(answer, batch.arrays[0])
    assert len(worker._bindings) <= ortworkers._MOST_BINDINGS  # type: ignore[attr-defined]
    assembly.close()


def _equal(one: Array, other: Array) -> None:
    np.testing.assert_array_equal(one, other)
