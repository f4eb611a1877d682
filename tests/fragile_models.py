"""ONNX models that break under coarse arithmetic: a small result is the difference of two large ones.

Both large ones are products with the data, so that no optimiser can cancel them, and both are
rounded before they are subtracted. At the default ``ratio`` float32 keeps four digits of the
difference, bfloat16 and int8 hardly one. At a ratio of 0.1 the same networks are harmless.
"""

from __future__ import annotations

import numpy as np
from graph_models import FLOAT, graph_model
from onnx import helper

__all__ = ["fragile_conv", "fragile_mlp"]

_RATIO = 256.0  # of the large part to the small one
_CLASSES = 10


def fragile_mlp(width: int = 64, ratio: float = _RATIO) -> bytes:
    """``y = h @ (u @ v + small) - (h @ u) @ v`` of a hidden layer: ``x`` float32 [N, width] to ``y``
    float32 [N, 10]; more work with a larger width."""
    random = np.random.default_rng(7)
    make = helper.make_node
    nodes = [
        make("Gemm", ["x", "first", "bias"], ["sums"]),
        make("Relu", ["sums"], ["h"]),
        make("MatMul", ["h", "both"], ["shifted"]),
        make("MatMul", ["h", "u"], ["total"]),
        make("MatMul", ["total", "v"], ["shift"]),
        make("Sub", ["shifted", "shift"], ["y"]),
    ]
    u = ratio / width * random.uniform(0.5, 1.5, (width, 1))
    v = random.uniform(0.5, 1.5, (1, _CLASSES))
    small = random.normal(size=(width, _CLASSES)) / np.sqrt(width)
    return graph_model(
        nodes,
        [("x", FLOAT, ["N", width])],
        [("y", FLOAT, ["N", _CLASSES])],
        first=(random.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32),
        bias=np.full(width, 0.5, np.float32),
        both=(u @ v + small).astype(np.float32),
        u=u.astype(np.float32),
        v=v.astype(np.float32),
    )


def fragile_conv(channels: int = 8, size: int = 16, ratio: float = _RATIO) -> bytes:
    """``conv(h, large + small) - conv(h, large)`` and a classifier: ``x`` float32
    [N, 3, size, size] to ``y`` float32 [N, 10]."""
    random = np.random.default_rng(8)
    make = helper.make_node
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        make("Conv", ["x", "first"], ["sums"], **padded),
        make("Relu", ["sums"], ["h"]),
        make("Conv", ["h", "both"], ["shifted"], **padded),
        make("Conv", ["h", "large"], ["shift"], **padded),
        make("Sub", ["shifted", "shift"], ["features"]),
        make("Flatten", ["features"], ["flat"]),
        make("Gemm", ["flat", "classes"], ["y"]),
    ]
    kernel = (channels, channels, 3, 3)
    taps = 9 * channels
    large = ratio / taps * random.uniform(0.5, 1.5, kernel)
    small = random.normal(size=kernel) / np.sqrt(taps)
    features = channels * size * size
    return graph_model(
        nodes,
        [("x", FLOAT, ["N", 3, size, size])],
        [("y", FLOAT, ["N", _CLASSES])],
        first=random.normal(size=(channels, 3, 3, 3)).astype(np.float32) / 3,
        both=(large + small).astype(np.float32),
        large=large.astype(np.float32),
        classes=(random.normal(size=(features, _CLASSES)) / np.sqrt(features)).astype(np.float32),
    )
