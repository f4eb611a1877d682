"""What the runs of a campaign have in common."""

from __future__ import annotations

from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result

__all__ = ["layout_of", "one_run", "same_test"]

_OF_THE_CAMPAIGN = ("mode", "repeat", "trials_on")


def one_run(config: BenchmarkConfig) -> dict[str, Any]:
    """The options given, for one run of the campaign; not to be written down, since headers are
    among them."""
    given = config.model_dump(exclude_unset=True)
    if config.trials_on == "ray":
        given.pop("ray_address", None)  # the cluster is the campaign's as well
    return {name: value for name, value in given.items() if name not in _OF_THE_CAMPAIGN}


def layout_of(result: Result) -> dict[str, Any]:
    """How a run's queries reached the model, as options.

    A campaign calibrates once. Runs that each chose anew would differ by what they chose, and
    the calibration takes longer than a short test.
    """
    effective = result.config.effective
    layout = {name: effective[name] for name in ("runner", "concurrency", "batch_size")}
    if "intra_op_threads" in effective:
        layout["intra_op_threads"] = effective["intra_op_threads"]
    if "devices" in result.config.requested:
        layout["devices"] = ",".join(map(str, effective["devices"]))
    return layout


def same_test(result: Result) -> dict[str, Any]:
    """What the first run of a campaign chose, as options that make the others the same test."""
    fixed = layout_of(result)
    if result.scenario == "Server":
        effective = result.config.effective
        fixed |= {name: effective[name] for name in ("target_qps", "target_latency_ms")}
    if result.scenario == "MultiStream":
        del fixed["batch_size"]  # as large as a query unless it was asked for
    return fixed
