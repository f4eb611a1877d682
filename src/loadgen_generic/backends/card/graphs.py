"""CUDA graphs: an inference recorded once and then launched as a whole.

ONNX Runtime records a graph for each ``gpu_graph_id`` of a session and thread. It holds addresses
and shapes, so there is one for each set of buffers, which never change, and an id is never used
for another one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from loadgen_generic.tensors import Array

__all__ = ["Graphs", "alike", "run_options", "why_on_host", "why_refused"]

_MOST = 16  # of a worker: each takes two inferences to record, and memory for its launches
_HOST = "Cpu"  # of a memory, by ONNX Runtime
_NONE = "-1"  # ONNX Runtime's word for an inference outside any graph
_ID, _NO_WAIT = "gpu_graph_id", "disable_synchronize_execution_providers"
_REFUSALS = ("graph capture feature", "CUDA Graph feature")
# Loose: a graph may hold another algorithm than a plain run. What it must catch is an answer to
# something else.
_RELATIVE, _ABSOLUTE = 2e-2, 1e-3


class Graphs:
    """The graphs of one session, of which one worker after the other makes use.

    Args:
        why_not: why it has none, in words; empty where it may have some.

    Attributes:
        recorded: the ids of those that the worker has.
        left_out: why it has no more, in words.
    """

    def __init__(self, why_not: str) -> None:
        self.why_not = why_not
        self.left_out = ""
        self.recorded: set[int] = set()
        self._given = self._last_id = 0

    def begin(self) -> None:
        """For another worker, whose buffers are others."""
        self.left_out = ""
        self.recorded.clear()
        self._given = 0

    def next_id(self, unsized: Sequence[str]) -> int:
        """An id for an inference with new buffers; 0 where it has to do without a graph.

        Args:
            unsized: outputs whose shape is not known before they are there.
        """
        if self.why_not:
            return 0
        if unsized:
            self.left_out = f"the shape of output {unsized[0]} is not known in advance"
            return 0
        if self._given == _MOST:
            self.left_out = f"a worker has more than {_MOST} batch shapes"
            return 0
        self._given += 1
        self._last_id += 1
        return self._last_id

    def drop(self, graph: int, why: str) -> None:
        """It is not used after all."""
        self.recorded.discard(graph)
        self.left_out = why

    def in_words(self) -> str:
        """For a result: ``on``, or ``off: `` and why."""
        if self.why_not:
            return f"off: {self.why_not}"
        if not self.recorded:
            return f"off: {self.left_out or 'nothing was recorded'}"
        return f"on, but not where {self.left_out}" if self.left_out else "on"


def run_options(graph: int, graphs: Graphs) -> ort.RunOptions:
    """Options of an inference that does not wait for the GPU.

    Args:
        graph: as :meth:`Graphs.next_id` gave it.
    """
    options = ort.RunOptions()
    options.add_run_config_entry(_NO_WAIT, "1")
    if not graphs.why_not:
        options.add_run_config_entry(_ID, str(graph) if graph else _NONE)
    return options


def why_refused(session_error: str) -> str:
    """Why ONNX Runtime refuses graphs for a model, in words; empty if it says nothing of graphs."""
    if not any(each in session_error for each in _REFUSALS):
        return ""
    if "control flow" in session_error:
        return "the model has control flow"
    return "not all operators run on the GPU"


def why_on_host(session: ort.InferenceSession) -> str:
    """Which input the processor reads, whose part of an inference no graph holds, in words; empty
    if none does, and where this ONNX Runtime does not tell."""
    tell = getattr(session, "get_input_memory_infos", None)
    if tell is None:
        return ""
    for node, memory in zip(session.get_inputs(), tell(), strict=True):
        if memory.name == _HOST:
            return f"the processor reads input {node.name}"
    return ""


def alike(ones: Sequence[Array], others: Sequence[Array]) -> bool:
    """Whether two runs on the same samples gave the same answers, but for rounding."""
    return all(_alike(one, other) for one, other in zip(ones, others, strict=True))


def _alike(one: Array, other: Array) -> bool:
    if one.dtype.kind in "biu":
        return bool(np.array_equal(one, other))
    a, b = one.astype(np.float64), other.astype(np.float64)
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return bool(np.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE * scale, equal_nan=True))
