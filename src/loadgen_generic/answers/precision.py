"""In which precision a model file or a session computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

__all__ = ["coarse_type", "precision_of"]

# Weights of these types say nothing: every model has shapes and indices.
_NEUTRAL = {"INT64", "INT32", "BOOL", "STRING", "UNDEFINED"}
_QUANTIZED = ("Quantize", "QLinear", "Integer")
# Coarser than float32, the coarsest first.
_COARSE = ("int8", "bfloat16", "float16", "tf32")


def coarse_type(words: str) -> str:
    """The coarsest type that a backend says it computes in, of those below float32.

    Args:
        words: what it says of its precision, such as ``bfloat16``; as the model is none of them.
    """
    named = set(re.findall(r"\w+", words))
    return next((each for each in _COARSE if each in named), "")


def precision_of(path: str) -> frozenset[str]:
    """The element types of a model's weights and casts, and ``quantized`` where operators are.

    Two files with the same answer compute alike, up to rounding. Weights beside the file are
    not read.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    found: set[str] = set()
    for graph in _graphs(model.graph):
        found.update(onnx.TensorProto.DataType.Name(w.data_type) for w in graph.initializer)
        for node in graph.node:
            if any(mark in node.op_type for mark in _QUANTIZED):
                found.add("quantized")
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    found.add(onnx.TensorProto.DataType.Name(attribute.t.data_type))
                elif node.op_type == "Cast" and attribute.name == "to":
                    found.add(onnx.TensorProto.DataType.Name(attribute.i))
    return frozenset(found - _NEUTRAL)


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes, such as the branches of an If."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for each in chain(inner, attribute.graphs):
                yield from _graphs(each)
