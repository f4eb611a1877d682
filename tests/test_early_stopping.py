"""Early stopping against the numbers of the rules and a brute-force binomial."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.early_stopping import CONFIDENCE, min_queries, most_over


@pytest.mark.parametrize(
    ("percentile", "over", "queries"),
    [(0.90, 1, 64), (0.99, 1, 662), (0.90, 0, 44), (0.99, 0, 459), (0.95, 1, 130)],
)
def test_known_numbers(percentile: float, over: int, queries: int) -> None:
    assert min_queries(percentile, over) == queries


def chance(queries: int, percentile: Fraction, over: int) -> Fraction:
    """P(at most ``over`` of ``queries`` are over the bound), exactly."""
    beyond = 1 - percentile
    return sum(
        (
            comb(queries, k) * beyond**k * percentile ** (queries - k)
            for k in range(min(over, queries) + 1)
        ),
        Fraction(0),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(500, 990), st.integers(0, 5))
def test_agrees_with_the_binomial(per_mille: int, over: int) -> None:
    percentile = Fraction(per_mille, 1000)
    found = min_queries(float(percentile), over)
    allowed = 1 - Fraction(str(CONFIDENCE))
    assert found > over
    assert chance(found, percentile, over) <= allowed
    assert found == over + 1 or chance(found - 1, percentile, over) > allowed


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1500), st.floats(0.3, 0.9995))
def test_most_over_is_the_inverse(queries: int, percentile: float) -> None:
    over = most_over(queries, percentile)
    assert over == -1 or min_queries(percentile, over) <= queries
    assert min_queries(percentile, over + 1) > queries


@pytest.mark.parametrize(
    ("queries", "percentile", "over"),
    [(43, 0.9, -1), (44, 0.9, 0), (64, 0.9, 1), (661, 0.99, 0), (662, 0.99, 1), (1500, 0.9, 123)],
)
def test_most_over(queries: int, percentile: float, over: int) -> None:
    assert most_over(queries, percentile) == over


def test_millions_of_queries_take_no_time() -> None:
    """A third of a million over the bound: what cannot matter is not summed."""
    assert min_queries(0.99, 300_000) == 30_127_027
    assert most_over(10_000_000, 0.9) == 997_793


@given(st.floats(0.01, 0.9999), st.integers(0, 50))
def test_more_is_needed_for_more_over_the_bound(percentile: float, over: int) -> None:
    assert over < min_queries(percentile, over) <= min_queries(percentile, over + 1)
