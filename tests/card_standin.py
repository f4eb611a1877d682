"""A GPU made of ordinary memory, and a session that computes there.

:class:`Runtime` stands in for ``cuda.bindings.runtime``: addresses are those of real memory, so
copies really copy, and work for a stream is done no sooner than somebody waits for it, as on a GPU
that is slow. Its memory of the GPU is apart from that of the host: a copy that names the wrong
direction fails.
"""

# ruff: noqa: N802, N815 - the names are CUDA's

from __future__ import annotations

import ctypes
import json
import os
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["Error", "Kind", "Node", "Runtime", "Session", "install"]


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorDevicesUnavailable = 46
    cudaErrorNoDevice = 100
    cudaErrorInvalidDevice = 101
    cudaErrorIllegalAddress = 700
    cudaErrorUnknown = 999


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class Runtime(types.ModuleType):
    """Args:
    eager: do what a stream is given at once, for sessions that wait for nothing.
    """

    cudaError_t, cudaMemcpyKind = Error, Kind

    def __init__(self, eager: bool = False) -> None:
        super().__init__("cuda.bindings.runtime")
        self.eager = eager
        self.cards = 2
        self.current = 0
        self.before_wait: Callable[[], None] | None = None
        self.calls: Counter[str] = Counter()
        self.failing: dict[str, Error] = {}
        self.held: dict[int, tuple[Any, int, bool]] = {}
        self.streams: dict[int, list[Callable[[], object]]] = defaultdict(list)
        self.copied: list[tuple[Kind, int]] = []
        self._ticks = 0.0

    def _told(self, name: str, *values: Any) -> tuple[Any, ...]:
        self.calls[name] += 1
        error = self.failing.get(name, Error.cudaSuccess)
        return (error, *(None for _ in values)) if error else (error, *values)

    def _allocate(self, name: str, nbytes: int, on_card: bool) -> tuple[Any, ...]:
        memory = (ctypes.c_char * nbytes)()
        address = ctypes.addressof(memory)
        told = self._told(name, address)
        if not told[0]:
            self.held[address] = memory, nbytes, on_card
        return told

    def _free(self, name: str, address: int) -> tuple[Any, ...]:
        del self.held[address]
        return self._told(name)

    def cudaSetDevice(self, number: int) -> tuple[Any, ...]:
        if number >= self.cards:
            return (Error.cudaErrorInvalidDevice,)
        self.current = number
        return self._told("cudaSetDevice")

    def cudaGetDeviceProperties(self, number: int) -> tuple[Any, ...]:
        name = f"Stand-in {number}".encode() + b"\0junk"
        return self._told("cudaGetDeviceProperties", types.SimpleNamespace(name=name))

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, 3 << 20, 80 << 30

    def cudaGetErrorName(self, error: Error) -> tuple[Any, ...]:
        return Error.cudaSuccess, error.name.encode()

    def cudaGetErrorString(self, error: Error) -> tuple[Any, ...]:
        return Error.cudaSuccess, f"words of {int(error)}".encode()

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:
        return self._allocate("cudaMalloc", nbytes, on_card=True)

    def cudaHostAlloc(self, nbytes: int, flags: int) -> tuple[Any, ...]:
        return self._allocate("cudaHostAlloc", nbytes, on_card=False)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        return self._free("cudaFree", address)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        return self._free("cudaFreeHost", address)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return self._told("cudaStreamCreateWithFlags", 1 + self.calls["cudaStreamCreateWithFlags"])

    def cudaMemcpyAsync(
        self, target: int, source: int, nbytes: int, kind: Kind, stream: int
    ) -> tuple[Any, ...]:
        told = self._told("cudaMemcpyAsync")
        if told[0]:
            return told
        self.copied.append((kind, nbytes))
        sides = {1: (False, True), 2: (True, False), 3: (True, True)}[int(kind)]
        if (self.on_card(source), self.on_card(target)) != sides:
            return (Error.cudaErrorInvalidValue,)
        self.do(stream, lambda: ctypes.memmove(target, source, nbytes))
        return told

    def on_card(self, address: int) -> bool:
        return any(
            on_card and at <= address < at + nbytes
            for at, (_, nbytes, on_card) in self.held.items()
        )

    def do(self, stream: int, work: Callable[[], object]) -> None:
        if self.eager:
            work()
        else:
            self.streams[stream].append(work)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        hook, self.before_wait = self.before_wait, None
        if hook is not None:
            hook()
        pending, self.streams[stream] = self.streams[stream], []
        for work in pending:
            work()
        return self._told("cudaStreamSynchronize")

    def cudaEventCreate(self) -> tuple[Any, ...]:
        return self._told("cudaEventCreate", [0.0])

    def cudaEventRecord(self, event: list[float], stream: int) -> tuple[Any, ...]:
        def record() -> None:
            self._ticks += 1
            event[0] = self._ticks

        self.do(stream, record)
        return self._told("cudaEventRecord")

    def cudaEventElapsedTime(self, start: list[float], end: list[float]) -> tuple[Any, ...]:
        return self._told("cudaEventElapsedTime", end[0] - start[0])


def install(runtime: Runtime) -> dict[str, types.ModuleType]:
    """The modules to put into ``sys.modules``."""
    cuda, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
    cuda.__path__, bindings.__path__ = [], []
    return {"cuda": cuda, "cuda.bindings": bindings, "cuda.bindings.runtime": runtime}


class Node:
    """As ONNX Runtime describes an input or an output."""

    def __init__(self, name: str, kind: str, shape: Sequence[int | str]) -> None:
        self.name, self.type, self.shape = name, kind, list(shape)


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, tuple[Any, ...]] = {}
        self.outputs: dict[str, tuple[Any, ...]] = {}
        self.given: list[Any] = []

    def bind_input(self, name: str, *where: Any) -> None:
        self.inputs[name] = where

    def bind_output(self, name: str, *where: Any) -> None:
        self.outputs[name] = where

    def get_outputs(self) -> list[Any]:
        return self.given


class Session:
    """Each output is the input of the same position, bytes as they are.

    Args:
        frozen: what a recorded graph answers comes from the samples that it was recorded with.
    """

    def __init__(
        self,
        runtime: Runtime,
        stream: int,
        inputs: Sequence[Node],
        outputs: Sequence[Node],
        frozen: bool = False,
    ) -> None:
        self._runtime, self.stream, self._frozen = runtime, stream, frozen
        self._inputs, self._outputs = inputs, outputs
        self.graphs: list[str] = []
        self.cards: list[int] = []
        self.seen: list[list[bytes]] = []
        self._recorded: dict[str, list[bytes]] = {}

    def get_inputs(self) -> Sequence[Node]:
        return self._inputs

    def get_outputs(self) -> Sequence[Node]:
        return self._outputs

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: ort.RunOptions) -> None:
        entry = options.get_run_config_entry
        assert entry("disable_synchronize_execution_providers") == "1"
        try:
            graph = entry("gpu_graph_id")
        except RuntimeError:
            graph = ""
        self.graphs.append(graph)
        self.cards.append(self._runtime.current)
        self._runtime.do(self.stream, lambda: self._compute(binding, graph))
        for node in self._outputs:
            if binding.outputs[node.name][0] == "cpu":
                # ONNX Runtime waits itself before it gives out what it allocated.
                self._runtime.cudaStreamSynchronize(self.stream)

    def _compute(self, binding: Binding, graph: str) -> None:
        given = []
        for node in self._inputs:
            device, _, kind, shape, address = binding.inputs[node.name]
            assert device == "cuda"
            assert self._runtime.on_card(address)
            width = np.dtype(kind).itemsize if isinstance(kind, type) else 2
            count = int(np.prod(shape, dtype=np.int64)) * width
            given.append(ctypes.string_at(address, count))
        self.seen.append(given)
        answer = given
        if self._frozen and graph not in ("", "-1"):
            answer = self._recorded.setdefault(graph, given)
        binding.given = []
        for node, content in zip(self._outputs, answer, strict=False):
            where = binding.outputs[node.name]
            if where[0] == "cuda":
                assert self._runtime.on_card(where[4])
                ctypes.memmove(where[4], content, len(content))
                binding.given.append(None)
            else:
                values = np.frombuffer(content, np.float32).reshape(-1, 4).copy()
                binding.given.append(ort.OrtValue.ortvalue_from_numpy(values))


def main() -> None:
    """Run one test in this process, on a GPU of ordinary memory and the CPU's provider."""
    from loadgen_generic import benchmark
    from loadgen_generic.backends import onnxruntime as backend
    from loadgen_generic.backends.card import buffers
    from loadgen_generic.backends.providers.cuda import Cuda
    from loadgen_generic.progress import Progress

    class OnHost(Cuda):
        """The CPU's provider in the place of CUDA's: it takes no options, and its memory is the
        host's."""

        def asked(self, *_: Any, **__: Any) -> list[tuple[str, dict[str, str]]]:
            return [(self.name, {})]

    sys.modules.update(install(Runtime(eager=True)))
    buffers._DEVICE = "cpu"
    backend.provider_of = OnHost
    job = json.loads(sys.argv[1])
    told: dict[str, Any] = {}
    progress = Path(job["progress"])
    Progress.create(progress)
    benchmark.measure(job, Progress(progress), lambda name, what: told.update({name: what}))
    print(json.dumps(told), flush=True)
    os._exit(0)  # LoadGen's own threads would not let it end


if __name__ == "__main__":
    main()
