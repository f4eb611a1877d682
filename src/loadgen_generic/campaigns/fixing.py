"""What the runs of a campaign have in common."""

from __future__ import annotations

from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result
from loadgen_generic.supervisor import requested

__all__ = ["layout_of", "one_run"]

_OF_THE_CAMPAIGN = ("mode", "repeat")


def one_run(config: BenchmarkConfig) -> dict[str, Any]:
    """The options given, for one run of the campaign."""
    return {k: v for k, v in requested(config).items() if k not in _OF_THE_CAMPAIGN}


def layout_of(result: Result) -> dict[str, Any]:
    """How a run's queries reached the model, as options.

    A campaign calibrates once. Runs that each chose anew would differ by what they chose, and
    the calibration takes longer than a short test.
    """
    effective = result.config.effective
    layout = {name: effective[name] for name in ("runner", "concurrency", "batch_size")}
    if "intra_op_threads" in effective:
        layout["intra_op_threads"] = effective["intra_op_threads"]
    return layout
