"""Some of many alike cases in the fast half of the tests, the others in the slow half."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["few"]


def few(cases: Iterable[Any], every: int) -> list[Any]:
    """The cases, of which only the first and each ``every``-th after it are fast."""
    return [case if at % every == 0 else _slow(case) for at, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
