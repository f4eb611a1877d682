"""The model, and what one sample of it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["ModelOptions"]


class ModelOptions(Options):
    model_path: Annotated[
        str | None,
        Option("Model", "CM_ML_MODEL_FILE_WITH_PATH", aliases=("modelpath",), metavar="FILE"),
    ] = Field(None, description="ONNX model to measure")
    model: Annotated[Literal["demo"] | None, Option("Model", "CM_MODEL", in_cm=False)] = Field(
        None,
        description="a model that needs no file: demo is ResNet-50 v1.5 with seeded random "
        "weights, built on first use",
    )
    batch_dim: Annotated[
        str, Option("Model", "CM_MLPERF_BATCH_DIM", metavar="{auto,none,NAME}")
    ] = Field(
        "auto",
        description="the dimension along which samples are batched; auto takes the leading one "
        "where it is open on every input, or fixed alike on every input and output",
    )
    dim: Annotated[
        dict[str, int], Option("Model", "CM_MLPERF_DIM", metavar="NAME=SIZE[,NAME=SIZE...]")
    ] = Field(
        default_factory=dict,
        description="sizes of the model's symbolic dimensions, by name; the batch dimension "
        "needs none",
    )
    seed: Annotated[int, Option("Model", "CM_MLPERF_SEED")] = Field(
        0, ge=0, lt=2**63, description="seed of the synthetic inputs and of LoadGen's generators"
    )

    @field_validator("dim")
    @classmethod
    def _positive_dims(cls, value: dict[str, int]) -> dict[str, int]:
        for name, size in value.items():
            if size < 1:
                raise ValueError(f"dimension {name} must be at least 1, not {size}")
        return value
