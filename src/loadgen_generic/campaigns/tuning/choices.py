"""The choices of a family beyond its layout: execution mode and batch time-out."""

from __future__ import annotations

from loadgen_generic.campaigns.tuning.family import Choice
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.graph.structure import Structure
from loadgen_generic.machine import available_cores

__all__ = ["MODES", "timeouts", "why_one_mode"]

MODES = Choice("execution_mode", ("sequential", "parallel"))
# Of the latency bound: what a query may wait for others.
_SHARES = (0.1, 0.25)
_US_PER_MS = 1000


def why_one_mode(config: BenchmarkConfig, structure: Structure | None) -> str:
    """Why the parallel execution mode is no choice on the CPU provider, in words; empty if it
    is."""
    if config.execution_mode != "auto":
        return f"--execution_mode names {config.execution_mode}"
    if available_cores() < 2:
        return "there is one core"
    if config.inter_op_threads == 1:
        return "--inter_op_threads 1 leaves one thread for all operators"
    if structure is None:
        return "the model is not in ONNX's own format, so its graph is not known"
    if structure.side_by_side < 2:
        return "the model's operators follow one upon another"
    return ""


def timeouts(config: BenchmarkConfig, structure: Structure | None) -> tuple[Choice | None, str]:
    """How long queries of the Server scenario may wait for others; None and the reason, in
    words, where they wait for none."""
    why_not = ""
    if config.batch_timeout_us is not None:
        why_not = f"--batch_timeout_us names {config.batch_timeout_us:g}"
    elif config.batch_size == 1:
        why_not = "--batch_size 1 leaves nothing to wait for"
    elif config.runner == "inline":
        why_not = "--runner inline answers at once what it is handed"
    elif config.batch_dim == "none" or (structure is not None and not structure.open_batch):
        why_not = "the size of a batch is not open"
    elif config.target_latency_ms is None:
        why_not = "no --target_latency_ms was given, of which it would be a share"
    else:
        bound_us = config.target_latency_ms * _US_PER_MS
        waits = (round(bound_us * share, 3) for share in _SHARES)
        return Choice("batch_timeout_us", (0.0, *waits)), ""
    return None, why_not
