"""Which operators take the time: inferences under ONNX Runtime's profiler, added up.

The profiler writes trace events: one with category ``Node`` for each operator that ran, one named
``model_run`` for each inference, times in whole microseconds. An operator that holds a graph of
its own, such as ``Loop``, lasts as long as all that ran inside it; here it is charged with the
rest only. On a GPU an operator's time is that of launching it, unless the provider waits for it.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from loadgen_generic.backends.optimized import Configure
from loadgen_generic.backends.ortworkers import make_worker
from loadgen_generic.errors import RunError
from loadgen_generic.seams import Batch

__all__ = ["OperatorProfiler"]

_WARMUPS = 3
_LEAST, _MOST, _ENOUGH_SEC = 3, 50, 2.0
_SLOWEST_NODES = 20
_NODE, _KERNEL, _INFERENCE = "Node", "_kernel_time", "model_run"
_Event = dict[str, Any]


class OperatorProfiler:
    """A pass of its own, on a session like the measured one.

    Args:
        open_session: opens one, after a change to its options.
    """

    def __init__(self, open_session: Callable[[Configure], ort.InferenceSession]) -> None:
        self._open_session = open_session

    def run(
        self, batches: Iterator[Batch], file: Path, beat: Callable[[], None]
    ) -> Mapping[str, object]:
        """Feed about two seconds of batches, at most 50, and say what took how long.

        Args:
            batches: without end.
            file: where the trace goes; what is there is overwritten.
            beat: called after each inference.

        Returns:
            The fields of :class:`loadgen_generic.results.profile.Profile`.

        Raises:
            RunError: the session failed, or no trace could be written.
        """
        aside = Path(tempfile.mkdtemp(".profile", dir=file.parent))
        try:
            batch_size, written = self._feed(batches, aside, beat)
            written.replace(file)
            events = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"ONNX Runtime's profile cannot be read: {error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return {"batch_size": batch_size, "file": str(file), **_added_up(events)}

    def _feed(
        self, batches: Iterator[Batch], aside: Path, beat: Callable[[], None]
    ) -> tuple[int, Path]:
        """The size of a batch, and the trace."""

        def record(options: ort.SessionOptions) -> None:
            options.enable_profiling = True
            options.profile_file_prefix = str(aside / "trace")

        session = self._open_session(record)
        worker = make_worker(session)
        end = float("inf")
        for number, batch in enumerate(itertools.islice(batches, _WARMUPS + _MOST)):
            if number == _WARMUPS:
                end = time.perf_counter() + _ENOUGH_SEC
            try:
                worker.infer(batch)
            except Exception as error:
                raise RunError(f"the model failed under the profiler: {error}") from error
            beat()
            if number + 1 >= _WARMUPS + _LEAST and time.perf_counter() >= end:
                break
        return batch.count, Path(session.end_profiling())


@dataclass(slots=True)
class _Sum:
    """Of one kind of operator, or of one node.

    Attributes:
        nodes: that it is of.
    """

    nodes: set[tuple[str, ...]]
    calls: int = 0
    total_us: float = 0.0


def _added_up(events: Iterable[_Event]) -> dict[str, object]:
    """Times by kind of operator and by node, without the warm-up.

    The profiler keeps a million events and drops what comes later, so only inferences that are
    there to their end count.
    """
    ran = sorted((e for e in events if e.get("name") == _INFERENCE), key=lambda e: e["ts"])
    ran = ran[_WARMUPS:]
    if not ran:
        raise RunError("ONNX Runtime's profile tells of no whole inference after the warm-up")
    begin, end = ran[0]["ts"], ran[-1]["ts"] + ran[-1]["dur"]
    inside = [
        event
        for event in events
        if event.get("cat") == _NODE
        and event["name"].endswith(_KERNEL)
        and begin <= event["ts"] <= end
    ]
    kinds: dict[tuple[str, ...], _Sum] = defaultdict(lambda: _Sum(set()))
    nodes: dict[tuple[str, ...], _Sum] = defaultdict(lambda: _Sum(set()))
    for event, own_us in _own_times(inside):
        about = event["args"]
        kind, provider = about["op_name"], about.get("provider", "")
        name = event["name"].removesuffix(_KERNEL) or kind
        node = (name, kind, provider, str(about.get("node_index", "")))
        for sums, key in ((kinds, (kind, kind, provider)), (nodes, node)):
            sums[key].nodes.add(node)
            sums[key].calls += 1
            sums[key].total_us += own_us
    whole = sum(each.total_us for each in kinds.values())
    return {
        "inferences": len(ran),
        "inference_us": sum(event["dur"] for event in ran) / len(ran),
        "operators": _slowest_first(kinds, whole),
        "nodes": _slowest_first(nodes, whole)[:_SLOWEST_NODES],
    }


def _own_times(events: Iterable[_Event]) -> Iterator[tuple[_Event, float]]:
    """Each event with its duration, less that of the events inside it."""
    open_ones: list[tuple[_Event, list[float]]] = []
    for event in sorted(events, key=lambda e: (e["tid"], e["ts"], -e["dur"])):
        while open_ones and not _holds(open_ones[-1][0], event):
            closed, inner = open_ones.pop()
            yield closed, max(0.0, closed["dur"] - sum(inner))
        if open_ones:
            open_ones[-1][1].append(event["dur"])
        open_ones.append((event, []))
    for closed, inner in open_ones:
        yield closed, max(0.0, closed["dur"] - sum(inner))


def _holds(outer: _Event, inner: _Event) -> bool:
    same_thread = outer["tid"] == inner["tid"]
    return bool(same_thread and inner["ts"] < outer["ts"] + outer["dur"])


def _slowest_first(
    sums: Mapping[tuple[str, ...], _Sum], whole_us: float
) -> list[dict[str, object]]:
    """Fields of :class:`loadgen_generic.results.profile.OperatorTime`.

    Where every operator is faster than the profiler's microsecond, all count the same.
    """
    calls = sum(each.calls for each in sums.values())
    ordered = sorted(sums.items(), key=lambda item: (-item[1].total_us, item[0]))
    return [
        {
            "name": key[0],
            "kind": key[1],
            "provider": key[2],
            "nodes": len(each.nodes),
            "calls": each.calls,
            "total_us": each.total_us,
            "share": each.total_us / whole_us if whole_us else each.calls / calls,
        }
        for key, each in ordered
    ]
