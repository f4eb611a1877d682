"""ONNX models whose graphs say what their inputs have to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["bert", "conv", "detector", "graph_model", "picky"]

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Tensor = tuple[str, int, Sequence["int | str | None"]]
VOCABULARY, WIDTH, POSITIONS = 30522, 8, 512


def graph_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    **weights: object,
) -> bytes:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info(*i) for i in inputs],
        [info(*o) for o in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def bert(positions: int = POSITIONS) -> bytes:
    """Words, positions and token types, embedded and added; a mask; the mean of what it leaves."""
    random = np.random.default_rng(1)
    table = random.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
    make = helper.make_node
    nodes = [
        make("Gather", ["word_embeddings", "input_ids"], ["words"], name="embed"),
        make("Gather", ["type_embeddings", "token_type_ids"], ["types"]),
        make("Shape", ["input_ids"], ["ids_shape"]),
        make("Slice", ["ids_shape", "one", "two"], ["length"]),
        make("Slice", ["position_ids", "zero", "length", "one"], ["used"]),
        make("Gather", ["position_embeddings", "used"], ["positions"]),
        make("Add", ["words", "types"], ["sum"]),
        make("Add", ["sum", "positions"], ["hidden"]),
        make("Cast", ["attention_mask"], ["kept"], to=FLOAT),
        make("Unsqueeze", ["kept", "two"], ["kept3"]),
        make("Mul", ["hidden", "kept3"], ["masked"]),
        make("ReduceMean", ["masked"], ["y"], axes=[1], keepdims=0),
    ]
    shape = ["batch", "sequence"]
    return graph_model(
        nodes,
        [(name, INT64, shape) for name in ("input_ids", "attention_mask", "token_type_ids")],
        [("y", FLOAT, ["batch", WIDTH])],
        word_embeddings=table,
        type_embeddings=table[:2],
        position_embeddings=table[:positions],
        position_ids=np.arange(positions)[None],
        zero=np.array([0]),
        one=np.array([1]),
        two=np.array([2]),
    )


def conv(size: int = 0) -> bytes:
    """A convolution of images whose channels and sides are open; ``size``: what a Gemm behind
    it asks of the sides."""
    make = helper.make_node
    nodes = [make("Conv", ["image", "w"], ["features"], name="first", pads=[1, 1, 1, 1])]
    weights: dict[str, object] = {"w": np.ones((2, 3, 3, 3), np.float32)}
    if size:
        nodes += [
            make("Flatten", ["features"], ["flat"]),
            make("Gemm", ["flat", "classes"], ["y"]),
        ]
        weights["classes"] = np.ones((2 * size * size, 5), np.float32)
    else:
        nodes += [make("GlobalAveragePool", ["features"], ["y"])]
    return graph_model(
        nodes,
        [("image", FLOAT, ["N", "C", "H", "W"])],
        [("y", FLOAT, ["N", 5] if size else ["N", 2, 1, 1])],
        **weights,
    )


def detector() -> bytes:
    """Boxes from an image: NonMaxSuppression keeps as many as it finds good."""
    make = helper.make_node
    nodes = [
        make("Reshape", ["image", "as_boxes"], ["corners"]),
        make("ReduceMax", ["corners"], ["best"], axes=[2], keepdims=1),
        make("Transpose", ["best"], ["scores"], perm=[0, 2, 1]),
        make("NonMaxSuppression", ["corners", "scores", "most", "overlap", "least"], ["kept"]),
        make("Slice", ["kept", "two", "three", "one"], ["which"]),
        make("Reshape", ["which", "flat"], ["rows"]),
        make("Gather", ["corners", "rows"], ["boxes"], axis=1),
        make("NonZero", ["best"], ["where"]),
    ]
    return graph_model(
        nodes,
        [("image", FLOAT, [1, 3, 16, 16])],
        [("boxes", FLOAT, [1, "boxes", 4]), ("where", INT64, [3, "found"])],
        as_boxes=np.array([1, -1, 4]),
        most=np.array([50]),
        overlap=np.array([0.3], np.float32),
        least=np.array([0.9], np.float32),
        one=np.array([1]),
        two=np.array([2]),
        three=np.array([3]),
        flat=np.array([-1]),
    )


def picky() -> bytes:
    """Takes vectors of 1237 numbers only, behind an operator that nobody looks through."""
    make = helper.make_node
    nodes = [
        make("CumSum", ["x", "axis"], ["sums"]),
        make("MatMul", ["sums", "w"], ["y"]),
    ]
    return graph_model(
        nodes,
        [("x", FLOAT, ["N", "width"])],
        [("y", FLOAT, ["N", 2])],
        w=np.ones((1237, 2), np.float32),
        axis=np.array(1),
    )
