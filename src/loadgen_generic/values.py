"""What is fed to an input, and what a model's graph demands of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from loadgen_generic.elements import kind_of, limits

__all__ = ["NO_HINTS", "Hints", "Values", "default_values", "wished_values"]

_DEFAULT_LIMIT = 10  # integers without any demand on them
_WORDS = 10**8


@dataclass(frozen=True, slots=True)
class Values:
    """How the values of one input are drawn.

    Attributes:
        kind: ``uniform`` over [low, high), for integers and booleans over the whole numbers
            in it; ``normal`` around the middle of it, clipped, six standard deviations wide;
            ``constant``, always ``low``.
        why: in words.
    """

    kind: str
    low: float
    high: float
    why: str

    def describe(self) -> str:
        if self.kind == "constant":
            return f"{self.low:g} everywhere ({self.why})"
        return f"{self.kind} over [{self.low:g}, {self.high:g}) ({self.why})"


@dataclass(frozen=True, slots=True)
class Hints:
    """What a graph demands of its inputs.

    Attributes:
        dims: sizes of symbolic dimensions, by name.
        axes: sizes of dimensions without a name, by (input, axis).
        values: legal values, by input.
        arrays: inputs that have to hold exactly this, such as a shape, by input; nested lists
            of one sample.
        why: for a dimension's name or ``input[axis]``, what the size follows from.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    axes: Mapping[tuple[str, int], int] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    arrays: Mapping[str, object] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)


NO_HINTS = Hints()


def default_values(dtype: np.dtype[np.generic]) -> Values:
    """Floats in [0, 1), small integers, coin tosses, words by their number."""
    kind = kind_of(dtype)
    if kind == "b":
        return Values("uniform", 0, 2, "true or false")
    if kind == "U":
        return Values("uniform", 0, _WORDS, "numbers of made-up words")
    least, most = limits(dtype)
    if kind in "iu":
        return Values("uniform", 0, min(_DEFAULT_LIMIT, most + 1), "small integers")
    if least > 0:
        return Values("uniform", 1 / 16, 16, "powers of two, the only ones it has")
    if most < _DEFAULT_LIMIT:
        return Values("uniform", 0, most, "the few that it has")
    return Values("uniform", 0, 1, "the default")


def wished_values(
    name: str,
    drawn: Values,
    ranges: Mapping[str, tuple[float, float]],
    fills: Mapping[str, float],
    distributions: Mapping[str, str],
) -> Values:
    """What ``--range``, ``--fill`` and ``--distribution`` make of an input's values."""
    if name in fills:
        return Values("constant", fills[name], fills[name], "--fill")
    low, high = ranges.get(name, (drawn.low, drawn.high))
    kind = distributions.get(name, drawn.kind)
    if kind == "normal" and name not in ranges and (drawn.low, drawn.high) == (0, 1):
        low, high = -3.0, 3.0  # the standard normal distribution
    flags = [
        f for f, given in (("--range", ranges), ("--distribution", distributions)) if name in given
    ]
    return Values(kind, low, high, ", ".join(flags) or drawn.why)
