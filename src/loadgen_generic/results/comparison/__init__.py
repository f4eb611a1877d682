"""Is it faster? Results against a baseline, with a verdict that repeated runs bear out."""

from __future__ import annotations

from loadgen_generic.results.comparison.judging import LEAST_PERCENT, compare
from loadgen_generic.results.comparison.records import Against, Change, Comparison, Difference, Side
from loadgen_generic.results.comparison.subjects import Subject, read_subject

__all__ = [
    "LEAST_PERCENT",
    "Against",
    "Change",
    "Comparison",
    "Difference",
    "Side",
    "Subject",
    "compare",
    "read_subject",
]
