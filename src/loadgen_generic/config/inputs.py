"""What the inputs are fed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.notation import parse_fill, parse_range, parse_shape
from loadgen_generic.option import Option

__all__ = ["InputOptions"]

_DISTRIBUTIONS = ("uniform", "normal")


class InputOptions(Options):
    shape: Annotated[
        dict[str, str],
        Option("Inputs", "CM_MLPERF_SHAPE", metavar="INPUT=SIZExSIZE[,INPUT=...]"),
    ] = Field(
        default_factory=dict,
        description="shapes of inputs, such as ids=1x128; ? leaves a size to the model, --dim or "
        "the batch",
    )
    value_range: Annotated[
        dict[str, str],
        Option(
            "Inputs", "CM_MLPERF_RANGE", aliases=("range",), metavar="INPUT=LOW:HIGH[,INPUT=...]"
        ),
    ] = Field(
        default_factory=dict,
        description="range of an input's synthetic values, such as ids=0:30522, without the "
        "upper end (default: floats in 0:1, indices as the graph allows, other integers in 0:10)",
    )
    fill: Annotated[
        dict[str, str],
        Option("Inputs", "CM_MLPERF_FILL", metavar="INPUT=VALUE[,INPUT=...]"),
    ] = Field(
        default_factory=dict,
        description="one value for all of an input: ones, zeros, nan or a number",
    )
    distribution: Annotated[
        dict[str, str],
        Option("Inputs", "CM_MLPERF_DISTRIBUTION", metavar="INPUT=KIND[,INPUT=...]"),
    ] = Field(
        default_factory=dict,
        description="how an input's synthetic values are drawn: uniform, or normal (mean 0 and "
        "standard deviation 1; in a --range, around its middle and a sixth of its width)",
    )

    @field_validator("shape", "value_range", "fill", "distribution")
    @classmethod
    def _well_formed(cls, pairs: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        parse = _PARSERS[info.field_name or ""]
        for text in pairs.values():
            parse(text)
        return pairs


def _parse_distribution(text: str) -> str:
    if text not in _DISTRIBUTIONS:
        raise ValueError(f"expected {' or '.join(_DISTRIBUTIONS)}, got {text!r}")
    return text


_PARSERS: dict[str, Callable[[str], object]] = {
    "shape": parse_shape,
    "value_range": parse_range,
    "fill": parse_fill,
    "distribution": _parse_distribution,
}
