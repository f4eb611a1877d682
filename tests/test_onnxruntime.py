"""The ONNX Runtime backend: providers, options read back, outputs, errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from graph_models import FLOAT, graph_model
from onnx import helper

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.backends.onnxruntime import resolve_provider
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.seams import Batch

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
QNN = "QNNExecutionProvider"  # without particulars of ours


def spec(path: Path, **changes: object) -> BackendSpec:
    plain = BackendSpec("onnxruntime", str(path), CPU, 1, 1, "sequential")
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [CPU, "cpu", "CPU"])
def test_provider_names(name: str) -> None:
    assert resolve_provider(name) == CPU


def test_provider_unknown_to_onnxruntime() -> None:
    with pytest.raises(RequestError, match=r"--ep abacus: .*knows no such"):
        resolve_provider("abacus")


def test_provider_that_this_build_lacks() -> None:
    missing = next(p for p in ort.get_all_providers() if p not in ort.get_available_providers())
    with pytest.raises(RunError, match=rf"{missing}: .* was built without it"):
        resolve_provider(missing)


def test_provider_that_is_there_and_does_not_start(
    models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would run on the CPU and say nothing."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [QNN, CPU])
    real = ort.InferenceSession

    def fall_back(path: str, options: ort.SessionOptions, **_: object) -> ort.InferenceSession:
        return real(path, options, providers=[CPU])

    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    backend = create_backend(spec(models("matmul"), execution_provider=QNN))
    with pytest.raises(RunError) as raised:
        backend.load()
    assert raised.value.exit_code == 1
    for word in (QNN, "did not start", CPU, "harness.log"):
        assert word in str(raised.value)


def test_provider_whose_session_raises(
    models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [QNN, CPU])

    def raise_(*_: object, **__: object) -> None:
        raise RuntimeError("QNN failure 35: the backend library is too old")

    monkeypatch.setattr(ort, "InferenceSession", raise_)
    backend = create_backend(spec(models("matmul"), execution_provider=QNN))
    with pytest.raises(RunError, match=rf"{QNN}.*the backend library is too old"):
        backend.load()


@pytest.mark.skipif(
    CUDA not in ort.get_available_providers() or shutil.which("nvidia-smi") is not None,
    reason="needs onnxruntime-gpu on a machine without a GPU",
)
def test_cuda_without_a_gpu(models: Callable[[str], Path]) -> None:
    backend = create_backend(spec(models("matmul"), execution_provider=CUDA))
    with pytest.raises(RunError, match=CUDA):
        backend.load()


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_options_are_read_back_from_the_session(mode: str, models: Callable[[str], Path]) -> None:
    options = {"session.intra_op.allow_spinning": "0"}
    backend = create_backend(
        spec(
            models("matmul"),
            intra_op_threads=3,
            inter_op_threads=2,
            execution_mode=mode,
            options=options,
        )
    )
    backend.load()
    assert backend.effective() == {
        "execution_provider": CPU,
        "intra_op_threads": 3,
        "inter_op_threads": 2,
        "execution_mode": mode,
        "graph_optimization": "all",
        "backend_options": options,
        "optimized_model": "off: not asked for",
        "precision": "as the model",
        "ep_options": {},
        "allow_fallback": False,
    }
    assert backend.providers() == [CPU]


def test_levels_of_graph_optimization_differ_by_rounding(tmp_path: Path) -> None:
    """A convolution that the level all lays out anew, from more channels than one."""
    path = tmp_path / "conv.onnx"
    weight = np.random.default_rng(1).normal(size=(16, 16, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    shape = ["N", 16, 8, 8]
    path.write_bytes(graph_model([node], [("x", FLOAT, shape)], [("y", FLOAT, shape)], w=weight))
    x = np.random.default_rng(2).normal(size=(2, 16, 8, 8)).astype(np.float32)
    answers = {}
    for level in ("all", "extended", "basic", "disabled"):
        backend = create_backend(spec(path, graph_optimization=level))
        backend.load()
        assert backend.effective()["graph_optimization"] == level
        worker = backend.worker()
        worker.infer(Batch(2, (x,)))
        answers[level] = np.array(worker.outputs()[0])
    for level, answer in answers.items():
        np.testing.assert_allclose(answer, answers["disabled"], rtol=1e-4, atol=1e-4, err_msg=level)


def test_signature(models: Callable[[str], Path]) -> None:
    signature = create_backend(spec(models("two_inputs"))).load()
    assert [i.describe() for i in signature.inputs] == [
        "a: tensor(float)[Nx4]",
        "b: tensor(int64)[Nx4]",
    ]
    assert [i.dtype for i in signature.inputs] == [np.float32, np.int64]
    scalar = create_backend(spec(models("scalar"))).load().inputs[0]
    assert scalar.shape == ()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["matmul", "identity", "float16", "bool"])
def test_outputs_equal_a_plain_run(name: str, count: int, models: Callable[[str], Path]) -> None:
    backend = create_backend(spec(models(name)))
    dtype = backend.load().inputs[0].dtype
    worker = backend.worker()
    plain = ort.InferenceSession(str(models(name)), providers=[CPU])
    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.integers(0, 2, (count, 4)).astype(dtype)
        worker.infer(Batch(count, (x,)))
        (expected,) = plain.run(None, {"x": x})
        (got,) = worker.outputs()
        np.testing.assert_array_equal(got, expected)


def test_a_batch_runs_again_on_what_its_memory_holds_then(
    models: Callable[[str], Path],
) -> None:
    """The handle that is kept with a batch is a view of its arrays, not a copy."""
    backend = create_backend(spec(models("identity")))
    backend.load()
    worker = backend.worker()
    batch = Batch(2, (np.zeros((2, 4), np.float32),))
    worker.infer(batch)
    batch.arrays[0][:] = 5
    worker.infer(batch)
    np.testing.assert_array_equal(worker.outputs()[0], 5)
