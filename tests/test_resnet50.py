"""The demo model: the true graph, the same bytes every time, built once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from loadgen_generic.errors import RunError
from loadgen_generic.models import builtin_model, resnet50


@pytest.fixture(scope="module")
def content() -> bytes:
    return resnet50.build()


@pytest.fixture(scope="module")
def model(content: bytes) -> onnx.ModelProto:
    return onnx.load_model_from_string(content)


def attribute(node: onnx.NodeProto, name: str) -> list[int]:
    return next(list(a.ints) for a in node.attribute if a.name == name)


def test_onnx_accepts_it(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)


def test_layers(model: onnx.ModelProto) -> None:
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Conv"] == 53
    assert kinds["Relu"] == 49
    assert kinds["Add"] == 16
    assert (kinds["MaxPool"], kinds["GlobalAveragePool"], kinds["Gemm"]) == (1, 1, 1)


def test_parameters(model: onnx.ModelProto) -> None:
    """25,557,032 in the published network, batch normalisation (2 x 26,560) folded to biases."""
    parameters = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert parameters == 25_557_032 - 2 * 26_560 + 26_560
    assert round(parameters / 1e6, 1) == 25.5


def test_it_is_v1_5(model: onnx.ModelProto) -> None:
    """A block that halves the image does so in its 3x3 convolution."""
    halving = [
        n for n in model.graph.node if n.op_type == "Conv" and attribute(n, "strides")[0] > 1
    ]
    shapes = Counter(tuple(attribute(node, "kernel_shape")) for node in halving)
    assert shapes == {(7, 7): 1, (3, 3): 3, (1, 1): 3}  # the 1x1 are the three shortcuts
    assert all(node.output[0] not in (n.input[0] for n in halving) for node in halving[1:])


def test_batch_is_dynamic_and_the_numbers_are_sound(content: bytes) -> None:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input", "tensor(float)", ["N", 3, 224, 224])
    ]
    images = np.random.default_rng(0).random((2, 3, 224, 224), dtype=np.float32)
    (both,) = session.run(["logits"], {"input": images})
    (second,) = session.run(["logits"], {"input": images[1:]})
    assert both.shape == (2, 1000)
    assert np.isfinite(both).all()
    assert np.abs(both).max() < 1e3
    assert both.std() > 1e-3, "the image reaches the output"
    np.testing.assert_allclose(both[1:], second, rtol=1e-3, atol=1e-4)
    assert not np.allclose(both[0], both[1])


def test_same_bytes_every_time(content: bytes) -> None:
    assert hashlib.sha256(resnet50.build()).digest() == hashlib.sha256(content).digest()


def test_built_once(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []

    def build() -> bytes:
        builds.append(1)
        return content

    monkeypatch.setattr(resnet50, "build", build)
    cache = tmp_path / "deep" / "cache"
    first = builtin_model("demo", cache)
    assert builtin_model("demo", cache) == first
    assert len(builds) == 1
    assert first.read_bytes() == content
    assert list(cache.iterdir()) == [first]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError("no space left")])
def test_an_interrupted_build_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bytes:
        raise error

    monkeypatch.setattr(resnet50, "build", fail)
    with pytest.raises(BaseException, match=r"no space left|^$"):
        resnet50.cached(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loadgen_generic import BenchmarkConfig, run

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RunError, match="LOADGEN_GENERIC_CACHE"):
        run(BenchmarkConfig.model_validate({"model": "demo"}))
