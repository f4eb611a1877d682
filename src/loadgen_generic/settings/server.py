"""Server's arrival rate and latency bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.settings.words import SLOWEST_QUERY_SEC, round_down, too_slow
from loadgen_generic.wording import digits

if TYPE_CHECKING:
    from loadgen_generic.seams import Estimate

__all__ = ["SERVER_LEAST_LATENCY_SEC", "server_target"]

# Half of what the model can do leaves room for Poisson bursts, so that the bound below holds.
SERVER_LOAD = 0.5
SERVER_LATENCY_FACTOR = 10
SERVER_LEAST_LATENCY_SEC = 0.1


def server_target(
    config: BenchmarkConfig, estimate: Estimate | None, notes: list[str]
) -> tuple[float, float]:
    """Queries/s and the bound in ms; says in ``notes`` how it came to what was not given."""
    rate = config.target_qps or config.loadgen_expected_qps
    if rate is None:
        assert estimate is not None
        rate = round_down(SERVER_LOAD * estimate.samples_per_sec)
        notes.append(
            f"{digits(rate)} queries/s = {SERVER_LOAD:g} x "
            f"{digits(estimate.samples_per_sec)} samples/s "
            "measured; set your own with --target_qps"
        )
    elif rate * SLOWEST_QUERY_SEC < 1:
        flag = "target_qps" if config.target_qps else "loadgen_expected_qps"
        raise too_slow(flag, rate)
    bound = config.target_latency_ms
    if bound is None:
        assert estimate is not None
        latency = estimate.latency_sec
        bound = 1000 * max(SERVER_LEAST_LATENCY_SEC, SERVER_LATENCY_FACTOR * latency)
        notes.append(
            f"latency bound {digits(bound)} ms, since a lone query takes "
            f"{digits(latency * 1000)} ms; "
            "set your own with --target_latency_ms"
        )
    return rate, bound
