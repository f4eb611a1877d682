"""What goes wrong reaches the caller of CM as a sentence to act on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from cm_driver import TAGS, Cm
from onnx import TensorProto, helper


def test_no_model_lists_the_ways_to_name_one(cm: Cm) -> None:
    done = cm.run()
    assert done.code == 2
    for way in ("--modelpath", "_demo", "_resnet50", "_huggingface", "_model-stub"):
        assert way in done.error
    assert "get python3" not in done.output, "nothing was installed or looked for"


def test_custom_without_a_source(cm: Cm) -> None:
    assert "--modelpath" in cm.run(tags="_custom").error
    assert "_model-stub" in cm.run(tags="_custom,_huggingface").error


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("--modelpth=tiny.onnx", "--modelpath"),
        ("--model_path=tiny.onnx", "--modelpath"),
        ("--model=demo", "--modelpath"),
        ("--intra_op_threads=1", "--intraop"),
        ("--execution_provider=cpu", "--ep"),
        ("--sample=10", "--samples"),
        ("--exec_mode=parallel", "--execmode"),
        ("--expected_qps=10", "--loadgen_expected_qps"),
    ],
)
def test_mistyped_flag(cm: Cm, typed: str, right: str) -> None:
    done = cm.run(typed, tags="_demo")
    assert done.code == 2
    assert typed.partition("=")[0] in done.error
    assert f"use {right}" in done.error
    assert not cm.results()


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ({"modelpath": "absent.onnx"}, 2, ["absent.onnx"]),
        ({"scenario": "Onlin"}, 2, ["scenario", "Onlin", "Offline"]),
        ({"runner": "magic"}, 2, ["runner", "magic", "threadpool"]),
        ({"backend": "tflite"}, 2, ["backend", "tflite", "onnxruntime"]),
        ({"samples": "0"}, 2, ["samples", "0"]),
        ({"samples": "many"}, 2, ["samples", "many"]),
        ({"concurrency": "-1"}, 2, ["concurrency", "-1"]),
        ({"dim": "N"}, 2, ["dim", "N"]),
        ({"ep": "CUDAExecutionProvider"}, 1, ["CUDAExecutionProvider"]),
        ({"ep": "NoSuchExecutionProvider"}, 2, ["NoSuchExecutionProvider"]),
        ({"target_qps": "5"}, 2, ["target_qps", "Server"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_wrong_request(
    cm: Cm, model: Path, flags: dict[str, str], code: int, said: list[str]
) -> None:
    done = cm.run(**{"modelpath": "tiny.onnx", **flags})
    assert done.code == code, done.output
    for word in said:
        assert word in done.error
    assert "Portable CM script failed" not in done.output
    assert not cm.results()


@pytest.mark.parametrize("broken", ["text", "truncated", "empty"])
def test_not_a_model(cm: Cm, tiny_model: bytes, broken: str) -> None:
    content = {"text": b"this is no model", "truncated": tiny_model[:40], "empty": b""}[broken]
    (cm.directory / "broken.onnx").write_bytes(content)
    done = cm.run(modelpath="broken.onnx")
    assert done.code in (1, 2), done.output
    assert "broken.onnx" in done.error


def test_unknown_operator(cm: Cm) -> None:
    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, cm.directory / "operator.onnx")
    done = cm.run(modelpath="operator.onnx")
    assert done.code in (1, 2), done.output
    assert "NoSuchOperator" in done.error


def test_output_directory_is_a_file(cm: Cm, model: Path) -> None:
    (cm.directory / "taken").write_text("mine")
    done = cm.run(modelpath="tiny.onnx", output_dir="taken")
    assert done.code in (1, 2), done.output
    assert "taken" in done.error
    assert (cm.directory / "taken").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="CM quotes nothing on POSIX only")
def test_python_whose_path_cm_cannot_use(cm: Cm, model: Path) -> None:
    """CM would go on to the next Python on PATH, and install packages into that one."""
    link = cm.directory / "virtual environment"
    link.symlink_to(Path(sys.executable).parent)
    environ = {**cm.environ, "PATH": f"{link}{os.pathsep}{cm.environ['PATH']}"}
    done = Cm(environ, cm.directory).run(modelpath="tiny.onnx")
    assert done.code == 2, done.output
    assert str(link / "python3") in done.error
    assert "get python3" not in done.output


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sitecustomize by PYTHONPATH")
def test_python_that_lacks_a_package(cm: Cm, model: Path) -> None:
    """CM finds what is installed and installs nothing; the harness says what it misses."""
    blocker = cm.directory / "sitecustomize.py"
    blocker.write_text("import sys; sys.modules['pydantic'] = None\n")
    environ = {**cm.environ, "PYTHONPATH": str(cm.directory)}
    done = Cm(environ, cm.directory).run(modelpath="tiny.onnx")
    assert done.code == 1, done.output
    assert "pydantic" in done.error
    assert "pip install" in done.error
    assert "get generic-python-lib _onnxruntime" in done.output
    assert "Extra PIP CMD" not in done.output


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_interrupt(cm: Cm, model: Path) -> None:
    """Ctrl-C reaches CM and all below it; the caller sees 130, not a failed script."""
    command = [str(Path(sys.executable).with_name("cm")), "run", "script", f"--tags={TAGS}"]
    command += ["--quiet", "--modelpath=tiny.onnx", "--loadgen_duration_sec=60"]
    command += ["--output_dir=out", "--scenario=Server", "--target_qps=100"]
    command += ["--target_latency_ms=1000", "--batch_size=1"]
    with subprocess.Popen(
        command, cwd=cm.directory, env=cm.environ, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as started:  # fmt: skip
        while not (cm.directory / "out" / "mlperf_log_detail.txt").exists():
            assert started.poll() is None
            time.sleep(0.05)
        os.killpg(started.pid, signal.SIGINT)
        output, _ = started.communicate(timeout=10)
    assert started.returncode == 130, output
    assert "Portable CM script failed" not in output
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)
