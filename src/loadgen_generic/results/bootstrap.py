"""How sure a median is: a confidence interval by bootstrap.

Source: the bootstrap, Annals of Statistics 7 (1979), pages 1 to 26; the percentile interval,
"An Introduction to the Bootstrap" (Chapman & Hall, 1993), chapter 13. Of few values it is rough:
it never reaches beyond the smallest and the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["CONFIDENCE", "median_interval", "spread"]

CONFIDENCE = 0.95
_RESAMPLES = 10_000
_SEED = 0  # the same values give the same interval


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval that holds the median with this confidence (a share, 0 to 1)."""
    data = np.asarray(values, np.float64)
    drawn = np.random.default_rng(_SEED).integers(0, len(data), (_RESAMPLES, len(data)))
    medians = np.median(data[drawn], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return float(low), float(high)


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median; 0 where the median is."""
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle if middle else 0.0
