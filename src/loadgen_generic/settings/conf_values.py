"""What LoadGen made of its files, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loadgen_generic.conf import Setting

__all__ = ["ConfValues"]


@dataclass(frozen=True, slots=True)
class ConfValues:
    """LoadGen's settings after its files, as plain data.

    Attributes:
        values: every attribute of LoadGen's TestSettings that is a number, 0 and 1 for a flag.
        rules: the same with the built-in mlperf.conf alone.
        built_in: whether that was applied.
        given: the lines of ``--user_conf`` that have an effect, by key.
    """

    values: Mapping[str, float]
    rules: Mapping[str, float]
    built_in: bool
    given: Mapping[str, Setting]

    @property
    def seeds(self) -> tuple[int, int, int]:
        names = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
        one, two, three = (int(self.values[name]) for name in names)
        return one, two, three
