"""A model of one convolution and one addition, to see whether a provider computes at all.

The convolution matters: on a GPU it is what needs cuDNN, which ONNX Runtime may load late.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPE", "expected", "write"]

SHAPE = (1, 1, 4, 4)
_FACTOR = 2.0
_IR_VERSION, _OPSET = 8, 13


def write(path: Path) -> None:
    """Write the model: ``y = conv(x, w) + x``, float32 of ``SHAPE``."""
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.full((1, 1, 1, 1), _FACTOR, np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["scaled"]),
        helper.make_node("Add", ["scaled", "x"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "smallest", [x], [y], [weight])
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    path.write_bytes(model.SerializeToString())


def expected(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model answers for ``x``."""
    return values * np.float32(_FACTOR + 1)
