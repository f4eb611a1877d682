"""int8 versions of a model: made once on the samples of a run, right where they can be, and refused
by the verification where they cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fragile_models
import numpy as np
import onnx
import psutil
import pytest
import tiny_models
from command import Command
from graph_models import graph_model
from onnx import TensorProto, helper

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import here, known, starting
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.quantization import Quantized, keeping, quantized, watching
from loadgen_generic.quantization.calibration import Calibration
from loadgen_generic.quantization.recipe import MOST_SAMPLES
from loadgen_generic.results.result import read_result

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
HARMLESS = 0.1  # ratio of a fragile model that is none


def config_of(**options: Any) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate({"distinct_samples": 32, **options})


def int8_of(model: Path, directory: Path | None = None, **options: Any) -> Quantized:
    return quantized(config_of(**options), str(model), directory or model.parent, print)


def face(path: Path) -> list[list[tuple[str, int]]]:
    """Names and element types of inputs and outputs."""
    graph = onnx.load(path, load_external_data=False).graph
    return [
        [(i.name, i.type.tensor_type.elem_type) for i in infos]
        for infos in (graph.input, graph.output)
    ]


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of convolutions, beside its int8 version."""
    path = tmp_path_factory.mktemp("conv") / "conv.onnx"
    path.write_bytes(fragile_models.fragile_conv(ratio=HARMLESS))
    int8_of(path)
    return path


@pytest.fixture
def beside(conv: Path, tmp_path: Path) -> Path:
    """A copy of it for a test to spoil."""
    shutil.copytree(conv.parent, tmp_path / "copy")
    return tmp_path / "copy" / conv.name


class AskedError(Exception):
    """The process that quantises would be started."""


def made_anew(model: Path, directory: Path | None = None, **options: Any) -> bool:
    """Whether a call makes a file, which it is kept from."""

    def asked(*_: object) -> None:
        raise AskedError

    with pytest.MonkeyPatch.context() as kept:
        kept.setattr(keeping, "watch", asked)
        try:
            int8_of(model, directory, **options)
        except AskedError:
            return True
        return False


def test_names_and_types_stay_and_the_file_says_how(conv: Path) -> None:
    made = int8_of(conv)
    assert made.path == conv.with_name("conv-int8.onnx")
    assert face(made.path) == face(conv)
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made.path)
    how = json.loads(made.path.with_suffix(".json").read_text("utf-8"))
    assert how["operators"]["Conv"] == 3
    assert how["operators"]["Gemm"] == 1
    assert (how["format"], how["method"], how["activations"]) == ("QDQ", "MinMax", "uint8")
    assert how["weights"].startswith("int8")
    assert how["per_channel"]
    assert how["onnxruntime_version"] in made.computed_on
    assert made.samples == how["samples"] == 32
    assert "MinMax over 32 samples with generated values" in made.words
    assert {path.name for path in conv.parent.iterdir()} == {
        "conv.onnx",
        "conv-int8.onnx",
        "conv-int8.json",
    }


def test_it_is_made_once_for_a_model_and_its_samples(beside: Path) -> None:
    assert not made_anew(beside)
    assert not made_anew(beside, scenario="Offline", execution_provider="openvino")
    assert made_anew(beside, seed=1)
    assert made_anew(beside, value_range={"x": "-1:1"})
    beside.write_bytes(fragile_models.fragile_conv(ratio=2))
    assert made_anew(beside)


@pytest.mark.parametrize("missing", ["conv-int8.onnx", "conv-int8.json"])
def test_half_written_ones_are_not_taken(beside: Path, missing: str) -> None:
    file = beside.with_name(missing)
    os.truncate(file, file.stat().st_size // 2)
    assert made_anew(beside)
    file.unlink()
    assert made_anew(beside)


def test_what_a_killed_command_left_goes(beside: Path) -> None:
    ours, theirs = (beside.with_name(f".int8-{pid}-x") for pid in (os.getpid(), 2**22 + 1))
    ours.mkdir()
    theirs.mkdir()
    assert made_anew(beside, seed=1)
    assert ours.exists()
    assert not theirs.exists()


def test_a_harmless_model_passes_its_verification(conv: Path, command: Command) -> None:
    outcome = command.run(int8_of(conv).path, verify=conv, samples=20)
    assert outcome.code == 0, outcome.stderr
    assert outcome.result.verification is not None
    (found,) = outcome.result.verification.outputs
    assert found.criterion.startswith("cosine similarity")
    assert found.max_abs_error
    assert 0.99 < found.min_cosine < 1  # type: ignore[operator]


def write_fragile(name: str, directory: Path) -> Path:
    path = directory / f"{name}.onnx"
    path.write_bytes(getattr(fragile_models, name)())
    return path


def check_refused(name: str, command: Command, directory: Path) -> None:
    """With the error in the result."""
    path = write_fragile(name, directory)
    coarse = command.run(int8_of(path).path, verify=path, samples=20, output_dir="int8")
    assert coarse.code == 1
    assert "verification failed" in coarse.stderr
    found = read_result(coarse.run_dir).verification
    assert found is not None
    assert found.outputs[0].min_cosine < 0.95  # type: ignore[operator]


def test_a_fragile_model_fails_it(command: Command, tmp_path: Path) -> None:
    check_refused("fragile_mlp", command, tmp_path)


def test_nothing_to_quantize(conv: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"identity.onnx cannot be quantised to int8: it has no Conv"
    ):
        made_anew(tiny_models.write(tmp_path, "identity"))
    with pytest.raises(RunError, match="quantised already"):
        made_anew(int8_of(conv).path)
    (tmp_path / "own.ort").write_bytes(b"ORTM" * 4)
    with pytest.raises(RunError, match="not in ONNX's own format"):
        made_anew(tmp_path / "own.ort")
    with pytest.raises(RunError, match="cannot read"):
        made_anew(tmp_path / "none.onnx")


# --- the process


def story(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have another program in place of the worker; it may ``tell`` its story."""
    told = "import json, os, sys, signal\ndef tell(**said): print(json.dumps(said), flush=True)\n"
    monkeypatch.setattr(starting, "_CODE", (told + program).replace("{", "{{").replace("}", "}}"))


def test_a_crash_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    story(monkeypatch, "print('the heap is gone', file=sys.stderr, flush=True); os.abort()")
    with pytest.raises(RunError, match=r"(?s)crashed \(SIGABRT\).*the heap is gone"):
        watching.watch(here(), {}, 60, print)


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    story(monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RunError, match="ran out of memory"):
        watching.watch(here(), {}, 60, print)


def test_a_hang_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    story(monkeypatch, "sys.stdin.read()")
    with pytest.raises(RunError, match=r"nothing happened for 0.2 s.*--stall_timeout_sec"):
        watching.watch(here(), {}, 0.2, print)


def test_it_says_what_goes_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    doing = 'tell(event="doing", what="quantising")\n'
    story(monkeypatch, 2 * doing + 'tell(event="made", samples=5)')
    monkeypatch.setattr(watching, "_SAY_AFTER_SEC", 0)
    told: list[str] = []
    assert watching.watch(here(), {}, 60, told.append) == {"samples": 5}
    assert told == ["quantising"]


def test_a_wrong_request_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    story(monkeypatch, 'tell(event="error", exit_code=2, message="--dataset x: it is empty.")')
    with pytest.raises(RequestError, match=r"^--dataset x: it is empty\.$"):
        watching.watch(here(), {}, 60, print)


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    story(monkeypatch, 'tell(event="doing", what=str(os.getpid())); sys.stdin.read()')
    monkeypatch.setattr(watching, "_SAY_AFTER_SEC", 0)
    number = []

    def interrupt(what: str) -> None:
        number.append(int(what))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watching.watch(here(), {}, 60, interrupt)
    assert not psutil.pid_exists(number[0])


def test_the_supervisor_does_not_load_onnxruntime() -> None:
    program = "import sys, loadgen_generic.quantization; assert 'onnxruntime' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


# --- the samples


def calibrated(model: Path, **options: Any) -> list[dict[str, np.ndarray]]:
    """What the calibration is fed with."""
    calibration = Calibration(config_of(**options), str(model), lambda: None)
    calibration.load()
    fed = []
    while (arrays := calibration.get_next()) is not None:
        fed.append({name: array.copy() for name, array in arrays.items()})
    return fed


def test_samples_are_those_of_the_run(models: Callable[[str], Path], tmp_path: Path) -> None:
    rows = np.random.default_rng(3).random((300, 4), np.float32)
    np.savez(tmp_path / "data.npz", x=rows)
    fed = calibrated(models("matmul"), dataset=str(tmp_path / "data.npz"), distinct_samples=None)
    assert len(fed) == MOST_SAMPLES
    assert all(each["x"].shape == (1, 4) for each in fed)
    drawn = np.concatenate([each["x"] for each in fed])
    assert np.array_equal(drawn[[0, -1]], rows[[0, -1]])
    assert len(np.unique(drawn, axis=0)) == MOST_SAMPLES
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in rows}


def test_samples_of_a_fixed_batch_come_in_batches(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_models.matmul(8))
    fed = calibrated(tmp_path / "m.onnx")
    assert [each["x"].shape for each in fed] == [(8, 4)] * 4
    assert len(np.unique(np.concatenate([each["x"] for each in fed]), axis=0)) == 32


def test_samples_that_do_not_fit(models: Callable[[str], Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 5), np.float32))
    with pytest.raises(RequestError, match="--dataset"):
        calibrated(models("matmul"), dataset=str(tmp_path / "x.npy"))


# --- models of all kinds


def words_and_mask() -> bytes:
    """Rows of a table, multiplied, masked: two inputs of whole numbers, of any length."""
    random = np.random.default_rng(1)
    make = helper.make_node
    nodes = [
        make("Gather", ["table", "ids"], ["rows"]),
        make("MatMul", ["rows", "w"], ["hidden"]),
        make("Cast", ["mask"], ["kept"], to=FLOAT),
        make("Unsqueeze", ["kept", "two"], ["kept3"]),
        make("Mul", ["hidden", "kept3"], ["y"]),
    ]
    return graph_model(
        nodes,
        [("ids", INT64, ["batch", "sequence"]), ("mask", INT64, ["batch", "sequence"])],
        [("y", FLOAT, ["batch", "sequence", 16])],
        table=random.normal(size=(100, 32)).astype(np.float32),
        w=random.normal(size=(32, 16)).astype(np.float32),
        two=np.array([2]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("dim", ["sequence=12", "sequence=4:20"])
def test_whole_numbers_of_one_and_of_several_shapes(
    dim: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "words.onnx"
    path.write_bytes(words_and_mask())
    flags = {"range": "mask=1:2", "dim": dim}
    made = int8_of(path, dim=dim, value_range="mask=1:2")
    assert face(made.path) == face(path)
    # The rest of what is no network of convolutions stays in float32.
    how = json.loads(made.path.with_suffix(".json").read_text("utf-8"))
    assert how["operators"] == {"MatMul": 1}
    outcome = command.run(made.path, verify=path, samples=20, **flags)
    assert outcome.code == 0, outcome.stderr


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
def test_a_fixed_batch(batch: int, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    path.write_bytes(tiny_models.matmul(batch))
    outcome = command.run(int8_of(path).path, verify=path, samples=20)
    assert outcome.code == 0, outcome.stderr


@pytest.mark.slow
def test_an_opset_without_channels(conv: Path, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    model = onnx.load(conv)
    model.opset_import[0].version = 11
    onnx.save(model, path)
    made = int8_of(path)
    assert "weights per tensor" in made.words
    outcome = command.run(made.path, verify=path, samples=20)
    assert outcome.code == 0, outcome.stderr


@pytest.mark.slow
def test_weights_beside_the_model(conv: Path, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "beside.onnx"
    model = onnx.load(conv)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    made = int8_of(path, tmp_path / "int8")
    assert {file.name for file in made.path.parent.iterdir()} == {
        "beside-int8.onnx",
        "beside-int8.onnx.data",
        "beside-int8.json",
    }
    outcome = command.run(made.path, verify=path, samples=20)
    assert outcome.code == 0, outcome.stderr
    os.truncate(made.path.with_name("beside-int8.onnx.data"), 10)
    assert made_anew(path, tmp_path / "int8")


@pytest.mark.slow
def test_a_fragile_network_of_convolutions(command: Command, tmp_path: Path) -> None:
    check_refused("fragile_conv", command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fragile_mlp", "fragile_conv"])
def test_fragile_models_are_right_in_float32(name: str, command: Command, tmp_path: Path) -> None:
    outcome = command.run(write_fragile(name, tmp_path), verify="reference", samples=20)
    assert outcome.code == 0, outcome.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fragile_mlp", "fragile_conv"])
def test_fragile_models_fail_in_bfloat16(name: str, command: Command, tmp_path: Path) -> None:
    if not any(environment.name == "openvino" for environment in known()):
        pytest.skip("no environment with OpenVINO")
    path = write_fragile(name, tmp_path)
    flags: dict[str, object] = {"ep": "openvino", "verify": "reference", "samples": 20}
    exact = command.run(path, precision="float32", **flags)
    assert exact.code == 0, exact.stderr
    coarse = command.run(path, precision="bfloat16", output_dir="bfloat16", **flags)
    if "no bfloat16" in coarse.stderr:
        pytest.skip("the processor has no bfloat16")
    assert coarse.code == 1
    assert "times the tolerance" in coarse.stderr


@pytest.mark.slow
def test_resnet50(command: Command, tmp_path: Path) -> None:
    from loadgen_generic.models.resnet50 import cached
    from loadgen_generic.rundir import cache_dir

    source = cached(cache_dir())
    made = int8_of(source, tmp_path)
    assert made.path.stat().st_size < 0.3 * source.stat().st_size
    outcome = command.run(made.path, verify=source, samples=4, verify_samples=16, warmup_queries=0)
    assert outcome.code == 0, outcome.stderr
    assert outcome.result.verification is not None
    assert outcome.result.verification.outputs[0].min_cosine > 0.99  # type: ignore[operator]
