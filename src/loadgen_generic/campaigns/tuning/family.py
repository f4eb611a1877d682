"""Candidates that compute alike: one provider, one precision, one version of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Choice", "Family"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting that leaves the arithmetic as it is.

    Attributes:
        option: its name.
        values: what may be tried, what a run would choose unasked first; two or more.
    """

    option: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Candidates whose answers differ by no more than the order of sums.

    Attributes:
        name: in words, such as ``openvino bfloat16`` or ``cpu float32, extended``.
        provider: short name.
        precision: ``float32``, ``tf32``, ``bfloat16``, ``float16`` or ``int8``; ``as the model``
            for one without float32 weights; ``auto`` where it is left to the provider.
        options: of a run, that make it this family; over what the user gave.
        quantized: the model is quantised to int8 first; the file is named by whoever made it.
        choices: beyond runner, workers, threads and batch.
    """

    name: str
    provider: str
    precision: str
    options: Mapping[str, Any]
    quantized: bool = False
    choices: tuple[Choice, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        choices = [{"option": each.option, "values": list(each.values)} for each in self.choices]
        return {
            "name": self.name,
            "provider": self.provider,
            "precision": self.precision,
            "options": dict(self.options),
            "quantized": self.quantized,
            "choices": choices,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Family:
        choices = tuple(
            Choice(each["option"], tuple(each["values"])) for each in content["choices"]
        )
        return cls(**{**content, "choices": choices})
