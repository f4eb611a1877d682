"""Accuracy mode: LoadGen's log holds the bytes of every answer, and labels are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from command import Command, logged
from few import few

from loadgen_generic.answers.keep import Keeper
from loadgen_generic.answers.split import as_bytes
from loadgen_generic.config import SCENARIOS
from loadgen_generic.request import main
from loadgen_generic.results.result import read_result
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.tensors import InputPlan, SamplePlan

MORE = {"Server": {"target_qps": 500, "target_latency_ms": 100}}


def _accuracy_log(run_dir: Path) -> dict[int, bytes]:
    entries = json.loads((run_dir / "mlperf_log_accuracy.json").read_text())
    return {entry["qsl_idx"]: bytes.fromhex(entry["data"]) for entry in entries}


def _data(directory: Path, count: int, labels: np.ndarray | None = None) -> np.ndarray:
    """A dataset of samples for the matmul and identity models."""
    x = np.random.default_rng(0).random((count, 4), np.float32)
    directory.mkdir()
    np.save(directory / "x.npy", x)
    if labels is not None:
        np.save(directory / "labels.npy", labels)
    return x


@pytest.mark.parametrize(
    ("scenario", "runner"), few(product(SCENARIOS, ["inline", "threadpool", "processpool"]), 2)
)
def test_the_log_and_the_file_hold_what_the_session_says(
    scenario: str, runner: str, command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    x = _data(tmp_path / "data", 21)
    session = ort.InferenceSession(str(models("matmul")), providers=["CPUExecutionProvider"])
    outcome = command.run(
        models("matmul"),
        scenario=scenario,
        runner=runner,
        mode="accuracy",
        dataset="data",
        samples_in_memory=8,
        save_outputs=True,
        **MORE.get(scenario, {}),
    )
    result = outcome.result
    assert (result.mode, result.valid, result.samples_completed) == ("AccuracyOnly", None, 21)
    assert logged(outcome.run_dir)["effective_test_mode"] == "AccuracyOnly"
    (y,) = session.run(None, {"x": x})
    log = _accuracy_log(outcome.run_dir)
    assert sorted(log) == list(range(21))
    for index, data in log.items():
        np.testing.assert_allclose(np.frombuffer(data, np.float32), y[index], rtol=1e-5)
    with np.load(outcome.run_dir / "outputs.npz") as saved:
        np.testing.assert_allclose(saved["y"], y, rtol=1e-5)
        assert {i: row.tobytes() for i, row in enumerate(saved["y"])} == log
    assert "VALID" not in outcome.stdout
    assert "answers each of the 21 samples once" in outcome.stderr


def test_labels_give_accuracy(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).random((20, 4), np.float32)
    labels = x.argmax(axis=1)
    labels[:5] = (labels[:5] + 1) % 4
    _data(tmp_path / "data", 20, labels)
    outcome = command.run(models("identity"), mode="accuracy", dataset="data", verify="reference")
    result = outcome.result
    assert (result.metric.name, result.metric.value, result.metric.unit) == (
        "top_1_accuracy",
        75,
        "%",
    )
    assert "ACCURACY: top-1 75 %, 15 of 20 labelled samples." in outcome.stdout
    assert result.verification is not None
    assert result.verification.accuracy == 0.75
    assert result.accuracy is not None
    assert result.accuracy.top_1 == 0.75


def test_without_labels_the_result_says_so(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(
        models("matmul"), mode="accuracy", distinct_samples=10, samples=500, strict=True
    )
    assert outcome.code == 0
    assert outcome.result.metric.name == "samples_answered"
    assert outcome.result.metric.value == 10
    assert "ACCURACY: all 10 samples were answered; no labels came with the data" in outcome.stdout
    assert "--samples cannot change that, --distinct_samples does" in outcome.stderr
    assert not (outcome.run_dir / "outputs.npz").exists()


def test_a_failed_verification_reaches_cm_with_its_result(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    options = {
        "modelpath": str(models("matmul")),
        "verify": str(models("identity")),
        "samples": 5,
        "output_dir": str(tmp_path / "out"),
    }
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"options": options, "report": str(tmp_path / "report")}))
    assert main(str(request)) == 1
    report = json.loads((tmp_path / "report").read_text())
    assert (report["status"], report["exit_code"]) == ("error", 1)
    assert "verification failed: 64 of 64 samples differ" in report["error"]
    assert read_result(Path(report["result_json"])).verification is not None


def _keeper() -> Keeper:
    plan = SamplePlan((InputPlan("x", np.dtype(np.float32), (1,)),), batched=False)
    source = SyntheticSamples(plan, 4, seed=0).source
    return Keeper(plan, source, ["boxes", "file"], keep_outputs=True)


def test_outputs_of_several_shapes_and_strings_are_kept_by_sample(tmp_path: Path) -> None:
    keeper = _keeper()
    for index in (2, 0):
        boxes = np.full((index, 4), index, np.float32)
        keeper.take([index], [boxes, np.array(["a" * (index + 1)], object)])
    keeper.save(tmp_path)
    with np.load(tmp_path / "outputs.npz") as saved:
        assert set(saved.files) == {"boxes/0", "boxes/2", "file"}
        assert saved["boxes/2"].shape == (2, 4)
        assert saved["file"].tolist() == [["a"], ["aaa"]]


def test_bytes_of_an_answer_follow_each_other() -> None:
    outputs = [np.array([1, 2], np.int16), np.array(["é", b"z"], object), np.array(3, np.uint8)]
    assert as_bytes(outputs).tobytes() == b"\1\0\2\0" + "é".encode() + b"\0z\0\3"
