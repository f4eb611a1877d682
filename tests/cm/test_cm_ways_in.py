"""Every way of CM to name the script and to pass an option reaches the same run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cm_driver import ROOT, SHORT, TAGS, Cm

FLAGS = ["--modelpath=tiny.onnx", "--quiet", *(f"--{k}={v}" for k, v in SHORT.items())]


def test_cm_finds_this_checkout_first(cm: Cm) -> None:
    found = cm.command("find", "script", "d3d949cc361747a6").output.splitlines()
    assert Path(found[0]).resolve() == ROOT
    by_tags = cm.command("find", "script", f"--tags={TAGS}").output.splitlines()
    assert Path(by_tags[0]).resolve() == ROOT


@pytest.mark.parametrize(
    "named",
    [
        [f"--tags={TAGS}"],
        [f"--tags={TAGS},_onnxruntime,_cpu"],
        ["app loadgen generic loadgen-generic python"],
        ["app loadgen generic loadgen-generic python _cpu"],
        ["d3d949cc361747a6"],
        ["app-loadgen-generic-python"],
    ],
    ids=["tags", "variations", "text", "text-variation", "uid", "alias"],
)
def test_names_of_the_script(cm: Cm, model: Path, named: list[str]) -> None:
    done = cm.command("run", "script", *named, *FLAGS)
    assert done.code == 0, done.output
    assert "VALID" in done.output
    (result,) = cm.results()
    assert result["model"]["path"] == str(model)


def test_cmx_runs_it_too(cm: Cm, model: Path) -> None:
    done = cm.run("--intraop=1", "--output-dir=out", tool="cmx", modelpath="tiny.onnx")
    assert done.code == 0, done.output
    (result,) = cm.results()
    assert (cm.directory / "out" / "result.json").is_file()
    assert result["config"]["requested"]["intra_op_threads"] == 1


def test_short_command(cm: Cm, model: Path) -> None:
    done = cm.command("app loadgen generic loadgen-generic python", *FLAGS, tool="cmr")
    assert done.code == 0, done.output
    assert len(cm.results()) == 1


@pytest.mark.parametrize("flag", ["--output_dir", "--output-dir"])
def test_both_spellings_of_a_flag(cm: Cm, model: Path, flag: str) -> None:
    done = cm.run(f"{flag}=here", modelpath="tiny.onnx")
    assert done.code == 0, done.output
    assert (cm.directory / "here" / "result.json").is_file()


def test_env_keys_do_what_flags_do(cm: Cm, model: Path) -> None:
    done = cm.run(
        "--env.CM_ML_MODEL_FILE_WITH_PATH=tiny.onnx",
        "--env.CM_MLPERF_LOADGEN_SCENARIO=SingleStream",
        "--env.CM_MLPERF_OUTPUT_DIR=by-env",
        "--env.CM_MLPERF_SEED=7",
    )
    assert done.code == 0, done.output
    result = json.loads((cm.directory / "by-env" / "result.json").read_text())
    assert result["scenario"] == "SingleStream"
    assert result["config"]["requested"]["seed"] == 7


def test_input_file(cm: Cm, model: Path) -> None:
    given = {"modelpath": "tiny.onnx", "samples": 100, "output_dir": "by-file", "env": {}}
    given["env"] = {"CM_MLPERF_LOADGEN_SCENARIO": "SingleStream"}
    (cm.directory / "input.json").write_text(json.dumps(given))
    done = cm.command("run", "script", f"--tags={TAGS}", "--quiet", "@input.json")
    assert done.code == 0, done.output
    result = json.loads((cm.directory / "by-file" / "result.json").read_text())
    assert result["scenario"] == "SingleStream"
    assert result["samples_completed"] >= 100


def test_dimensions_by_dotted_flag(cm: Cm, model: Path) -> None:
    done = cm.run("--dim.N=2", modelpath="tiny.onnx")
    assert done.code == 0, done.output
    (result,) = cm.results()
    assert result["config"]["requested"]["dim"] == {"N": 2}


@pytest.mark.parametrize("flag", ["--execmode=parallel", "--env.CM_MLPERF_EXEC_MODE=parallel"])
def test_execution_mode_by_flag(cm: Cm, model: Path, flag: str) -> None:
    assert cm.run(flag, modelpath="tiny.onnx").code == 0
    (result,) = cm.results()
    assert result["config"]["effective"]["execution_mode"] == "parallel"


def test_default_execution_mode_of_the_seed_takes_no_effect(cm: Cm, model: Path) -> None:
    assert cm.run(modelpath="tiny.onnx").code == 0
    (result,) = cm.results()
    assert result["config"]["effective"]["execution_mode"] == "sequential"


def test_help_describes_every_flag(cm: Cm) -> None:
    done = cm.command("run", "script", f"--tags={TAGS}", "--help", stdin="\n")
    assert done.code == 0
    listed = done.output.partition("Available flags (Python API dict keys):")[2]
    flags = [line.strip() for line in done.output.splitlines() if "->  --env." in line]
    assert len(flags) > 9
    for line in flags:
        flag = line.split()[0]
        described = [text for text in listed.splitlines() if text.strip().startswith(f"{flag}  (")]
        assert described, f"{flag} has no description"
