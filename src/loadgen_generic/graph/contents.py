"""Which values are legal for the inputs of a graph: indices, masks, shapes, axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from loadgen_generic.elements import kind_of
from loadgen_generic.graph.reading import Graph, attribute
from loadgen_generic.graph.vectors import exact_vector
from loadgen_generic.tensors import ModelSignature, TensorSpec
from loadgen_generic.values import Values

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["legal_contents"]

# The operands whose values an operator passes on; an empty tuple stands for all.
_CARRIERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice"),
        (0,),
    ),
    **dict.fromkeys(
        ("Gather", "GatherElements", "GatherND", "Expand", "Tile", "Split", "Dropout", "Pad"), (0,)
    ),
    "Concat": (),
    "Max": (),
    "Min": (),
    "Where": (1, 2),
}
# Operand that holds indices along an axis: (operator, position) to the data's position, the
# attribute that names the axis, and the axis where it is left out.
_ALONG_AXIS = {
    ("Gather", 1): (0, "axis", 0),
    ("GatherElements", 1): (0, "axis", 0),
    ("Scatter", 1): (0, "axis", 0),
    ("ScatterElements", 1): (0, "axis", 0),
    ("GatherBlockQuantized", 1): (0, "gather_axis", 0),
    ("ArrayFeatureExtractor", 1): (0, "", -1),
    ("EmbedLayerNormalization", 0): (2, "", 0),
    ("EmbedLayerNormalization", 1): (4, "", 0),
    ("EmbedLayerNormalization", 8): (3, "", 0),
    ("QEmbedLayerNormalization", 0): (2, "", 0),
    ("QEmbedLayerNormalization", 1): (4, "", 0),
    ("NegativeLogLikelihoodLoss", 1): (0, "", 1),
    ("SoftmaxCrossEntropyLoss", 1): (0, "", 1),
}
_MASKS = {
    ("EmbedLayerNormalization", 7),
    ("Attention", 3),
    ("MultiHeadAttention", 4),
}
_MOST_STEPS = 10_000


def legal_contents(
    graph: Graph, signature: ModelSignature, sizes: Mapping[str, int]
) -> tuple[dict[str, Values], dict[str, object]]:
    """Legal values, and exact contents as nested lists, of the inputs that need them.

    Args:
        sizes: of symbolic and unnamed dimensions, by name.
    """
    values: dict[str, Values] = {}
    arrays: dict[str, object] = {}
    for spec in signature.inputs:
        if spec.dtype is None or kind_of(spec.dtype) not in "biu":
            continue
        found = _follow(graph, spec, sizes)
        if isinstance(found, Values):
            values[spec.name] = found
        elif found is not None:
            arrays[spec.name] = found
    return values, arrays


def _follow(graph: Graph, spec: TensorSpec, sizes: Mapping[str, int]) -> Values | object | None:
    """The tightest demand on an integer or boolean input, by the nodes its values reach."""
    low, high, why = 0, 0, ""
    masks = "mask" in spec.name.lower()
    waiting, seen = [(spec.name, 0)], {(spec.name, 0)}
    while waiting and len(seen) < _MOST_STEPS:
        name, offset = waiting.pop()
        for node, position in graph.readers.get(name, ()):
            exact = exact_vector(graph, node, position, spec, sizes)
            if exact is not None:
                return exact
            rows = _rows(graph, node, position, sizes)
            if rows is not None:
                # What reaches the node is the input plus the offset.
                low = max(low, -offset)
                bound = max(rows - offset, low + 1)
                if not high or bound < high:
                    high, why = bound, _words(node, rows)
            if node.op_type in ("Div", "Mod") and position == 1:
                low = max(low, 1 - offset)
            masks = masks or (node.op_type, position) in _MASKS
            step = _step(graph, node, position)
            if step is None:
                continue
            for output in node.output:
                reached = (output, offset + step)
                if reached not in seen:
                    seen.add(reached)
                    waiting.append(reached)
    if high:
        return Values("uniform", low, max(high, low + 1), why)
    if masks:
        return Values("constant", 1, 1, "a mask that hides nothing")
    if low:
        return Values("uniform", low, low + 10, "a divisor")
    return None


def _step(graph: Graph, node: NodeProto, position: int) -> int | None:
    """What a node adds to the values of an operand that it passes on; None if it does not."""
    carried = _CARRIERS.get(node.op_type)
    if carried is not None:
        return 0 if not carried or position in carried else None
    if node.op_type in ("Add", "Sub") and (node.op_type == "Add" or position == 0):
        other = graph.constant(node.input[1 - position])
        if other is not None and other.size == 1 and float(other.reshape(())) % 1 == 0:
            return int(other.reshape(())) * (1 if node.op_type == "Add" else -1)
    return None


def _rows(graph: Graph, node: NodeProto, position: int, sizes: Mapping[str, int]) -> int | None:
    """How many indices an operand may choose from; None if it holds no indices.

    1 where it is not known: index 0 is legal in everything that is not empty.
    """
    op = node.op_type
    if op == "OneHot" and position == 0:
        depth = graph.constant(node.input[1])
        return int(depth.reshape(-1)[0]) if depth is not None and depth.size else 1
    if op in ("SequenceAt", "SequenceErase") and position == 1:
        return 1
    if op in ("GatherND", "ScatterND") and position == 1:
        shape = graph.shape(node.input[0], sizes)
        chosen = graph.shape(node.input[1], sizes)
        first = int(attribute(node, "batch_dims", 0))
        width = chosen[-1] if chosen else None
        part = (shape or ())[first : None if width is None else first + width]
        return min((size or 1 for size in part), default=1)
    if (op, position) in _ALONG_AXIS:
        data, name, default = _ALONG_AXIS[op, position]
        shape = graph.shape(node.input[data], sizes)
        axis = int(attribute(node, name, default))
        if not shape or not -len(shape) <= axis < len(shape):
            return 1
        return shape[axis] or 1
    return None


def _words(node: NodeProto, rows: int) -> str:
    return f"index of {node.op_type} '{node.name or node.output[0]}' with {rows} rows"
