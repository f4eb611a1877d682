"""One lane of the raw loop: a session, a stream and a thread of its own, bound to fixed buffers.

Two lanes overlap the copies of one with the computation of the other. A lane's session can replay
a CUDA graph or run without one, batch by batch; ONNX Runtime keeps a captured graph for the
thread that captured it, which is why a lane does everything in one thread.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from gpu_card import Bytes, Card, CardError, card_of
from gpu_pool import TYPES, Pool, Task
from onnxruntime.capi import onnxruntime_pybind11_state as states

__all__ = ["FAILURES", "Lane", "open_session"]

_ERRORS_ONLY = 3
# ONNX Runtime captures in the second or third run of a thread, by version.
_WARM_UP = 5
_NO_GRAPH = "-1"
# A small copy costs more to start than to do; a long one keeps the next piece waiting.
_LEAST_PIECE, _MOST_PIECES = 1 << 18, 16
# ONNX Runtime's own exceptions have no other common parent.
FAILURES: tuple[type[Exception], ...] = (
    CardError,
    RuntimeError,
    *(
        kind
        for kind in vars(states).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)


def open_session(
    task: Task, card: Card, options: Mapping[str, str], threads: int = 0
) -> ort.InferenceSession:
    """A session on the task's provider, or none: never on another one."""
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    settings.intra_op_num_threads = threads
    chosen = [(card.provider, {**options, **task.options})]
    session = ort.InferenceSession(task.model, settings, providers=chosen, enable_fallback=0)
    started = session.get_providers()[0]
    if started != card.provider:
        raise RuntimeError(f"{card.provider} did not start; the session runs on {started}")
    return session


@dataclass(frozen=True)
class _Feed:
    """One input.

    Attributes:
        sources: the address of each batch that the card reads itself.
        buffer: the address that is bound, and ``size`` its bytes.
        batches: bytes of each batch that goes through ``staging``, whose address is ``staged``,
            in ``pieces`` (first byte and the one after the last): while one is on its way, the
            next is staged.
    """

    name: str
    sources: list[int]
    buffer: int
    size: int
    staging: Bytes | None
    staged: int
    batches: list[Bytes]
    pieces: list[tuple[int, int]]


class Lane:
    """Runs batches of a pool, in a thread of its own.

    Args:
        pool_for: gives the pool for a session's inputs, from the lane's own thread.
        graphs: whether its session may capture CUDA graphs.
        threads: of the processor inside an operator; 0 for all.
    """

    def __init__(
        self,
        task: Task,
        pool_for: Callable[[Sequence[Any], Card], Pool],
        graphs: bool,
        threads: int = 0,
    ) -> None:
        self._task, self._pool_for = task, pool_for
        self._thread = ThreadPoolExecutor(1)
        self._answers: list[tuple[int, int, int]] = []
        self._kept: list[Any] = []
        self.outputs: dict[str, npt.NDArray[Any]] = {}
        self._thread.submit(self._open, graphs, threads).result()

    def cycle(self, number: int, graph: bool) -> dict[str, npt.NDArray[Any]]:
        """One batch; its outputs, in buffers that the next one overwrites."""
        self._thread.submit(self._cycle, number, graph).result()
        return self.outputs

    def warm_up(self, graph: bool) -> None:
        """Run until a graph is captured. No other lane may do anything meanwhile: CUDA gives up
        a capture when another thread allocates."""
        for number in range(_WARM_UP):
            self.cycle(number % self._pool.batches, graph)

    def rate(self, graph: bool, seconds: float, share: int, gate: threading.Barrier) -> Future[Any]:
        """Samples per second of this lane, which takes each ``gate.parties``-th batch."""
        return self._thread.submit(self._rate, graph, seconds, share, gate)

    def times(self, graph: bool, seconds: float) -> list[int]:
        """ns of each batch, one after another."""
        return list(self._thread.submit(self._times, graph, seconds).result())

    def close(self) -> None:
        self._thread.shutdown()

    def _open(self, graphs: bool, threads: int) -> None:
        task = self._task
        card = self._card = card_of(task.provider, task.device)
        self._stream = card.stream()
        options = {}
        if card.graphs:
            options = {
                "device_id": str(task.device),
                "use_tf32": str(int(task.tf32)),
                "user_compute_stream": str(int(self._stream)),
                "enable_cuda_graph": str(int(graphs)),
            }
        self._session = open_session(task, card, options, threads)
        self._run_graph, self._run_plain = ort.RunOptions(), ort.RunOptions()
        for run in (self._run_graph, self._run_plain):
            run.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if graphs:
            self._run_plain.add_run_config_entry("gpu_graph_id", _NO_GRAPH)
        outputs = [self._output(node) for node in self._session.get_outputs()]
        nodes = self._session.get_inputs()
        self._pool = self._pool_for(nodes, card)
        if task.location == "device":  # without a graph each batch is read where it lies
            sizes = {n: self._pool.arrays[n][: task.batch].nbytes for n in self._pool.arrays}
            self._direct = [
                self._binding(
                    nodes,
                    {n: at + number * sizes[n] for n, at in self._pool.addresses.items()},
                    outputs,
                )
                for number in range(self._pool.batches)
            ]
        self._feeds = [self._feed(node) for node in nodes]
        buffers = {feed.name: feed.buffer for feed in self._feeds}
        self._fixed = self._binding(nodes, buffers, outputs)

    def _feed(self, node: Any) -> _Feed:
        task, array = self._task, self._pool.arrays[node.name]
        size = array[: task.batch].nbytes
        numbers = range(self._pool.batches)
        sources = [self._pool.addresses[node.name] + number * size for number in numbers]
        staging, batches, pieces = None, [], []
        if task.location == "host":
            staging, flat = self._pinned(size), array.reshape(-1).view(np.uint8)
            batches = [flat[number * size :][:size] for number in numbers]
            step = max(_LEAST_PIECE, size // _MOST_PIECES)
            pieces = [(at, min(at + step, size)) for at in range(0, size, step)]
        staged = 0 if staging is None else staging.ctypes.data
        buffer = self._card.memory(size)
        return _Feed(node.name, sources, buffer, size, staging, staged, batches, pieces)

    def _output(self, node: Any) -> tuple[Any, list[int], int]:
        """The output, its shape and its address on the card; its answers come to ``outputs``."""
        kind = np.dtype(TYPES[node.type])
        shape = [self._task.batch, *node.shape[1:]]
        if not all(isinstance(size, int) for size in shape):
            raise RuntimeError(f"the size of output {node.name} is not known beforehand")
        back = self._pinned(int(np.prod(shape)) * kind.itemsize)
        self.outputs[node.name] = back.view(kind).reshape(shape)
        address = back.ctypes.data
        if not self._card.shared:
            address = self._card.memory(back.nbytes)
            self._answers.append((back.ctypes.data, address, back.nbytes))
        return node, shape, address

    def _pinned(self, size: int) -> Bytes:
        memory = self._card.pinned(size)
        self._kept.append(memory)
        return memory

    def _binding(
        self, nodes: Sequence[Any], inputs: Mapping[str, int], outputs: Sequence[Any]
    ) -> ort.IOBinding:
        binding, where = self._session.io_binding(), (self._card.kind, self._card.device)
        for node in nodes:
            shape = [self._task.batch, *node.shape[1:]]
            binding.bind_input(node.name, *where, TYPES[node.type], shape, inputs[node.name])
        for node, shape, address in outputs:
            binding.bind_output(node.name, *where, TYPES[node.type], shape, address)
        return binding

    def _cycle(self, number: int, graph: bool) -> None:
        card, stream = self._card, self._stream
        if self._task.location == "device" and not graph:
            self._session.run_with_iobinding(self._direct[number], self._run_plain)
        else:
            for feed in self._feeds:
                self._bring(feed, number)
            run = self._run_graph if graph else self._run_plain
            self._session.run_with_iobinding(self._fixed, run)
        for back, address, size in self._answers:
            card.copy(back, address, size, stream)
        card.wait(stream)

    def _bring(self, feed: _Feed, number: int) -> None:
        copy, stream = self._card.copy, self._stream
        if feed.staging is None:
            copy(feed.buffer, feed.sources[number], feed.size, stream)
            return
        staging, batch = feed.staging, feed.batches[number]
        for begin, end in feed.pieces:
            staging[begin:end] = batch[begin:end]
            copy(feed.buffer + begin, feed.staged + begin, end - begin, stream)

    def _rate(self, graph: bool, seconds: float, share: int, gate: threading.Barrier) -> float:
        count, shares = self._pool.batches, gate.parties
        numbers = itertools.cycle(
            [at % count for at in range(share, share + count * shares, shares)]
        )
        now, done = time.perf_counter, 0
        gate.wait()
        begin = at = now()
        while at < begin + seconds:
            self._cycle(next(numbers), graph)
            done += 1
            at = now()
        return done * self._task.batch / (at - begin)

    def _times(self, graph: bool, seconds: float) -> list[int]:
        numbers = itertools.cycle(range(self._pool.batches))
        now, found = time.perf_counter_ns, []
        end = now() + int(seconds * 1e9)
        over = 0
        while over < end:
            number = next(numbers)
            begin = now()
            self._cycle(number, graph)
            over = now()
            found.append(over - begin)
        return found
