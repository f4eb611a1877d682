"""Graphs with the signatures of MLPerf's reference models, and answers known beforehand.

The weights are chosen so that each answer tells how the images were prepared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["GRID", "resnet50", "retinanet"]

Colour = npt.NDArray[np.float64]

CLASSES = 1001  # class 0 is the background
GRID = 4  # retinanet looks at so many cells along each side of the image
# What images of 0 to 255 are less, in MLPerf's preparation.
MEAN = np.array([123.68, 116.78, 103.94])
# Near it, but of other networks.
OTHER_MEAN = np.array([123.675, 116.28, 103.53])
OTHER_DEVIATION = np.array([58.395, 57.12, 57.375])
DECOY = 999

node, info = helper.make_node, helper.make_tensor_value_info


def resnet50(
    colours: Sequence[Colour], classes: Sequence[int], rim: Colour, shares: Sequence[float]
) -> bytes:
    """Names the class of the nearest colour, ``input_tensor:0`` float32 [N, 3, 224, 224] to
    ``ArgMax:0`` int64 [N] and ``softmax_tensor:0`` float32 [N, 1001].

    Args:
        colours: RGB of 0 to 255, the mean over a well prepared image; each has its class.
        rim: colour of what a well prepared image has lost.
        shares: how much of the image would be the colour, were it cropped in other ways.
    """
    points: dict[int, Colour] = {}
    for colour, each in zip(colours, classes, strict=True):
        points[each] = colour - MEAN
    # What the same images would be if they were prepared in some other way.
    wrong = [
        way
        for colour in colours
        for way in (
            colour,
            colour / 255,
            colour - OTHER_MEAN,
            (colour - OTHER_MEAN) / OTHER_DEVIATION,
            colour[::-1] - MEAN,
            (colour - MEAN) / 255,
            *(share * colour + (1 - share) * rim - MEAN for share in shares),
        )
    ]
    points |= {DECOY - position: point for position, point in enumerate(wrong)}
    weight = np.zeros((3, CLASSES))
    bias = np.full(CLASSES, -1e5)
    for each, point in points.items():
        # The nearest point has the largest x.p - |p|^2 / 2.
        weight[:, each], bias[each] = point, -(point @ point) / 2
    nodes = [
        node("GlobalAveragePool", ["input_tensor:0"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        node("ArgMax", ["logits"], ["ArgMax:0"], axis=1, keepdims=0),
        node("Softmax", ["logits"], ["softmax_tensor:0"], axis=1),
    ]
    return _model(
        nodes,
        [info("input_tensor:0", TensorProto.FLOAT, ["unk__616", 3, 224, 224])],
        [
            info("ArgMax:0", TensorProto.INT64, ["unk__617"]),
            info("softmax_tensor:0", TensorProto.FLOAT, ["unk__618", CLASSES]),
        ],
        {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)},
    )


def retinanet(batch: int | str, size: int = 800, threshold: float = 0.5) -> bytes:
    """Finds the cells of a 4x4 grid whose mean red is over the threshold, ``images`` float32
    [batch, 3, size, size] to ``boxes`` float32 [n, 4], ``scores`` float32 [n] (the mean red) and
    ``labels`` int64 [n] (the cell). Looks at the first image of a batch only."""
    side = size // GRID
    boxes = [
        [side * x, side * y, side * (x + 1), side * (y + 1)]
        for y in range(GRID)
        for x in range(GRID)
    ]
    nodes = [
        node("AveragePool", ["images"], ["cells"], kernel_shape=[side] * 2, strides=[side] * 2),
        node("Gather", ["cells", "first"], ["image"], axis=0),
        node("Gather", ["image", "first"], ["red"], axis=0),
        node("Reshape", ["red", "flat"], ["all_scores"]),
        node("Greater", ["all_scores", "threshold"], ["found"]),
        node("NonZero", ["found"], ["places"]),
        node("Reshape", ["places", "flat"], ["which"]),
        node("Gather", ["all_boxes", "which"], ["boxes"], axis=0),
        node("Gather", ["all_scores", "which"], ["scores"], axis=0),
        node("Identity", ["which"], ["labels"]),
    ]
    return _model(
        nodes,
        [info("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [
            info("boxes", TensorProto.FLOAT, ["found", 4]),
            info("scores", TensorProto.FLOAT, ["found"]),
            info("labels", TensorProto.INT64, ["found"]),
        ],
        {
            "first": np.array(0),
            "flat": np.array([-1]),
            "threshold": np.float32(threshold),
            "all_boxes": np.array(boxes, np.float32),
        },
    )


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[object],
    outputs: Sequence[object],
    weights: dict[str, object],
) -> bytes:
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()]
    graph = helper.make_graph(nodes, "reference", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    return bytes(model.SerializeToString())
