"""A model's graph, without its weights: nodes, who reads what, and the shapes that are known."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from loadgen_generic.tensors import Dim, axis_key

if TYPE_CHECKING:
    import onnx

__all__ = ["Graph", "attribute", "graphs_in", "open_graph", "open_model"]

_SMALL = 1024  # elements of a constant whose values may matter


class Graph:
    """Nodes of the main graph and of all graphs inside it; names are unique across them.

    Attributes:
        nodes: in no particular order.
        readers: tensor name to the nodes that read it, with the position of the operand.
        shapes: tensor name to shape, as far as it is declared or follows; a dimension of an
            input that has no name is called :func:`axis_key`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.nodes = list(_nodes(model.graph))
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self._constants: dict[str, Any] = {}
        for node in self.nodes:
            for position, name in enumerate(node.input):
                if name:
                    self.readers[name].append((node, position))
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._constants[node.output[0]] = numpy_helper.to_array(attribute.t)
        self.shapes: dict[str, tuple[Dim, ...]] = {
            name: array.shape for name, array in self._constants.items()
        }
        for graph in graphs_in(model.graph):
            for tensor in graph.initializer:
                self.shapes[tensor.name] = tuple(tensor.dims)
                if _elements(tensor) <= _SMALL and tensor.data_location != tensor.EXTERNAL:
                    self._constants[tensor.name] = numpy_helper.to_array(tensor)
                else:
                    _drop_values(tensor)
        _name_dimensions(model.graph)
        for graph in graphs_in(_with_shapes(model).graph):
            for info in [*graph.input, *graph.value_info, *graph.output]:
                kind = info.type.tensor_type
                if kind.HasField("shape"):
                    self.shapes[info.name] = tuple(map(_dimension, kind.shape.dim))

    def constant(self, name: str) -> Any:
        """The values of a small constant as a numpy array; None for anything else."""
        return self._constants.get(name)

    def shape(self, name: str, sizes: Mapping[str, int]) -> tuple[int | None, ...] | None:
        """A tensor's shape with these sizes of symbolic dimensions; None without a known rank."""
        shape = self.shapes.get(name)
        if shape is None:
            return None
        return tuple(d if isinstance(d, int) else sizes.get(d or "") for d in shape)


def open_graph(model_path: str) -> Graph | None:
    """The graph of a model file; None for a file of ONNX Runtime's own format."""
    model = open_model(model_path)
    return None if model is None else Graph(model)


def open_model(model_path: str) -> onnx.ModelProto | None:
    """A model without its external weights, its functions put in where they are called; None if
    it is not in ONNX's own format."""
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(model_path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return model


def attribute(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    """An attribute of a node, or what it is when it is left out."""
    from onnx import helper

    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return otherwise


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those in the attributes of its nodes, such as the bodies of loops."""
    yield graph
    for node in graph.node:
        for each in node.attribute:
            for inner in itertools.chain([each.g] if each.HasField("g") else [], each.graphs):
                yield from graphs_in(inner)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for each in graphs_in(graph):
        yield from each.node


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _drop_values(tensor: onnx.TensorProto) -> None:
    """Shape inference copies the model; the values of large weights say nothing to it."""
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(name)


def _name_dimensions(graph: onnx.GraphProto) -> None:
    for info in graph.input:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = axis_key(info.name, axis)


def _dimension(dim: Any) -> Dim:
    return int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param) or None


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        # Operators that onnx does not know, or a graph it finds wrong: ONNX Runtime has loaded
        # the model, and the declared shapes are enough for most of what is asked here.
        return model
