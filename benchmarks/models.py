"""The models of the benchmarks, built by code into a directory; the same bytes every time.

``python benchmarks/models.py DIRECTORY`` writes them all, about 1.5 GB; with names after it, those.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import bert
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from loadgen_generic.models import resnet50

__all__ = ["MODELS", "BenchModel", "as_float16", "write"]

_OPSET, _IR_VERSION = 13, 8
_SEED = 7
# A convolution of 13 filters over [20, 16, 50, 40], which ONNX Runtime can load.
_FIXED_BATCH = "pytorch-operator/test_operator_conv/model.onnx"


@dataclass(frozen=True)
class BenchModel:
    """What a model is, and how much of it is a fair amount of work.

    Attributes:
        build: makes the serialised model.
        floats: float32 values in one sample; where it holds other types, as many as take the
            same memory.
        fixed_batch: rows of the input where the model fixes them, else 0.
        samples: samples of an Offline run of a given length, and the most that the upstream
            script is given, since it keeps each of them in memory.
        ranges: of integer inputs that mean something, without the upper end.
    """

    build: Callable[[], bytes]
    floats: int
    fixed_batch: int = 0
    samples: int = 100_000
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def identity() -> bytes:
    """``y = x``, float32 [N, 4]: nothing but the cost of a call."""
    return _model([helper.make_node("Identity", ["x"], ["y"])], [4], [4])


def matmul() -> bytes:
    """``y = x @ w``, float32 [N, 64] to [N, 64]."""
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [64], [64], [_weight("w", (64, 64))]
    )


def mlp() -> bytes:
    """784-512-512-10 with ReLU in between, float32 [N, 784] to [N, 10]."""
    sizes = (784, 512, 512, 10)
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    x = "x"
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(sizes) - 2
        weights += [_weight(f"w{layer}", (inputs, outputs)), _weight(f"b{layer}", (outputs,))]
        y = "y" if last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [x, f"w{layer}", f"b{layer}"], [y]))
        if not last:
            x = f"relu{layer}"
            nodes.append(helper.make_node("Relu", [y], [x]))
    return _model(nodes, [784], [10], weights)


def pool() -> bytes:
    """The mean of each channel, float32 [N, 3, 224, 224] to [N, 3, 1, 1]: large samples, cheap."""
    return _model([helper.make_node("GlobalAveragePool", ["x"], ["y"])], [3, 224, 224], [3, 1, 1])


def fixed_batch() -> bytes:
    """A graph with a fixed batch dimension from the backend tests of the onnx package."""
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    return (data / _FIXED_BATCH).read_bytes()


def as_float16(build: Callable[[], bytes]) -> bytes:
    """The model with float16 in place of float32: weights, inputs, outputs and casts."""
    model = onnx.load_from_string(build())
    graph = model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            halved = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(halved, weight.name))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Cast" else ():
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    return bytes(model.SerializeToString())


def _encoder(shape: bert.Shape) -> BenchModel:
    return BenchModel(
        partial(bert.build, shape),
        floats=3 * shape.tokens * 2,
        samples=256,
        ranges={
            "input_ids": (0, shape.words),
            "attention_mask": (1, 2),
            "token_type_ids": (0, 2),
        },
    )


MODELS = {
    "identity": BenchModel(identity, 4, samples=300_000),
    "matmul": BenchModel(matmul, 64, samples=300_000),
    "mlp": BenchModel(mlp, 784, samples=100_000),
    "resnet50": BenchModel(resnet50.build, 3 * 224 * 224, samples=256),
    "fixed": BenchModel(fixed_batch, 16 * 50 * 40, fixed_batch=20, samples=20_000),
    "pool": BenchModel(pool, 3 * 224 * 224, samples=10_000),
    "bert": _encoder(bert.BASE),
    "bert-384": _encoder(replace(bert.BASE, tokens=384)),
    "bert-mini": _encoder(bert.Shape(layers=4, width=256, heads=4, inner=1024, tokens=64)),
    "bert-tiny": _encoder(bert.Shape(2, 64, 4, 128, 1000, 16)),
}
MODELS |= {
    f"{name}-float16": replace(
        MODELS[name],
        build=partial(as_float16, MODELS[name].build),
        # Only float32 inputs shrink.
        floats=MODELS[name].floats if MODELS[name].ranges else MODELS[name].floats // 2,
    )
    for name in ("mlp", "resnet50", "bert", "bert-384", "bert-tiny")
}


def write(name: str, directory: Path) -> Path:
    """The file of that model in ``directory``, built if missing."""
    path = directory / f"{name}.onnx"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_bytes(MODELS[name].build())
        os.replace(aside, path)
    return path


def _weight(name: str, shape: tuple[int, ...]) -> TensorProto:
    random = np.random.default_rng([_SEED, *name.encode()])
    scale = np.float32(shape[0] ** -0.5)
    return numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32) * scale, name)


def _model(
    nodes: Sequence[NodeProto],
    sample: Sequence[int],
    answer: Sequence[int],
    weights: Sequence[TensorProto] = (),
) -> bytes:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "bench",
        [info("x", TensorProto.FLOAT, ["N", *sample])],
        [info("y", TensorProto.FLOAT, ["N", *answer])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    return bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write models of the benchmarks.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODELS)} (all)")
    given = parser.parse_args()
    for name in given.names or MODELS:
        print(write(name, given.directory))


if __name__ == "__main__":
    main()
