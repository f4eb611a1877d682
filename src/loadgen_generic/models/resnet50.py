"""ResNet-50 v1.5, built by code.

The graph of the network that MLPerf measures (the stride of a down-sampling block sits on its
3x3 convolution, which is what v1.5 means), with batch normalisation folded into the
convolutions as in any deployed model, He-initialised weights from a fixed seed, and a dynamic
batch dimension. It cannot classify anything, but it does the same arithmetic.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

__all__ = ["build", "cached"]

SEED = 50
# (blocks, width of the 3x3 convolution, stride of the first block)
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
EXPANSION = 4
CLASSES = 1000
# Scales down the last convolution of each block, so that sixteen residual additions do not
# overflow the activations.
RESIDUAL_SCALE = 0.1
IR_VERSION, OPSET = 8, 13


def cached(cache_dir: Path) -> Path:
    """The model file in ``cache_dir``, keyed by what it is built from; built if missing."""
    recipe = Path(__file__).read_bytes()
    path = cache_dir / f"resnet50-v1.5-{hashlib.sha256(recipe).hexdigest()[:12]}.onnx"
    if not path.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: two first runs at once, or an interrupted one, leave no
        # half model behind.
        handle, aside = tempfile.mkstemp(dir=cache_dir, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(build())
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    return path


def build() -> bytes:
    """The serialised model: input ``input`` float32 [N, 3, 224, 224], output ``logits``
    float32 [N, 1000]."""
    from onnx import TensorProto, helper

    graph = _Graph()
    x = graph.conv("input", 3, 64, kernel=7, stride=2, relu=True)
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for blocks, width, stride in STAGES:
        for block in range(blocks):
            x = graph.bottleneck(x, channels, width, stride if block == 0 else 1)
            channels = width * EXPANSION
    x = graph.node("GlobalAveragePool", [x])
    x = graph.node("Flatten", [x], axis=1)
    graph.linear(x, channels, CLASSES, "logits")
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "resnet50-v1.5",
            [info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [info("logits", TensorProto.FLOAT, ["N", CLASSES])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="loadgen-generic",
    )
    return bytes(model.SerializeToString())


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(SEED)

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        relu: bool = False,
        scale: float = 1.0,
    ) -> str:
        fan_in = inputs * kernel * kernel
        weight = self._weight((outputs, inputs, kernel, kernel), scale * (2.0 / fan_in) ** 0.5)
        bias = self._weight((outputs,), 0.01)
        y = self.node(
            "Conv",
            [x, weight, bias],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )
        return self.node("Relu", [y]) if relu else y

    def bottleneck(self, x: str, inputs: int, width: int, stride: int) -> str:
        outputs = width * EXPANSION
        y = self.conv(x, inputs, width, kernel=1, relu=True)
        y = self.conv(y, width, width, kernel=3, stride=stride, relu=True)
        y = self.conv(y, width, outputs, kernel=1, scale=RESIDUAL_SCALE)
        if inputs != outputs or stride != 1:
            x = self.conv(x, inputs, outputs, kernel=1, stride=stride)
        return self.node("Relu", [self.node("Add", [y, x])])

    def linear(self, x: str, inputs: int, outputs: int, name: str) -> str:
        weight = self._weight((inputs, outputs), (1.0 / inputs) ** 0.5)
        bias = self._weight((outputs,), 0.01)
        return self.node("Gemm", [x, weight, bias], name)

    def _weight(self, shape: tuple[int, ...], deviation: float) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
        self.weights.append(numpy_helper.from_array(values, name))
        return name
