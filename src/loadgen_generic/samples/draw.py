"""Random values of any element type, drawn as a plan says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from loadgen_generic.elements import kind_of
from loadgen_generic.errors import RequestError
from loadgen_generic.tensors import Array, InputPlan
from loadgen_generic.values import default_values

__all__ = ["draw"]

_SYLLABLES = np.array([one + two for one in "bcdfghjklmnprstvwxyz" for two in "aeiou"])
_FINEST = 60  # halvings of a range; more than any float has bits


def draw(plan: InputPlan, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Values of one input.

    They lie in [low, high) of the plan's values also after they were rounded to the element
    type.

    Args:
        shape: of what is drawn; its last dimensions are those of the plan where the plan says
            what every sample holds.

    Raises:
        RequestError: the element type has no value in the range.
    """
    if plan.array is not None:
        return np.broadcast_to(np.asarray(plan.array, plan.dtype), shape)
    kind = kind_of(plan.dtype)
    values = plan.values or default_values(plan.dtype)
    low, high = values.low, values.high
    if values.kind == "constant":
        if kind == "U":
            return np.full(shape, f"{low:g}", plan.dtype)
        return np.full(shape, int(low) if kind in "biu" else low).astype(plan.dtype)
    if values.kind == "normal":
        drawn = np.clip(random.normal((low + high) / 2, (high - low) / 6, shape), low, high)
        if kind == "f":
            return _within(drawn.astype(plan.dtype), plan.name, low, high)
        # At the upper end itself only where the clipping put it there.
        whole = np.minimum(np.floor(drawn), high - 1)
        return _words(whole.astype(np.int64), plan) if kind == "U" else whole.astype(plan.dtype)
    if kind in "biuU":
        # numpy draws its own whole numbers only; those of ml_dtypes are narrower than int8.
        drawable: Any = {"b": "u1", "U": "i8", "V": "i1"}.get(plan.dtype.kind, plan.dtype)
        numbers: Array = random.integers(int(low), int(high), shape, dtype=drawable)
        return _words(numbers, plan) if kind == "U" else numbers.astype(plan.dtype, copy=False)
    fine = np.float64 if plan.dtype.itemsize > 4 else np.float32
    scaled = random.random(shape, dtype=fine)
    if (low, high) == (0, 1) and plan.dtype == fine:
        return scaled
    if (low, high) != (0, 1):
        scaled = scaled * fine(high - low) + fine(low)
    return _within(scaled.astype(plan.dtype, copy=False), plan.name, low, high)


def _within(drawn: Array, name: str, low: float, high: float) -> Array:
    """What was rounded out of the range, moved to its nearest end inside."""
    steps = [(high - low) * 2.0**-halvings for halvings in range(_FINEST, 0, -1)]
    first = _first_inside(drawn.dtype, [low, *(low + step for step in steps)], low, high)
    if first is None:
        raise RequestError(
            f"input {name} holds {drawn.dtype.name}, which has no value from {low:g} to "
            f"{high:g}. Give a wider --range {name}=LOW:HIGH."
        )
    last = _first_inside(drawn.dtype, [high - step for step in steps], low, high)
    moved: Array = np.minimum(np.maximum(drawn, first), first if last is None else last)
    return moved


def _first_inside(
    dtype: np.dtype[np.generic], candidates: Iterable[float], low: float, high: float
) -> Array | None:
    for candidate in candidates:
        rounded = np.array(candidate).astype(dtype)
        if low <= float(rounded) < high:
            return rounded
    return None


def _words(numbers: Array, plan: InputPlan) -> Array:
    """Each number as a pronounceable word of its own, of as many letters as the largest needs."""
    words = np.zeros(numbers.shape, "U1")
    rest, most = numbers.astype(np.int64), int(np.max(numbers, initial=0))
    while True:
        words = np.char.add(_SYLLABLES[rest % len(_SYLLABLES)], words)
        rest, most = rest // len(_SYLLABLES), most // len(_SYLLABLES)
        if not most:
            return words.astype(plan.dtype)
