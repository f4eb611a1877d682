"""Sizes for dimensions that a model leaves open: what its operators demand, and good guesses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadgen_generic.elements import kind_of
from loadgen_generic.graph.reading import Graph, attribute
from loadgen_generic.graph.vectors import split_length, vector_length
from loadgen_generic.tensors import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["OpenSize", "sizes_to_try"]

_SEQUENCE_NAME = re.compile(r"seq|length|time|token|past|frames", re.IGNORECASE)
_BATCH_NAME = re.compile(r"batch|^n$|^b$|^bs$", re.IGNORECASE)
_SEQUENCES = (128, 64, 32, 16, 8, 256, 512, 4, 2, 1)
_IMAGES = (224, 28, 32, 299, 256, 227, 64, 96, 112, 160, 300, 320, 416, 512, 640, 800)
_SIGNALS = (128, 1024, 16_000, 256, 512, 64, 32, 3000, 16, 8)
_VOLUMES = (32, 16, 64, 96, 112, 128, 8)
_ANYTHING = (1, 3, 16, 128, 224, 256, 2, 4, 8, 10, 32, 64, 512, 768, 784, 1024)
_SAME_SHAPE = (
    *("Cast", "Identity", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Dropout", "Softmax"),
    *("QuantizeLinear", "DequantizeLinear", "BatchNormalization", "InstanceNormalization"),
    *("LayerNormalization", "GroupNormalization", "Neg", "Sqrt", "Abs", "Exp", "Log", "Erf"),
)
_TWO_SIDED = ("Add", "Sub", "Mul", "Div", "Pow")
_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose")
_WEIGHT = {"QLinearConv": 3}
_SPATIAL = {1: _SIGNALS, 2: _IMAGES, 3: _VOLUMES}
_MOST_STEPS = 10_000

Axes = tuple["int | None", ...]  # of each axis of a tensor, the input's axis it stems from
Found = tuple[int, "OpenSize"]


@dataclass(frozen=True, slots=True)
class OpenSize:
    """What a dimension might be.

    Attributes:
        sizes: best first; a single one where an operator leaves no choice.
        why: in words, where there is a reason for the first one.
        certainty: of two findings, the higher one counts.
    """

    sizes: tuple[int, ...]
    why: str = ""
    certainty: int = 0


def sizes_to_try(
    graph: Graph, signature: ModelSignature, places: Mapping[str, Iterable[tuple[str, int]]]
) -> dict[str, OpenSize]:
    """Sizes for each open dimension.

    Args:
        places: name of an open dimension to where it stands: input and axis.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    inputs = {name for where in places.values() for name, _ in where}
    demands = {name: list(_demands(graph, specs[name])) for name in inputs}
    found: dict[str, OpenSize] = {}
    for key, where in places.items():
        best = OpenSize(_ANYTHING)
        for name, axis in where:
            candidates = [size for at, size in demands[name] if at == axis]
            for each in (_by_name(key, specs[name], axis), *candidates):
                if each is not None and each.certainty > best.certainty:
                    best = each
        found[key] = best
    return found


def _by_name(key: str, spec: TensorSpec, axis: int) -> OpenSize | None:
    named = "[" not in key
    if named and _BATCH_NAME.search(key):
        return OpenSize((1, *_ANYTHING[1:]), "one sample at a time", 3)
    if named and _SEQUENCE_NAME.search(key):
        return OpenSize(_SEQUENCES, "a usual length of a sequence", 3)
    if axis == 0 and len(spec.shape) > 1:
        return OpenSize(_ANYTHING, "one sample at a time", 1)
    whole = spec.dtype is not None and kind_of(spec.dtype) in "iub"
    if whole and axis == 1 and len(spec.shape) == 2:
        return OpenSize(_SEQUENCES, "a usual length of a sequence", 1)
    return None


def _demands(graph: Graph, spec: TensorSpec) -> Iterator[Found]:
    """What the operators that an input reaches demand of its axes."""
    start: Axes = tuple(range(len(spec.shape)))
    waiting, seen = [(spec.name, start)], {(spec.name, start)}
    while waiting and len(seen) < _MOST_STEPS:
        name, axes = waiting.pop()
        for node, position in graph.readers.get(name, ()):
            for at, size in _at_node(graph, node, position, len(axes)):
                origin = axes[at] if -len(axes) <= at < len(axes) else None
                if origin is not None:
                    yield origin, size
            onward = _onward(graph, node, position, axes)
            if onward is not None:
                for output in node.output[:1]:
                    if (output, onward) not in seen:
                        seen.add((output, onward))
                        waiting.append((output, onward))


def _at_node(graph: Graph, node: NodeProto, position: int, rank: int) -> Iterator[Found]:
    """Demands of one node on the axes of one operand."""
    op = node.op_type
    who = f"{op} '{node.name or node.output[0]}'"

    def certain(size: object, what: str) -> Iterator[OpenSize]:
        if isinstance(size, int):
            yield OpenSize((size,), f"{what} of {who}", 5)

    def operand(index: int) -> tuple[object, ...]:
        present = index < len(node.input)
        return graph.shapes.get(node.input[index], ()) if present else ()

    if op in _CONVOLUTIONS and position == 0:
        weight = operand(_WEIGHT.get(op, 1))
        if len(weight) == rank and rank > 2:
            group = int(attribute(node, "group", 1))
            channels = weight[0] if op == "ConvTranspose" else weight[1]
            if isinstance(channels, int):
                times = 1 if op == "ConvTranspose" else group
                yield from ((1, each) for each in certain(channels * times, "channels"))
        sizes = _SPATIAL.get(rank - 2, _VOLUMES)
        for axis in range(2, rank):
            yield axis, OpenSize(sizes, f"a usual size for {who}", 2)
    elif op == "MatMul" and rank:
        other = operand(1 - position)
        if other:
            inner = other[max(-2, -len(other))] if position == 0 else other[-1]
            yield from ((-1 if position == 0 else -min(2, rank), s) for s in certain(inner, "rows"))
    elif op == "Gemm" and position < 2:
        other = operand(1 - position)
        turned = bool(attribute(node, "transA" if position == 0 else "transB", 0))
        other_turned = bool(attribute(node, "transB" if position == 0 else "transA", 0))
        if len(other) == 2:
            inner = other[(0 if position == 0 else 1) ^ other_turned]
            axis = (1 if position == 0 else 0) ^ turned
            yield from ((axis, size) for size in certain(inner, "inner size"))
    elif op in ("BatchNormalization", "InstanceNormalization") and position == 0:
        yield from ((1, s) for size in operand(1)[:1] for s in certain(size, "channels"))
    elif op == "LayerNormalization" and position == 0:
        yield from ((-1, s) for size in operand(1)[-1:] for s in certain(size, "scale"))
    elif op in ("LSTM", "GRU", "RNN") and position == 0:
        yield from ((2, s) for size in operand(1)[2:] for s in certain(size, "input size"))
        yield 0, OpenSize(_SEQUENCES, f"a usual length of a sequence for {who}", 2)
    elif op in _TWO_SIDED:
        for back, size in enumerate(reversed(operand(1 - position)), 1):
            if isinstance(size, int) and size > 1 and back <= rank:
                yield -back, OpenSize((size, 1), f"as the other operand of {who}", 4)
    elif op == "Gather" and position == 1 and rank == 2:
        yield 1, OpenSize(_SEQUENCES, f"a usual length of a sequence for {who}", 2)
    parts = split_length(graph, node, position)
    if parts:
        axis = int(attribute(node, "axis", 0))
        yield axis, OpenSize(tuple(parts * k for k in (1, 2, 4)), f"equal parts for {who}", 4)
    length = vector_length(graph, node, position)
    if length is not None and rank == 1:
        yield 0, OpenSize((length,), f"dimensions of what {who} makes", 4)


def _onward(graph: Graph, node: NodeProto, position: int, axes: Axes) -> Axes | None:
    """From which axes of the input the axes of a node's result stem; None if it is not known."""
    op, rank = node.op_type, len(axes)
    if op in _SAME_SHAPE and position == 0:
        return axes
    if op in _TWO_SIDED:
        other = graph.shapes.get(node.input[1 - position])
        if other is None or len(other) > rank:
            return None
        ones = (1,) * (rank - len(other)) + other
        # Where the other operand is longer than 1, the axis may have been stretched.
        return tuple(a if size == 1 else None for a, size in zip(axes, ones, strict=True))
    if op == "Transpose":
        turned = attribute(node, "perm", list(reversed(range(rank))))
        return tuple(axes[axis] for axis in turned)
    if op == "Gather" and position == 1:
        data = graph.shapes.get(node.input[0])
        if data is None:
            return None
        axis = int(attribute(node, "axis", 0)) % max(len(data), 1)
        return (None,) * axis + axes + (None,) * (len(data) - axis - 1)
    if op == "MatMul" and position == 0 and rank > 1:
        return (*axes[:-1], None)
    if op == "EmbedLayerNormalization":
        return (*axes, None)
    return None
