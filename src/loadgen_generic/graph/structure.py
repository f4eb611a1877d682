"""What of a model's graph decides which ways of running it can differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["Structure", "read_structure"]

_SHAPES_ONLY = ("Shape", "Size")


@dataclass(frozen=True, slots=True)
class Structure:
    """A graph.

    Attributes:
        operators: types that occur, in the bodies of loops and branches too.
        input_types: ONNX's names of the inputs' element types in lower case; ``undefined`` for
            what is no tensor.
        open_batch: the leading dimension of every input is open.
        side_by_side: the most operators found that do not depend on each other; at least 2 where
            any two do not. What works on constants and shapes alone does not count, and a loop or
            branch counts as one.
    """

    operators: frozenset[str]
    input_types: frozenset[str]
    open_batch: bool
    side_by_side: int


def read_structure(model_path: str) -> Structure | None:
    """Read a model without its external weights; None if it is not in ONNX's own format."""
    import onnx

    from loadgen_generic.graph.reading import graphs_in, open_model

    model = open_model(model_path)
    if model is None:
        return None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    tensors = [each.type.tensor_type for each in inputs]
    types = {onnx.TensorProto.DataType.Name(each.elem_type).lower() for each in tensors}
    leading = [each.shape.dim[0] for each in tensors if each.shape.dim]
    return Structure(
        operators=frozenset(node.op_type for g in graphs_in(model.graph) for node in g.node),
        input_types=frozenset(types),
        open_batch=len(leading) == len(tensors) > 0
        and not any(dim.HasField("dim_value") for dim in leading),
        side_by_side=_side_by_side(model.graph, {each.name for each in inputs}),
    )


def _side_by_side(graph: onnx.GraphProto, inputs: set[str]) -> int:
    """The most operators at one distance from the inputs, by the longest way. None of these
    depends on another; and where each distance has one, each depends on the one before."""
    depth = dict.fromkeys(inputs, 0)
    at: dict[int, int] = {}
    for node in graph.node:  # in the order of their dependencies, as ONNX demands
        known = [depth[name] for name in _reads(node) if name in depth]
        if known and node.op_type not in _SHAPES_ONLY:
            deepest = max(known) + 1
            at[deepest] = at.get(deepest, 0) + 1
            depth.update(dict.fromkeys(node.output, deepest))
    return max(at.values(), default=0)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node depends on, what its bodies read from outside among it."""
    names = set(node.input)
    for each in node.attribute:
        for body in [*([each.g] if each.HasField("g") else []), *each.graphs]:
            for inner in body.node:
                names |= _reads(inner)
    return names - {""}
