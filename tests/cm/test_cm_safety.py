"""No character of any value is ever acted on by a shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cm_driver import Cm

EVIL = "a b\"c'd$(touch X1)`touch X2`;touch X3;&touch X4&é漢\\n${HOME}|touch X5"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="such names are no names on Windows")


@pytest.fixture(autouse=True)
def nothing_was_executed(cm: Cm) -> object:
    yield
    assert not list(cm.directory.rglob("X[0-9]*"))


@pytest.fixture
def evil_model(cm: Cm, tiny_model: bytes) -> Path:
    folder = cm.directory / EVIL
    folder.mkdir()
    path = folder / f"{EVIL}.onnx"
    path.write_bytes(tiny_model)
    return path


@pytest.mark.parametrize("relative", [False, True])
def test_model_path(cm: Cm, evil_model: Path, relative: bool) -> None:
    given = evil_model.relative_to(cm.directory) if relative else evil_model
    done = cm.run(modelpath=str(given))
    assert done.code == 0, done.output
    (result,) = cm.results()
    assert result["model"]["path"] == str(evil_model)


@pytest.mark.parametrize("newline", ["", "\n"])
def test_output_directory(cm: Cm, model: Path, newline: str) -> None:
    done = cm.run(modelpath="tiny.onnx", output_dir=f"out {EVIL}{newline}x")
    assert done.code == 0, done.output
    assert (cm.directory / f"out {EVIL}{newline}x" / "result.json").is_file()


def test_model_and_output_by_env(cm: Cm, evil_model: Path) -> None:
    done = cm.run(
        f"--env.CM_ML_MODEL_FILE_WITH_PATH={evil_model}",
        f"--env.CM_MLPERF_OUTPUT_DIR=out {EVIL}",
        f"--env.UNKNOWN_TO_US={EVIL}",
        "--env.X;touch X6=1",
    )
    assert done.code == 0, done.output
    assert (cm.directory / f"out {EVIL}" / "result.json").is_file()


def test_every_flag(cm: Cm, model: Path) -> None:
    """A value that is not even sensible is refused by the harness, not run by a shell."""
    for flag in ("scenario", "runner", "samples", "ep", "intraop", "backend", "execmode", "dim"):
        done = cm.run(**{"modelpath": "tiny.onnx", flag: EVIL})
        assert done.code == 2, (flag, done.output)
        assert flag in done.error


def test_values_from_python(cm: Cm, evil_model: Path) -> None:
    (answer,) = cm.access(
        {
            "modelpath": evil_model,
            "output_dir": f"out {EVIL}",
            "samples": 100,
            "env": {"LIST": [EVIL], "DICT": {"key": EVIL}, "CM_MLPERF_NOTE": EVIL},
        }
    )
    assert answer["return"] == 0
    assert answer["new_env"]["CM_MLPERF_OUTPUT_DIR"] == f"out {EVIL}"
    assert answer["new_env"]["CM_MLPERF_NOTE"] == EVIL
    assert answer["new_env"]["CM_MLPERF_RESULT_JSON"].startswith(str(cm.directory / "out "))


@pytest.mark.parametrize("flag", ["--shell", "--save_env"])
def test_scripts_that_cm_writes_at_the_end(cm: Cm, evil_model: Path, flag: str) -> None:
    done = cm.run(flag, modelpath=str(evil_model), output_dir=f"out {EVIL}")
    assert done.code == 0, done.output
    script = (cm.directory / "tmp-env.sh").read_text()
    assert "touch" not in script
    assert "CM_MLPERF_RESULT_VALID" in script


def test_no_generated_script_holds_a_value(cm: Cm, model: Path) -> None:
    """--dirty keeps the script that CM generated last, the one that calls run.sh."""
    done = cm.run("--dirty", modelpath="tiny.onnx", output_dir="marker-output", seed="314159")
    assert done.code == 0, done.output
    script = (cm.directory / "tmp-run.sh").read_text()
    for value in ("tiny.onnx", "marker-output", "314159"):
        assert value not in script


@pytest.mark.parametrize("tags", ["_custom,_huggingface,_model-stub.a$(touch X7)"])
def test_model_stub_is_refused(cm: Cm, tags: str) -> None:
    done = cm.run(tags=tags)
    assert done.code > 0
    assert "_model-stub" in done.error


def test_current_directory_is_refused(cm: Cm, tiny_model: bytes) -> None:
    place = cm.directory / "now $(touch X8)"
    place.mkdir()
    (place / "tiny.onnx").write_bytes(tiny_model)
    done = Cm(cm.environ, place).run(modelpath="tiny.onnx")
    assert done.code > 0
    assert "directory that cm was started in" in done.error
