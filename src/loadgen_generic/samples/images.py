"""Images as inputs: decoded, resized, cropped and normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from loadgen_generic.errors import RequestError
from loadgen_generic.samples.parts import ONLY, Header, bad_data
from loadgen_generic.samples.presets import PRESETS
from loadgen_generic.tensors import Array, Dim, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "ImageFile", "ImageRecipe", "ImageWishes", "settle_recipe"]

SUFFIXES = (".jpg", ".jpeg", ".png")
_FULL = 255
_CHANNELS = {1: "L", 3: "RGB"}


@dataclass(frozen=True, slots=True)
class ImageWishes:
    """What the ``--image_*`` options ask for; None where they leave it open.

    Attributes:
        size: height and width that the model sees.
        resize: length of the shorter side before the crop.
        crop: ``center``, keeping the aspect ratio, or ``none``, stretching the whole image.
        layout: ``nchw``, ``nhwc`` or ``auto``.
        mean: per channel, of values in [0, 1]; subtracted.
        scale: per channel, of values in [0, 1]; divided by, such as a standard deviation.
        preset: key of :data:`PRESETS`, for what the others leave open.
    """

    size: tuple[int, int] | None = None
    resize: int | None = None
    crop: str | None = None
    layout: str = "auto"
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    preset: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """How an image file becomes an array; what is settled of :class:`ImageWishes`.

    Attributes:
        preset: where the rest came from that no other option said.
        channels: 3 for RGB, 1 for grey.
        dtype: an integer type takes the pixels as they are, 0 to 255; a float type takes
            (pixel / 255 - mean) / scale.
    """

    size: tuple[int, int]
    resize: int
    crop: str
    layout: str
    channels: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    dtype: np.dtype[np.generic]
    preset: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        if self.layout == "nchw":
            return (self.channels, *self.size)
        return (*self.size, self.channels)

    def describe(self) -> dict[str, object]:
        """What is in force, by option."""
        return {
            "image_preset": self.preset,
            "image_size": f"{self.size[0]}x{self.size[1]}",
            "image_resize": self.resize or None,
            "image_crop": self.crop,
            "image_layout": self.layout,
            "image_mean": list(self.mean),
            "image_scale": list(self.scale),
        }


@dataclass(frozen=True, slots=True)
class ImageFile:
    path: Path
    recipe: ImageRecipe
    mapped = False
    untyped = False

    @property
    def name(self) -> str:
        return str(self.path)

    def names(self) -> Sequence[str]:
        return [ONLY]

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        pillow = _pillow()
        try:
            with pillow.open(self.path):
                pass
        except (OSError, ValueError, pillow.DecompressionBombError) as error:
            raise self._broken(error) from None
        return dict.fromkeys(names, Header(self.recipe.shape, self.recipe.dtype))

    def array(self, name: str) -> Array:
        pillow = _pillow()
        try:
            with pillow.open(self.path) as opened:
                image = self._framed(opened.convert(_CHANNELS[self.recipe.channels]), pillow)
        # Pillow tells of broken files in many ways.
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            raise self._broken(error) from None
        pixels = np.asarray(image).reshape(*self.recipe.size, self.recipe.channels)
        if self.recipe.dtype.kind == "f":
            mean = np.array(self.recipe.mean, np.float32)
            scale = np.array(self.recipe.scale, np.float32)
            pixels = ((pixels / np.float32(_FULL) - mean) / scale).astype(self.recipe.dtype)
        return pixels.transpose(2, 0, 1) if self.recipe.layout == "nchw" else pixels

    def _framed(self, image: Image, pillow: ModuleType) -> Image:
        """The image at the size that the model sees."""
        recipe = self.recipe
        height, width = recipe.size
        bilinear = pillow.Resampling.BILINEAR
        if recipe.crop == "none":
            return image.resize((width, height), bilinear)
        if recipe.resize:
            factor = recipe.resize / min(image.size)
        else:
            factor = max(width / image.width, height / image.height)
        wide = max(width, round(image.width * factor))
        high = max(height, round(image.height * factor))
        left, top = (wide - width) // 2, (high - height) // 2
        resized = image.resize((wide, high), bilinear)
        return resized.crop((left, top, left + width, top + height))

    def _broken(self, error: Exception) -> RequestError:
        return bad_data(self.path, f"is not a readable image: {error}.")


def settle_recipe(
    wishes: ImageWishes, inputs: Sequence[TensorSpec], where: Path, sizes: Mapping[str, int]
) -> ImageRecipe:
    """What to do with the images of a dataset so that they fit the model.

    Args:
        sizes: of the model's symbolic dimensions, from ``--dim``.

    Raises:
        RequestError: the model does not take images, or leaves open what no option says.
    """
    _pillow()
    if len(inputs) != 1 or inputs[0].dtype is None or len(inputs[0].shape) not in (3, 4):
        told = ", ".join(spec.describe() for spec in inputs) or "none"
        raise bad_data(
            where, f"holds images, but the model has no single image input. Its inputs: {told}."
        )
    (spec,) = inputs
    dtype = spec.dtype
    assert dtype is not None
    dims = tuple(sizes.get(d, d) if isinstance(d, str) else d for d in spec.shape[-3:])
    layout = _layout(wishes.layout, dims, spec)
    channel, fixed = (dims[0], dims[1:]) if layout == "nchw" else (dims[2], dims[:2])
    channels = channel if isinstance(channel, int) else 3
    if channels not in _CHANNELS:
        raise RequestError(
            f"input {spec.describe()} would have {channels} channels; images have 1 or 3.",
            flag="image_layout",
            value=layout,
        )
    preset = PRESETS[wishes.preset] if wishes.preset else None
    size = _size(wishes.size, fixed, spec, preset.size if preset else None)
    cropped = preset.cropped if preset else 1
    crop, resize = wishes.crop or ("center" if cropped else "none"), wishes.resize or 0
    if resize and crop == "none":
        raise RequestError(
            f"the preset {wishes.preset} stretches the whole image.",
            flag="image_resize",
            value=resize,
            remedy="Add --image_crop center, or leave it out.",
        )
    if preset and cropped and not resize and crop == "center":
        resize = round(max(size) / cropped)
    if resize and resize < max(size):
        raise RequestError(
            f"is less than the image size {size[0]}x{size[1]}, to which it is cropped.",
            flag="image_resize",
            value=resize,
        )
    mean = wishes.mean or (preset.mean if preset else ())
    scale = wishes.scale or (preset.scale if preset else ())
    if dtype.kind != "f":
        if dtype.kind not in "iu" or np.iinfo(dtype).max < _FULL:  # type: ignore[type-var]
            raise bad_data(where, f"holds images, which input {spec.describe()} does not take.")
        if mean or scale:
            raise RequestError(
                f"input {spec.describe()} takes the pixels as they are.",
                flag="image_preset" if preset else "image_mean" if mean else "image_scale",
                remedy="Leave out --image_mean, --image_scale and --image_preset.",
            )
    return ImageRecipe(
        size,
        resize,
        crop,
        layout,
        channels,
        _per_channel("image_mean", mean or (0.0,), channels),
        _per_channel("image_scale", scale or (1.0,), channels),
        dtype,
        wishes.preset,
    )


def _layout(wished: str, dims: tuple[Dim, ...], spec: TensorSpec) -> str:
    if wished != "auto":
        return wished
    if dims[0] in _CHANNELS or dims[2] in _CHANNELS:
        return "nchw" if dims[0] in _CHANNELS else "nhwc"
    raise RequestError(
        f"input {spec.describe()} does not show where the channels are.",
        flag="image_layout",
        value=wished,
        remedy="Give nchw or nhwc.",
    )


def _size(
    wished: tuple[int, int] | None,
    fixed: tuple[Dim, ...],
    spec: TensorSpec,
    otherwise: tuple[int, int] | None,
) -> tuple[int, int]:
    """Height and width: the model's, else what was asked for, else what a preset says."""
    found = []
    for position, dim in enumerate(fixed):
        size = dim if isinstance(dim, int) else (wished or otherwise or (0, 0))[position]
        if not size:
            raise RequestError(
                f"input {spec.describe()} leaves the image's size open.",
                flag="dataset",
                remedy="Give it with --image_size HEIGHTxWIDTH.",
            )
        if wished and size != wished[position]:
            raise RequestError(
                f"the model declares {spec.describe()}.",
                flag="image_size",
                value=f"{wished[0]}x{wished[1]}",
            )
        found.append(size)
    return found[0], found[1]


def _per_channel(flag: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise RequestError(
            f"expected one number or one for each of the {channels} channels.",
            flag=flag,
            value=",".join(f"{value:g}" for value in values),
        )
    return values


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise RequestError(
            "reading images needs Pillow, which is not installed.",
            flag="dataset",
            remedy='Install it with pip install "loadgen-generic[images]".',
        ) from None
    return Image
