"""Presets of images and labels, and what finds a number of objects that nobody knows before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import reference_models
from command import Command
from PIL import Image

from loadgen_generic.answers.split import top_1
from loadgen_generic.assembly import Assembly
from loadgen_generic.config import BenchmarkConfig, choices
from loadgen_generic.errors import RequestError
from loadgen_generic.feed import Feed, settle_feed
from loadgen_generic.fitting import batching_changes_answers
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import PRESETS
from loadgen_generic.tensors import Array, plan_samples

RGB = (200, 30, 90)

ALONE = Layout("inline", 1, 1, 1)


def settled(model: Path, dataset: Path, **flags: object) -> Feed:
    config = BenchmarkConfig.model_validate(
        {"model_path": str(model), "dataset": str(dataset), "samples": 1, **flags}
    )
    return settle_feed(config, Assembly(config, str(model), 1), ALONE, 1 << 20)


def first(feed: Feed) -> Array:
    feed.samples.load([0])
    array = feed.samples.reader(1).batch([0]).arrays[0]
    return array.reshape(array.shape[-3:])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A directory with one image of one colour, 300 wide and 200 high, with a green left half."""
    pixels = np.full((200, 300, 3), RGB, np.uint8)
    pixels[:, :150] = (0, 255, 0)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


@pytest.fixture
def retinanet(tmp_path: Path) -> Path:
    (tmp_path / "retinanet.onnx").write_bytes(reference_models.retinanet("N"))
    return tmp_path / "retinanet.onnx"


def test_every_preset_can_be_chosen() -> None:
    assert set(choices(BenchmarkConfig.model_fields["image_preset"])) == set(PRESETS)


def test_resnet50_gets_pixels_of_0_to_255_less_the_mean(
    photo: Path, models: Callable[[str], Path]
) -> None:
    feed = settled(models("image"), photo, image_preset="resnet50")
    found = first(feed)
    assert found.shape == (3, 224, 224)
    right = np.subtract(RGB, reference_models.MEAN)
    np.testing.assert_allclose(found[:, 100, 200], right, atol=1e-4)
    np.testing.assert_allclose(found[:, 100, 20], [0, 255, 0] - reference_models.MEAN, atol=1e-4)
    assert feed.effective["image_resize"] == 256
    assert feed.effective["image_preset"] == "resnet50"


def test_retinanet_gets_the_whole_image_stretched(photo: Path, retinanet: Path) -> None:
    found = first(settled(retinanet, photo, image_preset="retinanet"))
    assert found.shape == (3, 800, 800)
    np.testing.assert_allclose(found[:, 400, 790], np.divide(RGB, 255), atol=1e-6)
    # As much of one half as of the other.
    assert (found[1] > 0.5).mean() == pytest.approx(0.5, abs=0.01)


def test_a_length_for_the_crop_of_a_preset_that_stretches(photo: Path, retinanet: Path) -> None:
    flags = {"image_preset": "retinanet", "image_resize": 900}
    with pytest.raises(RequestError, match=r"--image_resize 900: .*--image_crop center"):
        settled(retinanet, photo, **flags)
    cropped = settled(retinanet, photo, image_crop="center", **flags)
    assert (cropped.effective["image_crop"], cropped.effective["image_resize"]) == ("center", 900)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, 7),
        ({"image_preset": "imagenet"}, 7),
        ({"image_preset": "resnet50"}, 8),
        ({"image_preset": "resnet50", "label_offset": 0}, 7),
        ({"label_offset": -3}, 4),
    ],
)
def test_label_offset(
    flags: dict[str, object], expected: int, photo: Path, models: Callable[[str], Path]
) -> None:
    (photo / "labels.txt").write_text("a.png 7\n")
    feed = settled(models("image"), photo, image_size=224, **flags)
    assert feed.known.label(0) == expected
    assert feed.effective["label_offset"] == expected - 7


def test_label_offset_needs_a_dataset(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(models("matmul"), label_offset=1, samples=5)
    assert outcome.code == 2
    assert "--label_offset has no meaning without --dataset" in outcome.stderr


@pytest.mark.parametrize("found", [2, 3, 4])
def test_scores_beside_boxes_are_no_classes(found: int) -> None:
    scores, labels = np.ones(found, np.float32), np.arange(found)
    assert top_1([np.ones((found, 4), np.float32), scores, labels]) is None
    assert top_1([np.array(2), scores]) == 0


def test_a_detector_that_finds_nothing_in_some_images_has_no_batch(tmp_path: Path) -> None:
    path = tmp_path / "sparse.onnx"
    path.write_bytes(reference_models.retinanet("N", size=8, threshold=0.72))
    config = BenchmarkConfig.model_validate({"model_path": str(path), "samples": 1})
    backend, signature = Assembly(config, str(path), 1).backend(ALONE)
    plan = plan_samples(signature, {})
    assert all(batching_changes_answers(backend, plan, seed, lambda: None) for seed in range(300))
