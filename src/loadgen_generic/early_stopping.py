"""Early stopping, as LoadGen computes it.

Source: the early-stopping rule of the MLPerf inference rules and LoadGen's
``early_stopping.cc``. A test that has ``h`` queries under the bound and ``t`` over it passes if,
were the true share of queries over the bound larger than ``1 - percentile``, so few of them
would have been seen with a probability below ``1 - confidence``. Percentiles are shares (0 to 1)
throughout this module; the command line speaks percent, and the one conversion is where the test
is planned.
"""

from __future__ import annotations

import math

__all__ = ["CONFIDENCE", "min_queries", "most_over"]

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


def most_over(queries: int, percentile: float) -> int:
    """Most queries that may be over the bound in a test that passes early stopping.

    Where the percentile is estimated, the estimate is the latency of the query that has this
    many, itself among them, at or above it.

    Returns:
        -1 if even none over the bound would be too few queries.
    """
    low, high = -1, queries - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _passes(queries, percentile, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _passes(queries: int, percentile: float, over: int) -> bool:
    """Whether P(at most ``over`` of ``queries`` are over the bound) < 1 - confidence."""
    log_under, log_over = math.log(percentile), math.log1p(-percentile)
    mean = queries * (1 - percentile)
    if over > mean + 1:
        return False  # beyond the median of a binomial, so with a probability of a half
    # What lies so far below the mean adds nothing that a float can show.
    first = max(0, int(mean - 12 * math.sqrt(mean * percentile)) - 40)
    probability = math.fsum(
        math.exp(
            math.lgamma(queries + 1)
            - math.lgamma(k + 1)
            - math.lgamma(queries - k + 1)
            + k * log_over
            + (queries - k) * log_under
        )
        for k in range(first, over + 1)
    )
    return probability < 1 - CONFIDENCE
