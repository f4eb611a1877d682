"""Inputs that are no data but say what an operator does: shapes, lengths, axes, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loadgen_generic.graph.reading import Graph, attribute
from loadgen_generic.tensors import TensorSpec, axis_key

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["exact_vector", "split_length", "vector_length"]

_SHAPES = {
    ("Reshape", 1),
    ("Expand", 1),
    ("ConstantOfShape", 0),
    ("Resize", 3),
    ("CenterCropPad", 1),
}
_ONES = {("Tile", 1), ("TopK", 1), ("Slice", 4)}
_ZEROS = {("Slice", 1), ("Pad", 1), ("CumSum", 1), ("Trilu", 1), ("RoiAlign", 2)}
_AXES = {("Unsqueeze", 1), ("Slice", 3), ("Pad", 3)}
_SPLITS = {("Split", 1), ("SplitToSequence", 1)}
_COUNTS = {("NonMaxSuppression", 2): 10, ("OneHot", 1): 10}
_TO_THE_END = 2**31 - 1  # what a slice takes for "all that is left"


def exact_vector(
    graph: Graph, node: NodeProto, position: int, spec: TensorSpec, sizes: Mapping[str, int]
) -> object | None:
    """What an input must hold that is this operand of a node; None if it may hold other things.

    Returns:
        A list, or one number for an input without dimensions.
    """
    if len(spec.shape) > 1 or not spec.ranked:
        return None
    dims = [
        d if isinstance(d, int) else sizes.get(d or axis_key(spec.name, axis))
        for axis, d in enumerate(spec.shape)
    ]
    length = dims[0] if dims else 1
    if length is None:
        return None
    vector = _vector(graph, node, position, length, sizes)
    if vector is None:
        return None
    return vector if dims else vector[0]


def vector_length(graph: Graph, node: NodeProto, position: int) -> int | None:
    """How many numbers an operand that is a shape has to hold, where its own shape is open."""
    if (node.op_type, position) not in _SHAPES:
        return None
    for name in (*node.output, node.input[0]):
        if name in graph.shapes and (name in node.output or position):
            return len(graph.shapes[name])
    return None


def split_length(graph: Graph, node: NodeProto, position: int) -> int | None:
    """Into how many parts a node splits its data, where an input of fixed length says it."""
    if node.op_type not in ("Split", "SplitToSequence") or position != 0:
        return None
    if len(node.input) < 2 or graph.constant(node.input[1]) is not None:
        return None
    shape = graph.shapes.get(node.input[1])
    return shape[0] if shape and isinstance(shape[0], int) else None


def _vector(
    graph: Graph, node: NodeProto, position: int, length: int, sizes: Mapping[str, int]
) -> list[int] | None:
    where = node.op_type, position
    if where in _SHAPES:
        return _shape(graph, node, length, sizes)
    if where in _ONES:
        return [1] * length
    if where in _ZEROS:
        return [0] * length
    if where in _AXES or (node.op_type.startswith("Reduce") and position == 1):
        return list(range(length))
    if where in _COUNTS:
        return [_COUNTS[where]] * length
    if where == ("Slice", 2):
        return [_TO_THE_END] * length
    data = graph.shape(node.input[0], sizes)
    if where == ("Squeeze", 1) and data is not None:
        return [axis for axis, size in enumerate(data) if size == 1][:length]
    if where in _SPLITS:
        return _split(node, data, graph, length)
    return None


def _shape(graph: Graph, node: NodeProto, length: int, sizes: Mapping[str, int]) -> list[int]:
    """The shape that the model declares for the result, else one that always fits."""
    result = _known(graph.shape(node.output[0], sizes))
    fits = result is not None and (len(result) == length or node.op_type == "Expand")
    if result is not None and fits:
        return ([1] * length + result)[len(result) :]
    data = None if node.op_type == "ConstantOfShape" else _known(graph.shape(node.input[0], sizes))
    if node.op_type == "Reshape":
        if data is not None and len(data) == length:
            return data
        return [-1] + [1] * (length - 1) if length else []
    if data is None:
        return [1] * length
    return ([1] * length + data)[-length:] if length else []


def _known(shape: tuple[int | None, ...] | None) -> list[int] | None:
    if shape is None or any(size is None for size in shape):
        return None
    return [size for size in shape if size is not None]


def _split(
    node: NodeProto, data: tuple[int | None, ...] | None, graph: Graph, length: int
) -> list[int] | None:
    """Equal parts, the first ones longer by one where that does not come out even."""
    axis = int(attribute(node, "axis", 0))
    if not data or not -len(data) <= axis < len(data):
        return None
    size = data[axis]
    if graph.shapes.get(node.input[1]) == ():
        return [1]
    if size is None or not length:
        return None
    return [math.ceil((size - part) / length) for part in range(length)]
