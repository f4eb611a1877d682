"""Real data for the inputs, in place of generated values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["DataOptions", "parse_image_size", "parse_numbers"]


class DataOptions(Options):
    dataset: Annotated[str | None, Option("Data", "CM_MLPERF_DATASET", metavar="PATH")] = Field(
        None,
        description="real samples: a file or directory of .npz, .npy, .jsonl or images, or ONNX "
        "test_data_set_* directories (default: generated values)",
    )
    samples_in_memory: Annotated[int | None, Option("Data", "CM_MLPERF_SAMPLES_IN_MEMORY")] = Field(
        None,
        ge=1,
        le=2**24,
        description="most samples of the dataset that are loaded at once (default: all, or as "
        "many as fit a quarter of the available memory)",
    )
    image_preset: Annotated[
        Literal["imagenet", "resnet50", "retinanet"] | None,
        Option("Data", "CM_MLPERF_IMAGE_PRESET"),
    ] = Field(
        None,
        description="how images are prepared, where the other options leave it open: imagenet "
        "resizes to 256, crops 224 from the centre, and normalises by ImageNet's mean and "
        "standard deviation; resnet50 does the same with values of 0 to 255 less MLPerf's mean, "
        "and counts classes from 1; retinanet stretches to 800x800 (by variation _resnet50 or "
        "_retinanet, where no --image_* option is given)",
    )
    image_size: Annotated[
        str | None, Option("Data", "CM_MLPERF_IMAGE_SIZE", metavar="HEIGHTxWIDTH")
    ] = Field(None, description="size of the image that the model sees (default: the model's)")
    image_resize: Annotated[int | None, Option("Data", "CM_MLPERF_IMAGE_RESIZE")] = Field(
        None,
        ge=1,
        le=2**16,
        description="length of an image's shorter side before the crop (default: the crop is as "
        "large as it can be)",
    )
    image_crop: Annotated[
        Literal["center", "none"] | None, Option("Data", "CM_MLPERF_IMAGE_CROP")
    ] = Field(
        None,
        description="center crops and keeps the aspect ratio, none stretches the whole image "
        "(center)",
    )
    image_layout: Annotated[
        Literal["auto", "nchw", "nhwc"] | None, Option("Data", "CM_MLPERF_IMAGE_LAYOUT")
    ] = Field(None, description="where the channels are; auto looks at the model's shape (auto)")
    image_mean: Annotated[
        str | None, Option("Data", "CM_MLPERF_IMAGE_MEAN", metavar="NUMBER[,NUMBER,NUMBER]")
    ] = Field(
        None,
        description="subtracted from each channel, whose values are in 0:1; RGB (0; integer "
        "inputs take the pixels as they are)",
    )
    image_scale: Annotated[
        str | None, Option("Data", "CM_MLPERF_IMAGE_SCALE", metavar="NUMBER[,NUMBER,NUMBER]")
    ] = Field(
        None,
        description="what each channel is divided by after that, such as its standard deviation "
        "(1)",
    )

    label_offset: Annotated[int | None, Option("Data", "CM_MLPERF_LABEL_OFFSET")] = Field(
        None,
        ge=-(2**31),
        le=2**31,
        description="added to each label of the dataset to give the model's class (0; 1 for the "
        "preset or variation resnet50, whose class 0 is the background)",
    )

    @field_validator("image_size", "image_mean", "image_scale", mode="before")
    @classmethod
    def _as_text(cls, value: object, info: ValidationInfo) -> object:
        """Numbers and lists, as JSON may give them."""
        if isinstance(value, (list, tuple)):
            return ("x" if info.field_name == "image_size" else ",").join(map(str, value))
        return str(value) if isinstance(value, (int, float)) else value

    @field_validator("image_size", "image_mean", "image_scale")
    @classmethod
    def _parsable(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None:
            _PARSERS[info.field_name or ""](text)
        return text

    def data_contradiction(self) -> str:
        """What the data options say against each other, for the user; empty if nothing."""
        for name in DataOptions.model_fields:
            if name != "dataset" and self.dataset is None and getattr(self, name) is not None:
                return f"--{name} has no meaning without --dataset"
        if self.image_resize is not None and self.image_crop == "none":
            return "--image_resize has no meaning with --image_crop none; leave one out"
        return ""


def parse_image_size(text: str) -> tuple[int, int]:
    """``224x320`` as (224, 320), and ``224`` as (224, 224).

    Raises:
        ValueError: anything else.
    """
    parts = text.strip().lower().split("x")
    sizes = [int(part) if part.isascii() and part.isdigit() else 0 for part in parts]
    if len(sizes) > 2 or min(sizes) < 1:
        raise ValueError(f"expected HEIGHTxWIDTH such as 224x224, got {text!r}")
    return sizes[0], sizes[-1]


def parse_numbers(text: str) -> tuple[float, ...]:
    """``0.485,0.456,0.406`` as numbers.

    Raises:
        ValueError: not one number or three.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise ValueError(f"expected one number or three such as 0.485,0.456,0.406, got {text!r}")
    return numbers


def _parse_scale(text: str) -> tuple[float, ...]:
    if 0 in parse_numbers(text):
        raise ValueError(f"values cannot be divided by 0, got {text!r}")
    return parse_numbers(text)


_PARSERS: dict[str, Callable[[str], object]] = {
    "image_size": parse_image_size,
    "image_mean": parse_numbers,
    "image_scale": _parse_scale,
}
