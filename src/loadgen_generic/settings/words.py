"""Numbers as people read them."""

from __future__ import annotations

import math

from loadgen_generic.errors import RequestError

__all__ = ["SLOWEST_QUERY_SEC", "about", "round_down", "too_slow"]

# Far beyond this LoadGen's nanoseconds overflow.
SLOWEST_QUERY_SEC = 86400.0


def round_down(value: float) -> float:
    """To three significant digits."""
    if value <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / step) * step:.6g}")


def about(seconds: float) -> str:
    """A time to wait."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def too_slow(flag: str, rate: float | None) -> RequestError:
    return RequestError(
        "this is less than one query a day.", flag=flag, value=rate, remedy="Give a higher rate."
    )
