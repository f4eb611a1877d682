"""How well-known models want their images, and how they count their classes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]

_FULL = 255


@dataclass(frozen=True, slots=True)
class Preset:
    """What an ``--image_preset`` stands for, where the other options leave it open.

    Attributes:
        size: height and width, where the model leaves them open.
        cropped: length of the crop as a share of the resized image's shorter side; 0 stretches
            the whole image.
        mean, scale: per channel, of values in [0, 1], RGB; subtracted and then divided by.
        label_offset: class of the model that stands for label 0.
    """

    size: tuple[int, int]
    cropped: float
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    label_offset: int = 0


PRESETS = {
    "imagenet": Preset(
        (224, 224), 224 / 256, mean=(0.485, 0.456, 0.406), scale=(0.229, 0.224, 0.225)
    ),
    # MLPerf's ResNet-50 v1.5: values of 0 to 255 less the mean, and class 0 for the background.
    "resnet50": Preset(
        (224, 224),
        224 / 256,
        mean=(123.68 / _FULL, 116.78 / _FULL, 103.94 / _FULL),
        scale=(1 / _FULL,),
        label_offset=1,
    ),
    # MLPerf's RetinaNet, which has the normalisation inside its graph.
    "retinanet": Preset((800, 800), 0),
}
