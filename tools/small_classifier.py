"""A small image classifier and a labelled dataset of its own, for a full-length compliance run.

A convolutional trunk with random weights from a fixed seed and a last layer fitted by least
squares to images that are one of ten patterns in noise. It classifies most of them, which gives
an accuracy to report, and one inference takes a fraction of a millisecond.

    python tools/small_classifier.py DIRECTORY [--samples 50000]

writes ``small-cnn.onnx`` and ``data/`` (``image.npy`` and ``labels.npy``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

CLASSES, CHANNELS, SIZE = 10, 3, 16
# Channels and stride of each convolution.
LAYERS = ((32, 1), (32, 1), (64, 2))
POOL = 4
NOISE = 2.0
SEED = 11
FITTED_TO = 8192
CHUNK = 4096


def patterns() -> np.ndarray[Any, np.dtype[np.float32]]:
    drawn = np.random.default_rng(SEED).standard_normal((CLASSES, CHANNELS, SIZE, SIZE))
    return drawn.astype(np.float32)


def images(count: int, seed: int) -> tuple[Any, Any]:
    """Images float32 [count, 3, 16, 16], and the class of each."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    x = np.empty((count, CHANNELS, SIZE, SIZE), np.float32)
    known = patterns() / 4
    for start in range(0, count, CHUNK):
        piece = x[start : start + CHUNK]
        piece[...] = random.standard_normal(piece.shape, np.float32) * (NOISE / 2)
        piece += known[labels[start : start + CHUNK]]
    return x, labels


def model(last: Any = None) -> bytes:
    """The trunk alone, with its features as output; or with the last layer ``[features + 1, 10]``
    behind it, whose last row is the bias."""
    random = np.random.default_rng(SEED + 1)
    nodes, weights, channels, value = [], [], CHANNELS, "image"
    for number, (width, stride) in enumerate(LAYERS):
        weight = random.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        nodes += [
            helper.make_node(
                "Conv",
                [value, f"w{number}"],
                [f"c{number}"],
                pads=[1, 1, 1, 1],
                strides=[stride, stride],
            ),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
        ]
        channels, value = width, f"r{number}"
    size = SIZE
    for _, stride in LAYERS:
        size //= stride
    features = channels * (size // POOL) ** 2
    window = [POOL, POOL]
    nodes += [
        helper.make_node("AveragePool", [value], ["pooled"], kernel_shape=window, strides=window),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    output, columns = "features", features
    if last is not None:
        weights.append(numpy_helper.from_array(last[:-1].astype(np.float32), "last"))
        weights.append(numpy_helper.from_array(last[-1].astype(np.float32), "bias"))
        nodes.append(helper.make_node("Gemm", ["features", "last", "bias"], ["scores"]))
        output, columns = "scores", CLASSES
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small-cnn",
        [info("image", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [info(output, TensorProto.FLOAT, ["N", columns])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def fitted() -> bytes:
    x, labels = images(FITTED_TO, SEED + 2)
    session = ort.InferenceSession(model(), providers=["CPUExecutionProvider"])
    features = session.run(None, {"image": x})[0]
    design = np.hstack([features, np.ones((len(features), 1), np.float32)]).astype(np.float64)
    # Ridge: there are almost as many features as images.
    gram = design.T @ design + 50 * np.eye(design.shape[1])
    return model(np.linalg.solve(gram, design.T @ np.eye(CLASSES)[labels]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--samples", type=int, default=50_000)
    given = parser.parse_args()
    data = given.directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    (given.directory / "small-cnn.onnx").write_bytes(fitted())
    x, labels = images(given.samples, SEED + 3)
    np.save(data / "image.npy", x)
    np.save(data / "labels.npy", labels)


if __name__ == "__main__":
    main()
