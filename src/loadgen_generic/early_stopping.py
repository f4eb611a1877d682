"""Early stopping, as LoadGen computes it.

Source: the early-stopping rule of the MLPerf inference rules. A test that has ``h`` queries
under the bound and ``t`` over it passes if, were the true share of queries over the bound
larger than ``1 - percentile``, so few of them would have been seen with a probability of at
most ``1 - confidence``. Percentiles are shares (0 to 1) throughout this module; the command
line speaks percent, and the one conversion is where the test is planned.
"""

from __future__ import annotations

import math

__all__ = ["CONFIDENCE", "min_queries"]

# Fixed by the rules, hence no option.
CONFIDENCE = 0.99


def min_queries(percentile: float, over: int = 1) -> int:
    """Fewest queries with which a test can pass early stopping.

    Args:
        percentile: the percentile of latency, as a share in (0, 1).
        over: queries over the bound. Where the percentile is estimated rather than bounded
            (SingleStream, MultiStream) LoadGen discards at least one query, hence 1.

    Returns:
        64 for the 90th and 662 for the 99th percentile with one query over the bound.
    """
    low, high = over + 1, over + 2
    while not _passes(high, percentile, over):
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if _passes(middle, percentile, over):
            high = middle
        else:
            low = middle + 1
    return high


def _passes(queries: int, percentile: float, over: int) -> bool:
    """Whether P(at most ``over`` of ``queries`` are over the bound) <= 1 - confidence."""
    log_under, log_over = math.log(percentile), math.log1p(-percentile)
    probability = math.fsum(
        math.exp(
            math.lgamma(queries + 1)
            - math.lgamma(k + 1)
            - math.lgamma(queries - k + 1)
            + k * log_over
            + (queries - k) * log_under
        )
        for k in range(over + 1)
    )
    return probability <= 1 - CONFIDENCE
