"""What a feed is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loadgen_generic.seams import Known, SampleLibrary
from loadgen_generic.tensors import SamplePlan

__all__ = ["Feed", "effective"]


@dataclass(frozen=True, slots=True)
class Feed:
    """What one sample is, and all of them.

    Attributes:
        plan: of the largest samples, where their shapes differ.
        known: what came with the samples.
        notes: for the user.
        effective: what is in force, for ``config.effective``.
    """

    plan: SamplePlan
    samples: SampleLibrary
    known: Known
    notes: list[str]
    effective: dict[str, object]


def effective(samples: SampleLibrary, inputs: Mapping[str, str]) -> dict[str, object]:
    """What every feed says of itself.

    Args:
        inputs: name of each input to what it is fed with.
    """
    return {
        "distinct_samples": samples.count(),
        "distinct_shapes": len(set(samples.shapes() or [0])),
        "samples_in_memory": samples.resident(),
        "sample_pool_bytes": samples.nbytes(),
        "inputs": dict(inputs),
        "dataset": None,
    }
