"""Numbers for people have the digits that their spread supports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.wording import format_beside, format_measured, format_value

SIZES = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}


@pytest.mark.parametrize(
    ("value", "unit", "spread", "text"),
    [
        (26.345, "samples/s", 0.01, "26.3 samples/s"),
        (2_622_670, "samples/s", 0.01, "2,620,000 samples/s"),
        (113_347, "queries/s", 0.001, "113,300 queries/s"),
        (44.3e6, "ns", 0.3, "44 ms"),
        (1420.0, "ns", 0.01, "1.42 us"),
        (999.7, "ns", 0.01, "1,000 ns"),
        (9.996, "%", 0.01, "10.0 %"),
        (0.0, "samples/s", 0.01, "0 samples/s"),
        (12.0, "", 0.01, "12.0"),
        (5.0, "samples/s", 0.0, "5.00000 samples/s"),
    ],
)
def test_measured(value: float, unit: str, spread: float, text: str) -> None:
    assert format_measured(value, unit, spread) == text


@given(
    st.floats(1e-3, 1e12, allow_nan=False),
    st.floats(1e-4, 0.5),
    st.sampled_from(["ns", "samples/s", "W"]),
)
def test_what_is_shown_is_off_by_less_than_the_spread(
    value: float, spread: float, unit: str
) -> None:
    number, shown_unit = format_measured(value, unit, spread).split()
    shown = float(number.replace(",", "")) * (SIZES[shown_unit] if unit == "ns" else 1)
    assert math.isclose(shown, value, rel_tol=0.51 * spread)
    digits = number.replace(",", "").replace(".", "").strip("0")
    assert len(digits) <= 2 + math.ceil(-math.log10(spread))


@given(st.integers(1, 10**10), st.integers(1, 10**10))
def test_a_value_beside_its_limit_is_told_apart_from_it(value: int, limit: int) -> None:
    shown = format_beside(value, limit, "ns")
    if abs(value / limit - 1) > 1e-4:
        assert shown != format_beside(limit, limit, "ns")
        assert shown != format_value(limit, "ns")
