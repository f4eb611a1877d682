"""Which operators take the time: a pass of ONNX Runtime's profiler, apart from the measured one."""

from __future__ import annotations

from loadgen_generic.results.record import Record

__all__ = ["PROFILE_FILE", "OperatorTime", "Profile"]

PROFILE_FILE = "onnxruntime_profile.json"


class OperatorTime(Record):
    """One kind of operator, or one node.

    Attributes:
        name: of the node; the kind's name again where nodes are summed up.
        kind: operator type, such as ``Conv``.
        provider: execution provider that ran it.
        nodes: how many nodes are summed up here.
        calls: how often they ran in the pass.
        total_us: of all calls.
        share: of the time of all operators (0 to 1).
    """

    name: str
    kind: str
    provider: str
    nodes: int
    calls: int
    total_us: float
    share: float


class Profile(Record):
    """The outcome of the pass.

    Attributes:
        inferences: how many were profiled.
        batch_size: samples in each.
        inference_us: mean time of one inference with the profiler on, which slows it down.
        operators: by kind, the slowest first; all of them.
        nodes: the slowest single nodes, the slowest first; 20 at most.
        file: path of ONNX Runtime's own trace, which a browser's tracing page can show.
    """

    inferences: int
    batch_size: int
    inference_us: float
    operators: list[OperatorTime]
    nodes: list[OperatorTime]
    file: str
