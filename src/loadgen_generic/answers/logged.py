"""The answers of a performance run of which an audit logs some."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen_generic.answers.split import as_bytes, split
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["answers_as_bytes"]


def answers_as_bytes(
    plan: SamplePlan, indices: Sequence[int], outputs: Sequence[Array]
) -> list[Array]:
    """Each sample's answer as an accuracy run logs it. Nothing is kept: LoadGen copies the ones
    that it logs."""
    return [as_bytes(answer) for answer in split(plan, outputs, len(indices))]
