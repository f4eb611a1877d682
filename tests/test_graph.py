"""What a graph demands of its inputs is found, and what cannot be found is asked for."""

from __future__ import annotations

from pathlib import Path

import graph_models
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from command import Command
from graph_models import FLOAT, INT64, graph_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.tensors import Array, SamplePlan

WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data" / "simple"


def settled(path: Path, **options: object) -> tuple[SamplePlan, list[str]]:
    config = BenchmarkConfig.model_validate({"scenario": "SingleStream", **options})
    assembly = Assembly(config, str(path), 1)
    try:
        return settle_plan(config, assembly, Layout("inline", 1, 1, 1))
    finally:
        assembly.close()


def samples_of(plan: SamplePlan, count: int) -> list[tuple[Array, ...]]:
    samples = SyntheticSamples(plan, count, seed=1)
    samples.load(range(count))
    reader = samples.reader(1)
    return [tuple(a.copy() for a in reader.batch([index]).arrays) for index in range(count)]


def written(tmp_path: Path, model: bytes) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    return path


def shapes(plan: SamplePlan) -> list[tuple[int, ...]]:
    return [each.shape for each in plan.inputs]


def test_an_embedding_model_runs_with_no_flags(command: Command, tmp_path: Path) -> None:
    outcome = command.run(written(tmp_path, graph_models.bert()), scenario="Offline", samples=50)
    assert outcome.code == 0, outcome.stderr
    inputs = outcome.effective["inputs"]
    assert "[0, 30522) (index of Gather 'embed' with 30522 rows)" in inputs["input_ids"]
    assert inputs["attention_mask"].startswith("int64[128], 1 everywhere")
    assert "[0, 2)" in inputs["token_type_ids"]
    note = "dimension sequence has no size: 128 is taken"
    assert any(each.startswith(note) for each in outcome.result.notes)
    assert "--dim sequence=SIZE" in outcome.stderr


def test_the_answers_of_an_embedding_model_vary(tmp_path: Path) -> None:
    path = written(tmp_path, graph_models.bert())
    plan, _ = settled(path)
    session = ort.InferenceSession(str(path))
    names = [node.name for node in session.get_inputs()]
    answers = [
        session.run(None, dict(zip(names, sample, strict=True)))[0].tobytes()
        for sample in samples_of(plan, 8)
    ]
    assert len(set(answers)) == 8


def test_few_positions_bound_the_length(tmp_path: Path) -> None:
    plan, notes = settled(written(tmp_path, graph_models.bert(positions=64)))
    assert shapes(plan) == [(64,)] * 3
    assert "64 is taken (found by trying)" in notes[0]


def test_flags_win_over_the_graph(tmp_path: Path) -> None:
    plan, notes = settled(
        written(tmp_path, graph_models.bert()),
        dim={"sequence": 7},
        value_range={"input_ids": "5:6"},
        fill={"attention_mask": "0"},
    )
    assert shapes(plan) == [(7,)] * 3
    assert not notes
    ids, mask, _ = samples_of(plan, 1)[0]
    assert set(ids.flat) == {5}
    assert set(mask.flat) == {0}


@pytest.mark.parametrize(("size", "side"), [(0, 224), (28, 28), (299, 299)])
def test_images_for_a_convolution(size: int, side: int, tmp_path: Path) -> None:
    plan, notes = settled(written(tmp_path, graph_models.conv(size)))
    assert shapes(plan) == [(3, side, side)]
    assert plan.batch_name == "N"
    assert "channels of Conv 'first'" in notes[0]


@pytest.mark.parametrize(
    ("name", "fed"),
    [
        ("test_expand_shape_model1", [3, 1]),
        ("test_expand_shape_model2", [3, 3]),
        ("test_expand_shape_model3", [3, 3, 3]),
        ("test_expand_shape_model4", [3, 3, 3, 3]),
        ("test_sequence_model8", [1, 1, 1]),
    ],
)
def test_inputs_that_an_operator_obeys(name: str, fed: list[int], command: Command) -> None:
    for scenario in ("SingleStream", "Offline"):
        outcome = command.run(
            WHEEL / name / "model.onnx", scenario=scenario, samples=5, output_dir=scenario
        )
        assert outcome.code == 0, outcome.stderr
        assert f"is fed {fed} in every sample" in outcome.stderr


def test_parts_fit_a_length_that_is_given() -> None:
    plan, _ = settled(WHEEL / "test_sequence_model8" / "model.onnx", dim={"n": 8})
    assert shapes(plan) == [(8,), (3,)]
    assert sorted(samples_of(plan, 1)[0][1]) == [2, 3, 3]


def test_a_size_that_cannot_be_found_is_asked_for(command: Command, tmp_path: Path) -> None:
    path = written(tmp_path, graph_models.picky())
    outcome = command.run(path, samples=2)
    assert outcome.code == 2
    assert "dimension width" in outcome.stderr
    assert "MatMul dimension mismatch" in outcome.stderr
    assert "Give it with --dim width=SIZE." in outcome.stderr
    assert command.run(path, samples=2, dim="width=1237", output_dir="given").code == 0


def test_a_size_without_a_name_is_asked_for_by_shape(tmp_path: Path) -> None:
    model = onnx.load_from_string(graph_models.picky())
    model.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    with pytest.raises(RequestError, match=r"--shape x=\?xSIZE"):
        settled(written(tmp_path, model.SerializeToString()))


def test_a_varying_number_of_boxes(command: Command, tmp_path: Path) -> None:
    outcome = command.run(
        written(tmp_path, graph_models.detector()), scenario="Offline", samples=50
    )
    assert outcome.code == 0, outcome.stderr


def test_boxes_vary_between_samples(tmp_path: Path) -> None:
    path = written(tmp_path, graph_models.detector())
    plan, _ = settled(path)
    session = ort.InferenceSession(str(path))
    boxes = [session.run(["boxes"], {"image": s[0]})[0].shape for s in samples_of(plan, 8)]
    assert len(set(boxes)) > 1


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(["Gather", "GatherElements", "GatherND", "ScatterND", "OneHot"]),
    rows=st.integers(1, 300),
    offset=st.integers(-2, 2),
    dtype=st.sampled_from([INT64, onnx.TensorProto.INT32]),
)
def test_indices_are_legal(
    op: str, rows: int, offset: int, dtype: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    offset = min(offset, rows - 1)
    make = helper.make_node
    follow = [
        make("Cast", ["i"], ["long"], to=INT64),
        make("Add", ["long", "offset"], ["moved"]),
        make("Unsqueeze", ["moved", "last"], ["index"]),
    ]
    data: Array = np.zeros((rows, 1) if op == "GatherElements" else (rows,), np.float32)
    operands = {
        "OneHot": ["index", "rows", "ends"],
        "ScatterND": ["data", "index", "updates"],
    }.get(op, ["data", "index"])
    model = graph_model(
        [*follow, make(op, operands, ["y"])],
        [("i", dtype, [6])],
        [("y", FLOAT, None)],  # type: ignore[list-item]
        data=data,
        rows=np.array(rows),
        offset=np.array(offset),
        last=np.array([1]),
        ends=np.array([0, 1], np.float32),
        updates=np.zeros(6, np.float32),
    )
    path = written(tmp_path_factory.mktemp("index"), model)
    plan, _ = settled(path, batch_dim="none")
    for (sample,) in samples_of(plan, 5):
        assert (sample + offset >= 0).all()
        assert (sample + offset < rows).all()
    assert f"with {rows} rows" in plan.inputs[0].describe()
