"""What a run computed on and in, in words that stand beside its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from loadgen_generic.provider_facts import facts_of

__all__ = ["Computation", "computation_of", "provider_name"]

_MODELS_OWN = "as the model"
_CPU = "CPUExecutionProvider"
_SPELLED = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "TensorRT", "openvino": "OpenVINO"}
_PRECISIONS = {_MODELS_OWN: "the model's own precision", "auto": "precision left to the provider"}
_LOCATIONS = {
    "host": "samples from host memory",
    "pinned": "samples from pinned host memory",
    "device": "samples in device memory",
}


def provider_name(name: str) -> str:
    """An execution provider as people write it: CUDA, TensorRT, OpenVINO, OpenVINO GPU."""
    facts = facts_of(name)
    return _SPELLED.get(facts.short, facts.name.removesuffix("ExecutionProvider"))


@dataclass(frozen=True, slots=True)
class Computation:
    """What is not told is as with the CPU provider.

    Attributes:
        provider: as people write it; empty where the computation is not on this machine, or is none.
        precision: in words, of the computation.
        cards: how many; 0 where the provider does not run on numbered ones.
        data_location: where samples were when the clock started; empty without cards.
        asked: the provider that was asked for, if another one stood in for it; else empty.
    """

    provider: str = "CPU"
    precision: str = _MODELS_OWN
    cards: int = 0
    data_location: str = ""
    asked: str = ""

    @property
    def usual(self) -> bool:
        """Whether it goes without saying: the CPU provider, as precise as the model."""
        return self == Computation() or (not self.provider and self.cards <= 1 and not self._moved)

    @property
    def _moved(self) -> bool:
        return self.data_location not in ("", "host")

    def __str__(self) -> str:
        """Such as ``CUDA, 1 card, tf32, samples from host memory``; empty if usual."""
        if self.usual:
            return ""
        parts = [self._provider()] if self.provider else []
        if self.cards:
            parts.append(f"{self.cards} card" + "s" * (self.cards != 1))
        if self.provider and not (self.asked and self.precision == _MODELS_OWN):
            # What is in brackets stands in brackets itself.
            told = _PRECISIONS.get(self.precision, self.precision)
            parts.append(told.replace(" (", ", ").replace(")", ""))
        if self.data_location:
            parts.append(_LOCATIONS.get(self.data_location, self.data_location))
        return ", ".join(parts)

    def short(self) -> str:
        """For a column: ``CUDA tf32``, ``2 x CUDA float16, device``, ``CPU for CUDA``."""
        if self.usual:
            return ""
        cards = f"{self.cards} x " if self.cards > 1 else ""
        provider = f"{self.provider} for {self.asked}" if self.asked else self.provider
        precision = "" if self.precision == _MODELS_OWN else self.precision.partition(" (")[0]
        text = f"{cards}{provider or 'cards'} {precision}".strip()
        return text + (f", {self.data_location}" if self._moved else "")

    def unlike(self, other: Computation) -> list[str]:
        """Each thing that is not the same, such as ``precision tf32 against float16``."""
        pairs = (
            (each.name, getattr(self, each.name), getattr(other, each.name))
            for each in fields(self)
        )
        return [
            f"{name.replace('_', ' ')} {left or 'none'} against {right or 'none'}"
            for name, left, right in pairs
            if left != right and name != "asked"
        ]

    def _provider(self) -> str:
        return f"{self.provider}, not {self.asked} as asked" if self.asked else self.provider


def computation_of(requested: Mapping[str, Any], effective: Mapping[str, Any]) -> Computation:
    """Of a result's configuration; old results do not tell all of it."""
    name = str(effective.get("execution_provider", _CPU))
    fake = effective.get("backend") == "fake"
    elsewhere = effective.get("backend") == "kserve"
    facts = facts_of(name)
    devices = effective.get("devices") or []
    cards = len(devices) if fake else max(len(devices), 1) if facts.cards else 0
    provider = "" if fake or elsewhere else provider_name(name)
    kind = str((effective.get("ep_options") or {}).get("device_type", "CPU"))
    if facts.streams and kind != "CPU":
        provider += f" {kind}"
    asked = ""
    if effective.get("fallback"):
        asked = provider_name(str(requested.get("execution_provider", "")))
    return Computation(
        provider=provider,
        precision=str(effective.get("precision") or _MODELS_OWN),
        cards=cards,
        data_location=str(effective.get("data_location") or "host") if cards else "",
        asked=asked,
    )
