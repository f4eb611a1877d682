"""Which dependencies run, and how the user reaches them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cm_driver import ROOT, Cm, new_home
from stand_in_environments import add_package, make_like_ours

from loadgen_generic.environments import known

STAND_IN = """
alias: stand-in-for-downloads
uid: 0123456789abcdef
automation_alias: script
automation_uid: 5b4e0237da074764
sort: -1
tags: [get, ml-model, huggingface, resnet50, retinanet]
new_env_keys: [CM_ML_MODEL_FILE_WITH_PATH]
input_mapping: {model_filename: STAND_IN_FILE_NAME}
variations:
  onnx: {}
  fp32: {}
  model-stub.#: {env: {STAND_IN_STUB: "#"}}
"""
# Takes the place of CM's download scripts: there is no network in tests.
STAND_IN_CODE = """
import json, pathlib
def preprocess(i):
    here = pathlib.Path(i["env"]["CM_TMP_CURRENT_PATH"])
    asked = {k: v for k, v in i["env"].items() if k.startswith("STAND_IN")}
    (here / "downloaded.json").write_text(json.dumps(asked))
    i["env"]["CM_ML_MODEL_FILE_WITH_PATH"] = str(here / "tiny.onnx")
    return {"return": 0}
"""


@pytest.fixture(scope="module")
def downloads(cm_environ: dict[str, str]) -> Iterator[None]:
    local = Path(cm_environ["CM_REPOS"], "repos", "local", "script", "stand-in-for-downloads")
    local.mkdir()
    (local / "_cm.yaml").write_text(STAND_IN)
    (local / "customize.py").write_text(STAND_IN_CODE)
    reindex = [str(Path(sys.executable).with_name("cm")), "reindex", "repo"]
    subprocess.run(reindex, env=cm_environ, check=True, capture_output=True)
    yield
    for file in ("_cm.yaml", "customize.py"):
        (local / file).unlink()
    subprocess.run(["rm", "-r", str(local)], check=True)
    subprocess.run(reindex, env=cm_environ, check=True, capture_output=True)


@pytest.mark.usefixtures("downloads")
@pytest.mark.parametrize("tags", ["_resnet50", "_retinanet"])
def test_reference_model_is_fetched_by_cm(cm: Cm, model: Path, tags: str) -> None:
    done = cm.run(tags=tags)
    assert done.code == 0, done.output
    assert (cm.directory / "downloaded.json").is_file()
    (result,) = cm.results()
    assert result["model"]["path"] == str(model)


@pytest.mark.usefixtures("downloads")
@pytest.mark.parametrize("tags", ["_resnet50", "_retinanet", "_custom,_huggingface,_model-stub.a"])
def test_nothing_is_fetched_when_a_file_is_named(cm: Cm, model: Path, tags: str) -> None:
    by_env = [f"--env.CM_ML_MODEL_FILE_WITH_PATH={model}"]
    done = cm.run(*by_env, tags=tags) if tags == "_retinanet" else cm.run(
        tags=tags, modelpath="tiny.onnx"
    )  # fmt: skip
    assert done.code == 0, done.output
    assert not (cm.directory / "downloaded.json").exists()
    assert "ml-model" not in done.output


@pytest.mark.usefixtures("downloads")
def test_hugging_face_stub_reaches_its_dependency(cm: Cm, model: Path) -> None:
    done = cm.run(
        "--adr.hf-downloader.model_filename=sub/model.onnx",
        tags="_custom,_huggingface,_model-stub.some-org/some-model.v1",
    )
    assert done.code == 0, done.output
    asked = json.loads((cm.directory / "downloaded.json").read_text())
    assert asked["STAND_IN_STUB"] == "some-org/some-model.v1"
    assert asked["STAND_IN_FILE_NAME"] == "sub/model.onnx"
    (result,) = cm.results()
    assert result["model"]["path"] == str(model)


def test_installed_packages_cost_no_dependency_run(cm: Cm, model: Path) -> None:
    done = cm.run(modelpath="tiny.onnx")
    assert done.code == 0, done.output
    assert "generic-python-lib" not in done.output


def dependencies(cm: Cm, *arguments: str, tags: str = "") -> list[str]:
    """The tags of every dependency that CM would run, without running any."""
    done = cm.run("--fake_run", "--fake_deps", "-j", *arguments, tags=tags)
    assert done.code == 0, done.output
    listed = done.output.partition('"deps": ')[2].rpartition("}")[0]
    tags_of_all: list[str] = json.loads(listed)
    return tags_of_all


def test_dependencies_by_default(cm: Cm) -> None:
    assert dependencies(cm, tags="_demo") == [
        "detect,os",
        "detect,cpu",
        "get,python3",
        "get,generic-python-lib,_psutil",
        "get,generic-python-lib,_package.numpy",
        "get,generic-python-lib,_package.ml_dtypes",
        "get,generic-python-lib,_package.pydantic",
        "get,generic-python-lib,_package.rich",
        "get,generic-python-lib,_package.vl-convert-python",
        "get,generic-python-lib,_package.mlcommons-loadgen",
        "get,generic-python-lib,_onnxruntime",
        "get,generic-python-lib,_onnx",
    ]


@pytest.mark.parametrize("name", ["python", "python3", "loadgen", "onnxruntime", "onnx"])
def test_adr_reaches_the_named_dependency(cm: Cm, name: str) -> None:
    (changed,) = [tags for tags in dependencies(cm, f"--adr.{name}.tags=_x") if "_x" in tags]
    assert {"python3": "python"}.get(name, name) in changed


@pytest.mark.slow
def test_adr_on_a_package_runs_its_dependency_though_it_is_installed(cm: Cm, model: Path) -> None:
    done = cm.run("--adr.onnx.version_min=1.0", modelpath="tiny.onnx")
    assert done.code == 0, done.output
    assert "get generic-python-lib _onnx" in done.output


def test_adr_chooses_the_python(cm: Cm, model: Path) -> None:
    done = cm.run("--adr.python.version_min=99", modelpath="tiny.onnx")
    assert done.code > 0
    assert ">= 99" in done.output


def test_loadgen_from_source(cm: Cm) -> None:
    listed = dependencies(cm, tags="_demo,_loadgen-source")
    assert "get,loadgen" in listed
    assert not [tags for tags in listed if "mlcommons-loadgen" in tags]


def test_optuna_comes_with_a_search(cm: Cm) -> None:
    found = "--env.CM_LOADGEN_GENERIC_SEARCH=yes"  # as preprocess sets it
    listed = dependencies(cm, found, tags="_demo")
    assert listed.count("get,generic-python-lib,_package.optuna") == 1


def test_a_server_needs_its_client_and_no_onnx_runtime(cm: Cm) -> None:
    listed = dependencies(cm, tags="_kserve")
    assert listed.count("get,generic-python-lib,_package.tritonclient[grpc]") == 1
    assert not [tags for tags in listed if "onnx" in tags]


def test_a_cluster_needs_ray(cm: Cm) -> None:
    wanted = "get,generic-python-lib,_package.ray"
    found = "--env.CM_LOADGEN_GENERIC_RAY=yes"  # as preprocess sets it
    assert dependencies(cm, found, tags="_demo").count(wanted) == 1
    assert wanted not in dependencies(cm, tags="_demo")


@pytest.mark.slow
def test_tuning_through_cm(cm: Cm, model: Path) -> None:
    flags = {"mode": "tune", "budget": "20s", "ep": "cpu", "tolerance": "bfloat16"}
    done = cm.run(modelpath="tiny.onnx", output_dir="tuned", **flags)
    assert done.code == 0, done.output
    assert "generic-python-lib" not in done.output
    (best,) = [result for result in cm.results() if result["tuning"]]
    assert best["tuning"]["budget_s"] == 20
    assert best["tuning"]["config_file"] == str(cm.directory / "tuned" / "tuned.json")


PACKAGES = {
    "_cpu": ["_onnxruntime"],
    "_cuda": ["_onnxruntime_gpu", "_package.cuda-bindings"],
    "_tensorrt": ["_onnxruntime_gpu", "_package.cuda-bindings"],
    "_openvino": ["_package.onnxruntime-openvino"],
}


@pytest.mark.parametrize(
    "device", ["_cuda", "_openvino", pytest.param("_tensorrt", marks=pytest.mark.slow)]
)
def test_each_device_has_its_package_and_no_other(cm: Cm, device: str) -> None:
    listed = dependencies(cm, tags=f"_demo,{device}")
    of_devices = {name for names in PACKAGES.values() for name in names}
    found = [tags.rpartition(",")[2] for tags in listed]
    assert [name for name in found if name in of_devices] == PACKAGES[device]
    assert ("get,cuda" in listed) == (device in ("_cuda", "_tensorrt"))


def test_the_package_for_cuda_12_is_an_older_one(cm: Cm) -> None:
    found = "--env.CM_LOADGEN_GENERIC_CUDA=12"  # as preprocess sets it
    listed = dependencies(cm, found, tags="_demo,_cuda")
    assert listed.count("get,generic-python-lib,_onnxruntime_gpu") == 1
    meta = yaml.safe_load((ROOT / "_cm.yaml").read_text("utf-8"))
    (older,) = [
        dep["version_max"]
        for dep in meta["prehook_deps"]
        if dep["tags"].endswith("_onnxruntime_gpu") and "version_max" in dep
    ]
    assert older.startswith("1.26.")


def by_flag_or_variation() -> list[Any]:
    return [
        pytest.param({"ep": "openvino"}, id="flag", marks=pytest.mark.slow),
        pytest.param({"tags": "_openvino"}, id="variation"),
    ]


@pytest.mark.parametrize("chosen", by_flag_or_variation())
def test_another_onnx_runtime_is_never_put_beside_one(
    cm: Cm, model: Path, chosen: dict[str, str]
) -> None:
    if known()[1:]:
        pytest.skip("this checkout has environments of its own")
    done = cm.run(modelpath="tiny.onnx", **chosen)
    assert done.code == 1, done.output
    for word in ("onnxruntime-openvino", "make venv EP=openvino"):
        assert word in done.error
    assert "generic-python-lib" not in done.output
    assert not cm.results()


@pytest.mark.parametrize("chosen", by_flag_or_variation())
def test_the_environment_that_has_it_is_used(cm: Cm, model: Path, chosen: dict[str, str]) -> None:
    """With ONNX Runtime for the CPU under the name of the other package, so it falls back."""
    environments = cm.directory / "environments"
    site = make_like_ours(environments / "openvino", "onnxruntime-")
    add_package(site, "onnxruntime-openvino", "9.8.7")
    environ = {**cm.environ, "LOADGEN_GENERIC_ENVIRONMENTS": str(environments)}
    done = Cm(environ, cm.directory).run(modelpath="tiny.onnx", allow_fallback="yes", **chosen)
    assert done.code == 0, done.output
    assert "generic-python-lib" not in done.output
    (result,) = cm.results()
    python = result["config"]["effective"]["environment"]["python"]
    assert python == str(environments / "openvino" / "bin" / "python")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="bin/python3")
def test_a_python_without_onnx_runtime_gets_the_right_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes
) -> None:
    """Fetches about 70 MB."""
    directory = tmp_path / "python"
    make_like_ours(directory, "onnxruntime", os.link)
    environ = new_home(tmp_path_factory.mktemp("cm-home"))
    environ["PATH"] = f"{directory / 'bin'}{os.pathsep}{environ['PATH']}"
    del environ["PIP_NO_INDEX"]
    (tmp_path / "tiny.onnx").write_bytes(tiny_model)
    done = Cm(environ, tmp_path).run(tags="_openvino", modelpath="tiny.onnx", verify="reference")
    assert done.code == 0, done.output
    (result,) = Cm(environ, tmp_path).results()
    assert result["providers"][0] == "OpenVINOExecutionProvider"
    assert result["config"]["effective"]["environment"]["name"] == "this Python"
    assert "onnxruntime-openvino" in result["packages"]
    assert "onnxruntime" not in result["packages"]
    assert result["verification"]["passed"]
