"""A BERT-base-shaped encoder, built by code.

Twelve layers of width 768 with 12 heads, an inner width of 3072 and 30,522 words, as exporters
write it (Gelu by Erf, attention by MatMul and Softmax), and a head that gives each token two
logits, as for questions about a text. The weights are random, so it understands nothing, but it
does the same arithmetic. The batch is open, the length of a text is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["BASE", "Shape", "build"]

_OPSET, _IR_VERSION = 17, 8
_SEED = 12
_SPREAD = 0.02  # standard deviation of the weights, as the published model starts with
_EPSILON = 1e-12
# Far below any score, and within the range of float16.
_MASKED = -10_000.0


@dataclass(frozen=True)
class Shape:
    """How large an encoder is; ``tokens`` is the length of a text."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    inner: int = 3072
    words: int = 30_522
    tokens: int = 128


BASE = Shape()


def build(shape: Shape = BASE) -> bytes:
    """The serialised model: int64 [N, tokens] inputs ``input_ids``, ``attention_mask`` (1 for a
    token that counts) and ``token_type_ids`` (0 or 1); output ``logits`` float32 [N, tokens, 2]."""
    graph = _Graph()
    x = _embedding(graph, shape)
    mask = _mask(graph)
    for layer in range(shape.layers):
        x = _layer(graph, shape, f"layer{layer}", x, mask)
    graph.dense("head", x, shape.width, 2)
    graph.nodes[-1].output[0] = "logits"
    info = helper.make_tensor_value_info
    names = ("input_ids", "attention_mask", "token_type_ids")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [info(name, TensorProto.INT64, ["N", shape.tokens]) for name in names],
            [info("logits", TensorProto.FLOAT, ["N", shape.tokens, 2])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    return bytes(model.SerializeToString())


@dataclass
class _Graph:
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(_SEED))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def number(self, name: str, value: float) -> str:
        """A float32 scalar, kept once."""
        if all(weight.name != name for weight in self.weights):
            self.constant(name, np.array(value, np.float32))
        return name

    def weight(self, name: str, *sizes: int) -> str:
        values = self.random.standard_normal(sizes, dtype=np.float32) * np.float32(_SPREAD)
        return self.constant(name, values)

    def dense(self, name: str, x: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.weight(f"{name}.weight", inputs, outputs))
        return self.node("Add", product, self.weight(f"{name}.bias", outputs))

    def norm(self, name: str, x: str, width: int) -> str:
        scale = self.constant(f"{name}.scale", np.ones(width, np.float32))
        bias = self.constant(f"{name}.bias", np.zeros(width, np.float32))
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=_EPSILON)


def _embedding(graph: _Graph, shape: Shape) -> str:
    words = graph.node("Gather", graph.weight("words", shape.words, shape.width), "input_ids")
    types = graph.node("Gather", graph.weight("types", 2, shape.width), "token_type_ids")
    places = graph.weight("places", 1, shape.tokens, shape.width)
    total = graph.node("Add", graph.node("Add", words, types), places)
    return graph.norm("embedding", total, shape.width)


def _mask(graph: _Graph) -> str:
    """What is added to the scores: 0 for a token that counts, else ``_MASKED``; [N, 1, 1, tokens]."""
    kept = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    axes = graph.constant("mask.axes", np.array([1, 2], np.int64))
    away = graph.node("Sub", graph.number("one", 1), graph.node("Unsqueeze", kept, axes))
    return graph.node("Mul", away, graph.number("masked", _MASKED))


def _layer(graph: _Graph, shape: Shape, name: str, x: str, mask: str) -> str:
    seen = graph.norm(
        f"{name}.seen", graph.node("Add", _attention(graph, shape, name, x, mask), x), shape.width
    )
    inner = graph.dense(f"{name}.inner", seen, shape.width, shape.inner)
    inner = graph.dense(f"{name}.outer", _gelu(graph, inner), shape.inner, shape.width)
    return graph.norm(f"{name}.out", graph.node("Add", inner, seen), shape.width)


def _attention(graph: _Graph, shape: Shape, name: str, x: str, mask: str) -> str:
    size = shape.width // shape.heads
    apart = np.array([0, shape.tokens, shape.heads, size], np.int64)  # 0: as the batch is
    together = np.array([0, shape.tokens, shape.width], np.int64)

    def heads(part: str, order: list[int]) -> str:
        dense = graph.dense(f"{name}.{part}", x, shape.width, shape.width)
        split = graph.constant(f"{name}.{part}.shape", apart)
        return graph.node("Transpose", graph.node("Reshape", dense, split), perm=order)

    query, key = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])
    scores = graph.node("MatMul", query, key)
    scores = graph.node("Div", scores, graph.number("root", size**0.5))
    shares = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
    value = graph.node("MatMul", shares, heads("value", [0, 2, 1, 3]))
    value = graph.node("Transpose", value, perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", value, graph.constant(f"{name}.joined", together))
    return graph.dense(f"{name}.attended", joined, shape.width, shape.width)


def _gelu(graph: _Graph, x: str) -> str:
    """x / 2 * (1 + erf(x / sqrt 2))."""
    erf = graph.node("Erf", graph.node("Div", x, graph.number("root2", 2**0.5)))
    product = graph.node("Mul", x, graph.node("Add", erf, graph.number("one", 1)))
    return graph.node("Mul", product, graph.number("half", 0.5))
