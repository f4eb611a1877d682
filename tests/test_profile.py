"""Which operators take the time: the pass of ONNX Runtime's profiler after the test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from command import Command
from onnx import TensorProto, helper

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.errors import RunError
from loadgen_generic.report.operators import operator_lines
from loadgen_generic.results.profile import PROFILE_FILE, OperatorTime, Profile
from loadgen_generic.seams import Batch

FEW = {"samples": 5, "warmup_queries": 0}


def layers() -> bytes:
    """Two products, which fuse with the sums behind them, and a Loop of ten more."""
    rng = np.random.default_rng(0)
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, rng.random(shape).ravel())
        for name, shape in (("w1", (64, 64)), ("b1", (64,)), ("w2", (64, 64)), ("b2", (64,)))
    ]
    weights.append(helper.make_tensor("ten", TensorProto.INT64, [], [10]))
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Softmax", ["v"], ["v_next"], name="inner"),
        ],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("going", TensorProto.BOOL, []),
            info("v", TensorProto.FLOAT, None),
        ],
        [info("still", TensorProto.BOOL, []), info("v_next", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["g"], name="second"),
        helper.make_node("Relu", ["g"], ["r"], name="positive"),
        helper.make_node("Loop", ["ten", "", "r"], ["y"], name="ten_times", body=body),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [info("x", TensorProto.FLOAT, ["N", 64])],
        [info("y", TensorProto.FLOAT, ["N", 64])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profiled") / "layers.onnx"
    path.write_bytes(layers())
    return path


def endless(batch: int) -> Iterator[Batch]:
    return repeat(Batch(batch, (np.ones((batch, 64), np.float32),)))


def spec_of(path: Path) -> BackendSpec:
    return BackendSpec("onnxruntime", str(path), "cpu", 1, 1, "sequential")


def test_the_operators_of_the_optimised_graph(model: Path, tmp_path: Path) -> None:
    backend = create_backend(spec_of(model))
    backend.load()
    beats: list[int] = []
    profile = Profile.model_validate(
        backend.profiler().run(endless(4), tmp_path / PROFILE_FILE, lambda: beats.append(1))
    )
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    assert b"FusedGemm" in (tmp_path / "optimised.onnx").read_bytes()

    kinds = {each.kind: each for each in profile.operators}
    assert set(kinds) >= {"Gemm", "FusedGemm", "Loop", "Softmax"}
    assert "Relu" not in kinds  # fused
    assert sum(each.share for each in profile.operators) == pytest.approx(1)
    assert sum(each.share for each in profile.nodes) == pytest.approx(1)
    times = [each.total_us for each in profile.operators]
    assert times == sorted(times, reverse=True)
    assert {each.provider for each in profile.operators} == {"CPUExecutionProvider"}
    # The warm-up is not in it, and each inference ran the loop ten times.
    assert profile.inferences == len(beats) - 3 == 50
    assert profile.batch_size == 4
    assert (kinds["Gemm"].nodes, kinds["Gemm"].calls) == (1, 50)
    assert (kinds["Softmax"].nodes, kinds["Softmax"].calls) == (1, 500)
    # What ran inside the loop is not charged twice.
    assert sum(times) <= profile.inference_us * profile.inferences
    trace = json.loads((tmp_path / PROFILE_FILE).read_text())
    lasted = sum(e["dur"] for e in trace if e["name"] == "ten_times_kernel_time")
    assert 0 < kinds["Loop"].total_us < lasted - kinds["Softmax"].total_us / 2
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []


def test_a_pass_that_fails_is_a_run_error(model: Path, tmp_path: Path) -> None:
    backend = create_backend(spec_of(model))
    backend.load()
    wrong = repeat(Batch(1, (np.ones((1, 63), np.float32),)))
    with pytest.raises(RunError, match="under the profiler"):
        backend.profiler().run(wrong, tmp_path / PROFILE_FILE, lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_profile_in_the_result_and_on_the_terminal(command: Command, model: Path) -> None:
    outcome = command.run(model, profile=True, batch_size=2, **FEW)
    profile = outcome.result.profile
    assert profile is not None
    assert profile.batch_size == 2
    assert profile.file == str(outcome.run_dir / PROFILE_FILE)
    assert json.loads(Path(profile.file).read_text("utf-8"))
    slowest = profile.operators[0]
    assert re.search(
        rf"^ +{slowest.kind} +1 node +{100 * slowest.share:.1f} % +[\d.]+ (ns|us|ms)$",
        outcome.stdout,
        re.MULTILINE,
    )
    assert "for a batch of 2 samples under ONNX Runtime's profiler" in outcome.stdout


def test_the_fake_backend_is_refused_before_the_test(command: Command) -> None:
    outcome = command.fake(profile=True, **FEW)
    assert outcome.code == 2
    assert "--profile: the fake backend has no operators" in outcome.stderr
    assert not (outcome.run_dir / "mlperf_log_detail.txt").exists()


def test_samples_of_several_shapes(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(models("sequence"), profile=True, dim="seq=2:5", batch_size=2, samples=20)
    profile = outcome.result.profile
    assert profile is not None
    assert (profile.inferences, profile.batch_size) == (50, 2)


def test_a_pass_that_fails_does_not_lose_the_result(command: Command, model: Path) -> None:
    """A trace that cannot be written, since something is in its place."""
    (command.directory / "out").mkdir()
    (command.directory / "out" / PROFILE_FILE).mkdir()
    outcome = command.run(model, profile=True, **FEW)
    assert outcome.code == 0
    assert outcome.result.profile is None
    assert "no profile: ONNX Runtime's profile cannot be read" in outcome.stderr


def test_only_the_kinds_that_take_nine_tenths_are_shown() -> None:
    def kind(name: str, share: float, nodes: int = 2) -> OperatorTime:
        return OperatorTime(
            name=name,
            kind=name,
            provider="CPUExecutionProvider",
            nodes=nodes,
            calls=20,
            total_us=share * 1e4,
            share=share,
        )

    operators = [kind("Conv", 0.6), kind("Gemm", 0.31, 1), kind("Add", 0.05), kind("Mul", 0.04)]
    profile = Profile(
        inferences=10, batch_size=1, inference_us=1100, operators=operators, nodes=[], file="f"
    )
    assert operator_lines(profile) == [
        "time of the operators, of 1.10 ms for a sample under ONNX Runtime's profiler:",
        "  Conv           2 nodes  60.0 %   600 us",
        "  Gemm            1 node  31.0 %   310 us",
        "  2 other kinds  4 nodes   9.0 %  90.0 us",
    ]
    even = [kind(f"Kind{number}", 0.05) for number in range(20)]
    lines = operator_lines(profile.model_copy(update={"operators": even}))
    assert len(lines) == 1 + 8 + 1
    assert lines[-1].split()[:3] == ["12", "other", "kinds"]
