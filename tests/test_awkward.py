"""Signatures that are out of the ordinary: each runs, or is refused with what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from command import Command
from onnx import TensorProto, TypeProto, helper

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.backends.wire import inputs_without_shape
from loadgen_generic.results.result import read_result
from loadgen_generic.seams import Backend, Batch

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def tensor(shape: list[int | str | None] | None, element_type: int = FLOAT) -> TypeProto:
    made: TypeProto = helper.make_tensor_type_proto(element_type, shape)
    return made


def same_again(
    shape: list[int | str | None] | None, name: str = "x", element_type: int = FLOAT
) -> bytes:
    node = helper.make_node("Identity", [name], ["y"])
    each = tensor(shape, element_type)
    return tiny_models.awkward([node], {name: each}, {"y": each})


def no_batch() -> bytes:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    inputs = {"a": tensor([3, 4]), "b": tensor([4, 5])}
    return tiny_models.awkward([node], inputs, {"y": tensor([3, 5])})


def no_inputs() -> bytes:
    node = helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])
    return tiny_models.awkward([node], {}, {"y": tensor([2])})


def shared_name() -> bytes:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    each = tensor(["N", "L"])
    return tiny_models.awkward([node], {"a": each, "b": each}, {"y": each})


def one_name_twice_in_an_input() -> bytes:
    return same_again(["L", "L"])


def sixteen_inputs() -> bytes:
    names = [f"x{k}" for k in range(16)]
    node = helper.make_node("Sum", names, ["y"])
    return tiny_models.awkward(
        [node], {name: tensor(["N", 4]) for name in names}, {"y": tensor(["N", 4])}
    )


def gives_a_sequence() -> bytes:
    node = helper.make_node("SplitToSequence", ["x"], ["y"])
    sequence = helper.make_sequence_type_proto(tensor([None, 4]))
    return tiny_models.awkward([node], {"x": tensor(["N", 4])}, {"y": sequence})


def classifier(*, text: bool) -> bytes:
    """As scikit-learn's converters write them: a label, and a map from labels to scores."""
    labels: list[str] | list[int] = ["cat", "dog"] if text else [3, 5]
    named_by = "classlabels_strings" if text else "classlabels_int64s"
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            coefficients=[1.0, 0.0, 0.0, 1.0],
            intercepts=[0.0, 0.0],
            **{"classlabels_strings" if text else "classlabels_ints": labels},
        ),
        helper.make_node(
            "ZipMap", ["scores"], ["named"], domain="ai.onnx.ml", **{named_by: labels}
        ),
    ]
    kind = STRING if text else INT64
    mapped = helper.make_map_type_proto(kind, tensor([]))
    outputs = {
        "label": tensor(["N"], kind),
        "named": helper.make_sequence_type_proto(mapped),
    }
    return tiny_models.awkward(nodes, {"x": tensor(["N", 2])}, outputs, domain="ai.onnx.ml")


def takes_a_sequence() -> bytes:
    nodes = [
        helper.make_node("Constant", [], ["first"], value_int=0),
        helper.make_node("SequenceAt", ["steps"], ["y"]),
    ]
    nodes[1].input.append("first")
    inputs = {"steps": helper.make_sequence_type_proto(tensor([None, 4]))}
    return tiny_models.awkward(nodes, inputs, {"y": tensor(None)})


def takes_a_map() -> bytes:
    node = helper.make_node(
        "DictVectorizer", ["counts"], ["y"], domain="ai.onnx.ml", int64_vocabulary=[1, 2]
    )
    inputs = {"counts": helper.make_map_type_proto(INT64, tensor([]))}
    return tiny_models.awkward([node], inputs, {"y": tensor(None)}, domain="ai.onnx.ml")


def takes_an_optional() -> bytes:
    node = helper.make_node("OptionalGetElement", ["maybe"], ["y"])
    inputs = {"maybe": helper.make_optional_type_proto(tensor([2]))}
    return tiny_models.awkward([node], inputs, {"y": tensor([2])}, opset=18)


def takes_a_sparse_tensor() -> bytes:
    node = helper.make_node("SparseToDenseMatMul", ["thin", "w"], ["y"], domain="com.microsoft")
    inputs = {"thin": helper.make_sparse_tensor_type_proto(FLOAT, [3, 4]), "w": tensor([4, 2])}
    return tiny_models.awkward([node], inputs, {"y": tensor(None)}, domain="com.microsoft")


def a_gigabyte() -> bytes:
    node = helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)
    return tiny_models.awkward([node], {"x": tensor([1 << 28])}, {"y": tensor([])})


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(model: bytes) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model)
        return path

    return write


def loaded(path: Path) -> Backend:
    backend = create_backend(
        BackendSpec("onnxruntime", str(path), "CPUExecutionProvider", 1, 1, "sequential")
    )
    backend.load()
    return backend


@pytest.mark.parametrize("scenario", ["Offline", "SingleStream"])
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        pytest.param(no_batch(), {}, id="no batch dimension"),
        pytest.param(same_again([]), {}, id="scalar"),
        pytest.param(no_inputs(), {}, id="no inputs"),
        pytest.param(same_again(["N", 0]), {}, id="zero-size dimension"),
        pytest.param(same_again([0, 4]), {}, id="zero-size leading dimension"),
        pytest.param(shared_name(), {"dim": "L=5"}, id="shared name"),
        pytest.param(one_name_twice_in_an_input(), {"dim": "L=5"}, id="one name twice"),
        pytest.param(same_again(None), {"shape": "x=2x3"}, id="dynamic rank"),
        pytest.param(same_again(None), {"shape": "x="}, id="dynamic rank, a scalar"),
        pytest.param(sixteen_inputs(), {}, id="sixteen inputs"),
        pytest.param(same_again(["N"], element_type=STRING), {}, id="string tokens"),
        pytest.param(same_again([], element_type=STRING), {}, id="one string"),
        pytest.param(same_again(["N", 4], "a name/with 中文 é"), {}, id="name"),
        pytest.param(gives_a_sequence(), {}, id="sequence out"),
        pytest.param(classifier(text=False), {}, id="map out"),
        pytest.param(classifier(text=True), {}, id="map of strings out"),
    ],
)
def test_runs(
    model: bytes,
    flags: dict[str, object],
    scenario: str,
    command: Command,
    written: Callable[[bytes], Path],
) -> None:
    outcome = command.run(written(model), scenario=scenario, samples=64, **flags)
    assert outcome.result.samples_completed == 64


@pytest.mark.parametrize(
    ("model", "name", "what", "remedy"),
    [
        pytest.param(takes_a_sequence(), "steps", "is a sequence", "stacked", id="sequence"),
        pytest.param(takes_a_map(), "counts", "is a map", "one tensor", id="map"),
        pytest.param(takes_an_optional(), "maybe", "is optional", "plain tensor", id="optional"),
        pytest.param(takes_a_sparse_tensor(), "thin", "is a sparse tensor", "dense", id="sparse"),
        pytest.param(same_again(None), "x", "no shape declared", "--shape x=", id="rank"),
    ],
)
def test_is_refused(
    model: bytes,
    name: str,
    what: str,
    remedy: str,
    command: Command,
    written: Callable[[bytes], Path],
) -> None:
    outcome = command.run(written(model), samples=4)
    assert outcome.code == 2, outcome.stderr
    for word in (f"input {name}", what, remedy):
        assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_shape_for_an_unknown_rank_may_leave_the_batch_open(
    command: Command, written: Callable[[bytes], Path]
) -> None:
    outcome = command.run(
        written(same_again(None)), shape="x=?x3", scenario="Offline", batch_size=4, samples=64
    )
    assert outcome.effective["batch_size"] == 4


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
def test_an_input_of_a_gigabyte(command: Command, written: Callable[[bytes], Path]) -> None:
    """In bounded memory: two samples, and little beside them."""
    flags = {"scenario": "SingleStream", "samples": 2, "warmup_queries": 1}
    words = ["loadgen-generic", "run", written(a_gigabyte()), "--output_dir", "out"]
    words += [word for name, value in flags.items() for word in (f"--{name}", value)]
    words[0] = Path(sys.executable).with_name("loadgen-generic")
    # In a process of its own: what this one started before counts as well.
    measured = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words)],
        cwd=command.directory,
        env=dict(command.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    result = read_result(command.directory / "out")
    assert result.samples_completed == 2
    assert result.config.effective["distinct_samples"] in (1, 2)
    assert int(measured.stdout.split()[-1]) << 10 < (2 << 30) + (600 << 20)


def test_only_inputs_without_a_shape_are_found(written: Callable[[bytes], Path]) -> None:
    node = helper.make_node("Sum", ["a", "b", "c"], ["y"])
    inputs = {"a": tensor(None), "b": tensor([]), "c": tensor([2])}
    path = written(tiny_models.awkward([node], inputs, {"y": tensor(None)}))
    assert inputs_without_shape(str(path)) == {"a"}


def test_a_sequence_can_be_read(written: Callable[[bytes], Path]) -> None:
    worker = loaded(written(gives_a_sequence())).worker()
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    worker.infer(Batch(2, (x,)))
    (answer,) = worker.outputs()
    np.testing.assert_array_equal(np.concatenate(answer[()]), x)


@pytest.mark.parametrize("text", [False, True])
def test_maps_beside_labels_can_be_read(text: bool, written: Callable[[bytes], Path]) -> None:
    worker = loaded(written(classifier(text=text))).worker()
    worker.infer(Batch(2, (np.array([[1, 2], [4, 3]], np.float32),)))
    label, named = worker.outputs()
    first, second = ("cat", "dog") if text else (3, 5)
    assert label.tolist() == [second, first]
    assert named[()] == [{first: 1.0, second: 2.0}, {first: 4.0, second: 3.0}]
