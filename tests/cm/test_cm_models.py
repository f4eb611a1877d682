"""MLPerf's reference models through cm: nothing but their download is stood in for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_models
from cm_driver import Cm, new_home
from PIL import Image
from reference_models import GRID

# Takes the place of the script that downloads a file, which CM's own scripts of the models call.
DOWNLOADER = """
alias: download-and-extract
uid: c67e81a4ce2649f5
automation_alias: script
automation_uid: 5b4e0237da074764
can_force_cache: true
tags: [dae, file, download-and-extract]
new_env_keys: [<<<CM_DOWNLOAD_FINAL_ENV_NAME>>>]
variations:
  url.#: {env: {CM_DAE_URL: "#"}}
"""
DOWNLOADER_CODE = """
import os, pathlib
def preprocess(i):
    env = i["env"]
    file = pathlib.Path(os.environ["STAND_IN_FILES"], env["CM_DAE_URL"].rpartition("/")[2])
    env[env["CM_DOWNLOAD_FINAL_ENV_NAME"]] = str(file)
    return {"return": 0}
"""
RESNET50, RETINANET = "resnet50_v1.onnx", "resnext50_32x4d_fpn.onnx"

# Images of 300x256, of one colour in the middle 224x224 that ResNet-50 should see.
COLOURS = [[200, 30, 90], [10, 60, 220], [90, 150, 40], [0, 40, 120]]
RIM = [0, 255, 0]
SHARES = [(224 / 256) ** 2, 224**2 / (300 * 256)]  # not resized to 256; stretched
# What each image shows. The last label is wrong, and right if class 0 were not the background.
CLASSES = [11, 12, 13, 702]
LABELS = [10, 11, 12, 702]
# The cells of each image for RetinaNet that hold something.
SCENES = {"0.png": [0, 3, 12], "1.png": [], "2.png": [5], "3.png": [1, 2, 4, 7, 15]}


@pytest.fixture(scope="module")
def cm_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home, files = tmp_path_factory.mktemp("cm-home"), tmp_path_factory.mktemp("files")
    environ = new_home(home)
    local = home / "repos" / "local" / "script" / "download-and-extract"
    local.mkdir()
    (local / "_cm.yaml").write_text(DOWNLOADER)
    (local / "customize.py").write_text(DOWNLOADER_CODE)
    reindex = [str(Path(sys.executable).with_name("cm")), "reindex", "repo"]
    subprocess.run(reindex, env=environ, check=True, capture_output=True)
    (files / RESNET50).write_bytes(
        reference_models.resnet50(*map(np.array, (COLOURS, CLASSES, RIM, SHARES)))
    )
    (files / RETINANET).write_bytes(reference_models.retinanet(1))
    return {**environ, "STAND_IN_FILES": str(files)}


@pytest.fixture
def photos(cm: Cm) -> Path:
    """The images for ResNet-50, and ``val_map.txt``."""
    where = cm.directory / "photos"
    where.mkdir()
    for number, colour in enumerate(COLOURS):
        pixels = np.full((256, 300, 3), RIM, np.uint8)
        pixels[16:240, 38:262] = colour
        Image.fromarray(pixels).save(where / f"{number}.png")
    lines = (f"{number}.png {label}\n" for number, label in enumerate(LABELS))
    (where / "val_map.txt").write_text("".join(lines))
    return where


@pytest.fixture
def scenes(cm: Cm) -> Path:
    """Images of 400x200 for RetinaNet, on a grid of 4x4: cells that are red by four fifths."""
    where = cm.directory / "scenes"
    where.mkdir()
    for name, cells in SCENES.items():
        pixels = np.full((200, 400, 3), (0, 255, 255), np.uint8)
        for cell in cells:
            row, column = divmod(cell, GRID)
            pixels[50 * row : 50 * (row + 1), 100 * column : 100 * (column + 1)] = (204, 0, 0)
        Image.fromarray(pixels).save(where / name)
    return where


def only_result(cm: Cm) -> dict[str, Any]:
    (result,) = cm.results()
    return result


def accuracy_log(cm: Cm) -> dict[int, bytes]:
    """The bytes that LoadGen was answered with, by sample."""
    (path,) = cm.directory.rglob("mlperf_log_accuracy.json")
    return {each["qsl_idx"]: bytes.fromhex(each["data"]) for each in json.loads(path.read_text())}


# --- ResNet-50 -------------------------------------------------------------------------------


def test_resnet50_finds_the_labels_that_are_right(cm: Cm, photos: Path) -> None:
    done = cm.run(tags="_cpu,_onnxruntime,_resnet50", dataset="photos", mode="accuracy")
    assert done.code == 0, done.output
    result = only_result(cm)
    assert result["metric"]["value"] == 75, "three of four, and one of four without the offset"
    assert result["accuracy"]["judged"] == 4
    effective = result["config"]["effective"]
    assert effective["label_offset"] == 1
    assert effective["image_preset"] == "resnet50"
    assert effective["image_resize"] == 256
    assert effective["image_layout"] == "nchw"
    assert [round(255 * mean, 2) for mean in effective["image_mean"]] == [123.68, 116.78, 103.94]
    assert result["model"]["inputs"] == ["input_tensor:0: tensor(float)[unk__616x3x224x224]"]
    answers = accuracy_log(cm)
    assert [int.from_bytes(answers[k][:8], "little") for k in range(4)] == CLASSES
    assert {len(answer) for answer in answers.values()} == {8 + 4 * reference_models.CLASSES}


def test_resnet50_is_verified_with_its_labels(cm: Cm, photos: Path) -> None:
    done = cm.run(tags="_resnet50", dataset="photos", verify="reference")
    assert done.code == 0, done.output
    verification = only_result(cm)["verification"]
    assert verification["passed"]
    assert verification["accuracy"] == 0.75


def test_resnet50_on_arrays_that_are_prepared_already(cm: Cm) -> None:
    prepared = np.subtract(COLOURS, reference_models.MEAN).astype(np.float32)
    arrays = cm.directory / "arrays"
    arrays.mkdir()
    np.save(arrays / "x.npy", np.broadcast_to(prepared[..., None, None], (4, 3, 224, 224)))
    np.save(arrays / "labels.npy", LABELS)
    done = cm.run(tags="_resnet50", dataset="arrays", mode="accuracy")
    assert done.code == 0, done.output
    result = only_result(cm)
    assert result["metric"]["value"] == 75
    assert "image_preset" not in result["config"]["effective"]


@pytest.mark.parametrize(
    ("flags", "shows", "right"),
    [
        ({"label_offset": "0"}, {"label_offset": 0, "image_preset": "resnet50"}, 25),
        ({"image_preset": "imagenet"}, {"label_offset": 1, "image_preset": "imagenet"}, 0),
        ({"image_scale": "0.5"}, {"image_preset": None, "image_scale": [0.5]}, 0),
    ],
)
def test_what_the_user_says_comes_first(
    cm: Cm, photos: Path, flags: dict[str, str], shows: dict[str, object], right: float
) -> None:
    done = cm.run(tags="_resnet50", dataset="photos", mode="accuracy", **flags)
    assert done.code == 0, done.output
    result = only_result(cm)
    assert shows.items() <= result["config"]["effective"].items()
    assert result["metric"]["value"] == right


def test_a_file_of_the_user_is_no_reference_model(cm: Cm, photos: Path) -> None:
    """It may well be a network of other needs, though the variation is there."""
    file = Path(cm.environ["STAND_IN_FILES"], RESNET50)
    done = cm.run(tags="_resnet50", modelpath=str(file), dataset="photos", mode="accuracy")
    assert done.code == 0, done.output
    effective = only_result(cm)["config"]["effective"]
    assert (effective["image_preset"], effective["label_offset"]) == (None, 0)


def test_resnet50_without_data_is_fed_the_range_of_real_images(cm: Cm) -> None:
    done = cm.run(tags="_cpu,_onnxruntime,_resnet50", samples="20")
    assert done.code == 0, done.output
    result = only_result(cm)
    assert result["config"]["effective"]["range"] == {"input_tensor:0": "-123.68:151.06"}
    assert "-123.68" in result["config"]["effective"]["inputs"]["input_tensor:0"]
    assert result["samples_completed"] >= 20


def test_a_range_of_the_user_comes_first(cm: Cm) -> None:
    done = cm.run(tags="_resnet50", samples="5", range="input_tensor:0=-1:1")
    assert done.code == 0, done.output
    assert only_result(cm)["config"]["effective"]["range"] == {"input_tensor:0": "-1:1"}


# --- RetinaNet -------------------------------------------------------------------------------


@pytest.fixture(params=[1, "N"], ids=["fixed-batch", "open-batch"])
def retinanet(request: pytest.FixtureRequest, cm: Cm) -> None:
    """The file that is downloaded, with a batch dimension of this kind."""
    file = Path(cm.environ["STAND_IN_FILES"], RETINANET)
    file.write_bytes(reference_models.retinanet(request.param))


@pytest.mark.usefixtures("retinanet")
@pytest.mark.parametrize("scenario", ["Offline", "SingleStream"])
def test_retinanet_finds_what_is_there(cm: Cm, scenes: Path, scenario: str) -> None:
    flags = {"dataset": "scenes", "mode": "accuracy", "save_outputs": "yes"}
    done = cm.run(tags="_cpu,_onnxruntime,_retinanet", scenario=scenario, **flags)
    assert done.code == 0, done.output
    result = only_result(cm)
    assert (result["accuracy"]["samples"], result["accuracy"]["judged"]) == (4, 0)
    effective = result["config"]["effective"]
    assert effective["image_preset"] == "retinanet"
    assert (effective["image_size"], effective["image_crop"]) == ("800x800", "none")
    assert effective["label_offset"] == 0
    logged = accuracy_log(cm)
    with np.load(result["accuracy"]["outputs_file"]) as outputs:
        for index, cells in enumerate(SCENES.values()):
            boxes, scores = outputs[f"boxes/{index}"], outputs[f"scores/{index}"]
            labels = outputs[f"labels/{index}"]
            assert labels.tolist() == cells
            corners = [(200 * (cell % GRID), 200 * (cell // GRID)) for cell in cells]
            assert boxes[:, :2].tolist() == [list(corner) for corner in corners]
            np.testing.assert_allclose(scores, np.full(len(cells), 204 / 255), rtol=1e-2)
            written = boxes.tobytes() + scores.tobytes() + labels.tobytes()
            assert logged.get(index, b"") == written


@pytest.mark.usefixtures("retinanet")
@pytest.mark.parametrize("dataset", ["", "scenes"])
def test_retinanet_is_timed(cm: Cm, scenes: Path, dataset: str) -> None:
    done = cm.run(tags="_retinanet", samples="8", dataset=dataset)
    assert done.code == 0, done.output
    result = only_result(cm)
    assert result["metric"]["value"] > 0
    assert result["config"]["effective"]["batch_size"] == 1


def test_scores_of_found_objects_are_no_classes(cm: Cm, scenes: Path) -> None:
    (scenes / "labels.txt").write_text("".join(f"{name} 0\n" for name in SCENES))
    done = cm.run(tags="_retinanet", dataset="scenes", mode="accuracy")
    assert done.code == 0, done.output
    accuracy = only_result(cm)["accuracy"]
    assert (accuracy["labelled"], accuracy["judged"]) == (4, 0)
    assert "no output looks like a classifier's" in done.output


# --- what images need ------------------------------------------------------------------------


@pytest.mark.slow
def test_pillow_is_fetched_for_images_alone(cm: Cm, photos: Path) -> None:
    """A version that is asked for makes CM look at each package."""
    asked = "--adr.pillow.version_min=1.0"
    images = cm.run(asked, tags="_resnet50", dataset="photos", mode="accuracy")
    assert images.code == 0, images.output
    assert "get generic-python-lib _package.Pillow" in images.output
    none = cm.run(asked, tags="_resnet50", samples="5")
    assert none.code == 0, none.output
    assert "get generic-python-lib _onnx" in none.output
    assert "Pillow" not in none.output


@pytest.mark.slow
def test_without_pillow_images_bring_it(cm: Cm, photos: Path) -> None:
    hiding = cm.directory / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text("import sys; sys.modules['PIL'] = None\n")
    without = Cm({**cm.environ, "PYTHONPATH": str(hiding)}, cm.directory)
    arrays = without.run(tags="_resnet50", samples="5")
    assert "generic-python-lib" not in arrays.output
    images = without.run(tags="_resnet50", dataset="photos", mode="accuracy")
    assert "get generic-python-lib _package.Pillow" in images.output
