"""What each device did in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadgen_generic.results.record import Record

__all__ = ["DeviceShare", "shares_in_words", "shares_of"]


class DeviceShare(Record):
    """One card of the run.

    Attributes:
        number: CUDA's.
        samples: that it answered in the test.
    """

    number: int
    samples: int


def shares_of(told: Sequence[Mapping[str, int]]) -> list[DeviceShare]:
    """As the measured process told them."""
    return [DeviceShare(**each) for each in told]


def shares_in_words(shares: Sequence[DeviceShare]) -> list[str]:
    """For the user, where there are several cards: which answered how much."""
    total = sum(share.samples for share in shares)
    if len(shares) < 2 or not total:
        return []
    each = (
        f"GPU {share.number} {share.samples:,} samples ({100 * share.samples / total:.0f} %)"
        for share in shares
    )
    return [f"answered by {', '.join(each)}"]
