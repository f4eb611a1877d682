"""ONNX models of a few bytes, each with one property that a test needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper

__all__ = ["BUILDERS", "ONLY_CAST", "write"]

FLOAT = TensorProto.FLOAT
Shape = Sequence["int | str | None"]
Tensor = tuple[str, int, Shape]
_OPSET, _IR_VERSION = 13, 8


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    weights: Sequence[TensorProto] = (),
    *,
    domains: Sequence[tuple[str, int]] = (("", _OPSET),),
) -> bytes:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "tiny", [info(*i) for i in inputs], [info(*o) for o in outputs], weights
    )
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())


def matmul(batch: int | str = "N") -> bytes:
    """``y = x @ w``: float32 [N, 4] to [N, 3]."""
    weight = helper.make_tensor("w", FLOAT, [4, 3], [k / 12 for k in range(12)])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model([node], [("x", FLOAT, [batch, 4])], [("y", FLOAT, [batch, 3])], [weight])


def slow() -> bytes:
    """A product of two 1024 x 1024 matrices for each sample: milliseconds on any machine."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Add", ["big", "sum"], ["shifted"]),
        helper.make_node("MatMul", ["shifted", "shifted"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["y"], keepdims=0),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1024, 1024])
    return _model(nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [])], [shape])


def random() -> bytes:
    """Another answer each time."""
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    return _model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def identity() -> bytes:
    """The output is the input, and its name says which input it is."""
    node = helper.make_node("Identity", ["x"], ["x_again"])
    return _model([node], [("x", FLOAT, ["N", 4])], [("x_again", FLOAT, ["N", 4])])


def typed(element_type: int) -> bytes:
    """An identity over another element type."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return _model([node], [("x", element_type, ["N", 4])], [("y", element_type, ["N", 4])])


def scalar() -> bytes:
    """An input without any dimension, so without a batch."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return _model([node], [("x", FLOAT, [])], [("y", FLOAT, [])])


def two_inputs() -> bytes:
    """Two inputs of different types with one batch dimension."""
    nodes = [
        helper.make_node("Cast", ["b"], ["b_float"], to=FLOAT),
        helper.make_node("Add", ["a", "b_float"], ["y"]),
    ]
    inputs: list[Tensor] = [("a", FLOAT, ["N", 4]), ("b", TensorProto.INT64, ["N", 4])]
    return _model(nodes, inputs, [("y", FLOAT, ["N", 4])])


def sequence() -> bytes:
    """A second dimension that is open and has a name."""
    node = helper.make_node("Identity", ["tokens"], ["y"])
    shape: Shape = ["N", "seq"]
    return _model([node], [("tokens", TensorProto.INT64, shape)], [("y", TensorProto.INT64, shape)])


def only_up_to(longest: int) -> bytes:
    """A second dimension that is open and must not exceed a size: a table has so many rows."""
    table = helper.make_tensor("table", FLOAT, [longest], [1.0] * longest)
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "one", "two"], ["seq"]),
        helper.make_node("Slice", ["table", "zero", "seq"], ["rows"]),
        helper.make_node("Add", ["x", "rows"], ["y"]),
    ]
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for value, name in enumerate(("zero", "one", "two"))
    ]
    shape: Shape = ["N", "seq"]
    return _model(nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], [table, *numbers])


def with_past() -> bytes:
    """A mask as long as the past and one more, as exporters name it."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["all"], axis=1),
        helper.make_node("Mul", ["all", "mask"], ["y"]),
    ]
    inputs: list[Tensor] = [
        ("past", FLOAT, ["N", "past"]),
        ("x", FLOAT, ["N", 1]),
        ("mask", FLOAT, ["N", "past + 1"]),
    ]
    return _model(nodes, inputs, [("y", FLOAT, ["N", "past + 1"])])


def unnamed_dimension() -> bytes:
    """A second dimension that is open and has no name."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return _model([node], [("x", FLOAT, ["N", None])], [("y", FLOAT, ["N", None])])


def short_table(last_row: int = 9) -> bytes:
    """Looks rows up by the sample's number, which may be 0 to 9: raises for the missing ones."""
    table = helper.make_tensor("table", FLOAT, [last_row, 2], [0.0] * (2 * last_row))
    node = helper.make_node("Gather", ["table", "row"], ["y"])
    return _model(
        [node], [("row", TensorProto.INT64, ["N", 1])], [("y", FLOAT, ["N", 1, 2])], [table]
    )


def hungry(gigabytes: int = 64) -> bytes:
    """Makes a tensor of so many gigabytes in each inference."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Add", ["big", "sum"], ["shifted"]),
        helper.make_node("ReduceMax", ["shifted"], ["y"], keepdims=0),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [gigabytes << 10, 1 << 18])
    return _model(nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [])], [shape])


def unknown_operator() -> bytes:
    node = helper.make_node("Transmogrify", ["x"], ["y"])
    return _model([node], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def negation(batch: int | str, width: int) -> bytes:
    """``y = -x``: float32 [batch, width], so that an answer names its sample."""
    node = helper.make_node("Neg", ["x"], ["y"])
    return _model([node], [("x", FLOAT, [batch, width])], [("y", FLOAT, [batch, width])])


def image() -> bytes:
    """The mean of each channel: float32 [N, 3, h, w] to [N, 3]."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    return _model([node], [("x", FLOAT, ["N", 3, "h", "w"])], [("y", FLOAT, ["N", 3])])


def mixes_its_batch() -> bytes:
    """Softmax over the batch: a sample's answer depends on its neighbours."""
    node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    return _model([node], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def unknown_domain() -> bytes:
    node = helper.make_node("Custom", ["x"], ["y"], domain="com.example")
    domains = (("", _OPSET), ("com.example", 1))
    return _model([node], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], domains=domains)


def too_new_opset() -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    return _model([node], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], domains=(("", 99),))


_NEWEST = (("", 25),)
# Types that no Identity of ONNX Runtime 1.32.0 takes; Cast does.
ONLY_CAST = (21, 22, 24, 25, 26)


def element(element_type: int) -> bytes:
    """``y`` is ``x``, as float32 where the type allows nothing else: [N, 3] to [N, 3]."""
    if element_type not in ONLY_CAST:
        node = helper.make_node("Identity", ["x"], ["y"])
        shape: Shape = ["N", 3]
        domains = (("", _OPSET),) if element_type == TensorProto.STRING else _NEWEST
        return _model(
            [node], [("x", element_type, shape)], [("y", element_type, shape)], domains=domains
        )
    node = helper.make_node("Cast", ["x"], ["y"], to=FLOAT)
    return _model(
        [node], [("x", element_type, ["N", 3])], [("y", FLOAT, ["N", 3])], domains=_NEWEST
    )


def cast_to(element_type: int, *, known_shape: bool = True) -> bytes:
    """``y`` is ``x`` in another type, from float32: [N, 3] to [N, 3], or to any size."""
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=element_type)]
    shape: Shape = ["N", 3] if known_shape else ["M", "L"]
    return _model(nodes, [("x", FLOAT, ["N", 3])], [("y", element_type, shape)], domains=_NEWEST)


def strings_and(element_type: int, output_type: int = FLOAT) -> bytes:
    """Strings beside an input of another type; both come back, the latter converted."""
    nodes = [
        helper.make_node("Identity", ["s"], ["s_again"]),
        helper.make_node("Cast", ["x"], ["y"], to=output_type),
    ]
    text, shape = TensorProto.STRING, ["N", 3]
    return _model(
        nodes,
        [("s", text, shape), ("x", element_type, shape)],
        [("s_again", text, shape), ("y", output_type, shape)],
        domains=_NEWEST,
    )


def awkward(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, TypeProto],
    outputs: Mapping[str, TypeProto],
    *,
    opset: int = _OPSET,
    domain: str = "",
) -> bytes:
    """A model of any types."""
    graph = helper.make_graph(
        nodes,
        "awkward",
        [helper.make_value_info(name, each) for name, each in inputs.items()],
        [helper.make_value_info(name, each) for name, each in outputs.items()],
    )
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())


BUILDERS: dict[str, Callable[[], bytes]] = {
    "matmul": matmul,
    "fixed_batch": lambda: matmul(1),
    "slow": slow,
    "random": random,
    "identity": identity,
    "int64": lambda: typed(TensorProto.INT64),
    "bool": lambda: typed(TensorProto.BOOL),
    "float16": lambda: typed(TensorProto.FLOAT16),
    "scalar": scalar,
    "two_inputs": two_inputs,
    "sequence": sequence,
    "unnamed_dimension": unnamed_dimension,
    "short_table": short_table,
    "hungry": hungry,
    "image": image,
    "unknown_operator": unknown_operator,
    "unknown_domain": unknown_domain,
    "too_new_opset": too_new_opset,
    "truncated": lambda: matmul()[:-40],
    "not_onnx": lambda: b"<html>404 Not Found</html>\n",
    "empty": lambda: b"",
}


def write(directory: Path, name: str) -> Path:
    """Write the model of this name as ``NAME.onnx``; returns its path."""
    path = directory / f"{name}.onnx"
    path.write_bytes(BUILDERS[name]())
    return path
