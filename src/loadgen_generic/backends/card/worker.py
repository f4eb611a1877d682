"""One worker on a GPU: copy in, compute and copy out, in a stream of its own.

Everything of an inference is handed to the stream, and only then waited for, without Python's
lock: while one worker's samples are copied, another one's are computed. Buffers are bound once for
each shape of a batch, and stay where they are, as CUDA graphs demand.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from threading import get_ident

import numpy as np

from loadgen_generic.backends.card.buffers import Bound, Buffers, Lane, alone
from loadgen_generic.backends.card.graphs import alike
from loadgen_generic.backends.card.memory import Event
from loadgen_generic.backends.card.residence import Residence, Residences
from loadgen_generic.errors import RunError, plain_words
from loadgen_generic.placed import PlacedBatch, Pooled
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array

__all__ = ["CardWorker"]

_FIRST = 2  # inferences of a shape in a thread: one records its graph, one looks at it
_MOST_SHAPES = 256  # that are bound at once
_PIECE_BYTES = 4 << 20  # made ready on the host while the piece before goes to the card


class CardWorker:
    """Runs batches on one card.

    Args:
        residences: of samples that do not start in ordinary memory; None where they do.
    """

    per_thread = True  # ONNX Runtime keeps graphs and handles of NVIDIA's libraries by thread

    def __init__(self, lane: Lane, residences: Residences | None) -> None:
        self._lane, self._stream = lane, lane.stream
        lane.graphs.begin()
        open_batch = all(
            node.shape and not isinstance(node.shape[0], int) for node in lane.session.get_inputs()
        )
        self._widens = lane.widens and open_batch
        self._residences = residences
        self._pool: Pooled | None = None
        self._residence: Residence | None = None
        self._buffers = Buffers(lane)
        self._bounds: dict[object, Bound] = {}
        self._last: Bound | None = None
        self._use, self._busy, self._wait = lane.card.use, lane.busy, lane.stream.wait

    def infer(self, batch: Batch) -> None:
        self._use()
        bound = self._bounds.get(_key(batch))
        if bound is None or bound.runs < _FIRST or bound.thread != get_ident():
            with alone(self._lane):
                self._begin(batch)
            return
        self._last = bound
        with self._busy:
            self._bring_in(batch, bound)
            bound.run()
            self._bring_out(bound)
            self._wait()

    def outputs(self) -> Sequence[Array]:
        assert self._last is not None
        return self._buffers.answers(self._last)

    def timed(self, batch: Batch, events: Sequence[Event]) -> list[float]:
        """Infer, and say what copy in, compute and copy out took, in microseconds.

        Args:
            batch: of a shape that this thread has inferred before.
            events: four.
        """
        bound, stream = self._bounds[_key(batch)], self._stream
        events[0].record(stream)
        self._bring_in(batch, bound)
        events[1].record(stream)
        bound.run()
        events[2].record(stream)
        self._bring_out(bound)
        events[3].record(stream)
        stream.wait()
        pairs = itertools.pairwise(events)
        return [earlier.microseconds_until(later) for earlier, later in pairs]

    def _begin(self, batch: Batch) -> None:
        """The first inferences of a shape in a thread: buffers are made, ONNX Runtime allocates,
        TensorRT builds, and graphs are recorded and looked at."""
        bound = self._bind(batch)
        if bound.thread != get_ident():
            bound.thread, bound.runs = get_ident(), 0
        self._last = bound
        self._bring_in(batch, bound)
        began = time.perf_counter()
        try:
            if bound.graph and bound.runs:
                self._compare(bound)
            else:
                bound.run()
        except RunError:
            raise
        except Exception as error:
            if not bound.graph or "captur" not in str(error).lower():
                raise
            raise RunError(
                f"GPU {self._lane.card.number}: no CUDA graph could be recorded of this model: "
                f"{plain_words(str(error))} Run it without, by --ep_options "
                f"{self._lane.graph_option}=0."
            ) from error
        self._lane.first_runs_sec += time.perf_counter() - began
        if bound.graph:
            self._lane.graphs.recorded.add(bound.graph)
        bound.runs += 1
        self._bring_out(bound)
        self._wait()

    def _bind(self, batch: Batch) -> Bound:
        key = _key(batch)
        found = self._bounds.get(key)
        if found is None:
            if self._widens and (first := _first_alone(batch)) is not None:
                # So that a smaller batch, such as the last one of a test, needs no other engine.
                self.infer(first)
            if len(self._bounds) == _MOST_SHAPES:
                self._bounds.pop(next(iter(self._bounds)))
            found = self._bounds[key] = self._buffers.bind(_shapes(batch))
        return found

    def _bring_in(self, batch: Batch, bound: Bound) -> None:
        if isinstance(batch, PlacedBatch) and self._residences is not None:
            if batch.pool is not self._pool:
                self._pool, self._residence = batch.pool, self._residences.of(batch.pool)
            assert self._residence is not None
            self._residence.bring(batch.slots, bound.targets, self._stream)
            return
        if not bound.sources:
            self._buffers.stage(bound)
        send = self._stream.to_card
        for array, way in zip(batch.arrays, bound.sources):  # noqa: B905 - hot
            source, place, target, nbytes = way
            if nbytes <= _PIECE_BYTES:
                np.copyto(source, array)
                send(target, place, nbytes)
                continue
            ready, given = _as_bytes(source), _as_bytes(np.ascontiguousarray(array))
            for at in range(0, nbytes, _PIECE_BYTES):
                end = min(at + _PIECE_BYTES, nbytes)
                np.copyto(ready[at:end], given[at:end])
                send(target + at, place + at, end - at)

    def _bring_out(self, bound: Bound) -> None:
        fetch = self._stream.from_card
        for host, card, nbytes in bound.copies:
            fetch(host, card, nbytes)

    def _compare(self, bound: Bound) -> None:
        """Drop a graph that answers other samples than those it was recorded with otherwise than
        a plain inference: one that holds what the processor computed from the first ones."""
        answers = []
        for run in (bound.plain, bound.run):
            run()
            self._bring_out(bound)
            self._wait()
            answers.append([np.array(each) for each in bound.answers])
        if alike(*answers):
            return
        self._lane.graphs.drop(bound.graph, "a graph gave other answers than the model without one")
        bound.graph, bound.run = 0, bound.plain
        bound.run()


def _key(batch: Batch) -> object:
    """What the buffers of a batch depend on."""
    if isinstance(batch, PlacedBatch):
        return batch.pool, len(batch.slots)
    if batch.handle is None:
        batch.handle = tuple(array.shape for array in batch.arrays)
    return batch.handle


def _shapes(batch: Batch) -> list[tuple[int, ...]]:
    if not isinstance(batch, PlacedBatch):
        return [array.shape for array in batch.arrays]
    rows = (len(batch.slots),) if batch.pool.batched else ()
    return [(*rows, *array.shape[1:]) for array in batch.pool.arrays]


def _first_alone(batch: Batch) -> Batch | None:
    """The first of several samples; None where there are not several, or padding."""
    if isinstance(batch, PlacedBatch):
        several = batch.pool.batched and batch.count == len(batch.slots) > 1
        return PlacedBatch(1, batch.pool, batch.slots[:1]) if several else None
    if batch.count < 2 or any(array.shape[:1] != (batch.count,) for array in batch.arrays):
        return None
    return Batch(1, tuple(array[:1] for array in batch.arrays))


def _as_bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)
