"""Where the raw loop's data lies: a GPU's memory through the CUDA runtime, and a stand-in.

The two do the same by the same calls, so that the loop has one story. On the stand-in, memory of
the card is ordinary memory and every copy is done when the call returns: the CPU provider runs on
it, and so do the tests. None of this is the harness's own code: a ceiling has to be independent.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Bytes", "Card", "CardError", "CudaCard", "HostCard", "card_of"]

Bytes = npt.NDArray[np.uint8]


class CardError(Exception):
    """A call of the CUDA runtime failed; the text names the call and CUDA's reason."""


class Card(Protocol):
    """Memory, copies and streams.

    Attributes:
        provider: ONNX Runtime's name of the execution provider.
        kind: the device's name for an IOBinding.
        device: its number.
        graphs: whether the provider can capture CUDA graphs.
        shared: the card's memory is ordinary memory, so that nothing has to be brought back.
    """

    provider: str
    kind: str
    device: int
    graphs: bool
    shared: bool

    def stream(self) -> Any:
        """A new stream; ``int()`` of it is its address."""

    def pinned(self, size: int) -> Bytes:
        """So many bytes of ordinary memory that the card reads and writes directly."""

    def memory(self, size: int) -> int:
        """The address of so many bytes of the card's memory."""

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Put a copy of ``size`` bytes between two addresses into the stream; may return before
        it is done."""

    def wait(self, stream: Any) -> None:
        """Return when everything in the stream is done."""


class CudaCard:
    """A GPU. Each thread that uses one makes its own: CUDA's device is a thread's.

    Raises:
        CardError: there is no such GPU, or no cuda-bindings.
    """

    provider, kind, graphs, shared = "CUDAExecutionProvider", "cuda", True, False

    def __init__(self, device: int) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise CardError(f"cuda-bindings cannot be imported: {error}") from error
        self._runtime: Any = runtime
        self.device = device
        self._call("cudaSetDevice", device)

    def stream(self) -> Any:
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def pinned(self, size: int) -> Bytes:
        address = self._call("cudaHostAlloc", size, self._runtime.cudaHostAllocDefault)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

    def memory(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDefault
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def wait(self, stream: Any) -> None:
        self._call("cudaStreamSynchronize", stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        """What the call gives beside its error code."""
        error, *found = getattr(self._runtime, name)(*arguments)
        if int(error):
            _, text = self._runtime.cudaGetErrorString(error)
            raise CardError(f"{name}: {text.decode()}")
        return found[0] if found else None


class HostCard:
    """Ordinary memory behind the same calls."""

    provider, kind, graphs, shared = "CPUExecutionProvider", "cpu", False, True

    def __init__(self, device: int = 0) -> None:
        self.device = device
        self._kept: list[Bytes] = []

    def stream(self) -> Any:
        return 0

    def pinned(self, size: int) -> Bytes:
        return np.zeros(size, np.uint8)

    def memory(self, size: int) -> int:
        self._kept.append(np.zeros(size, np.uint8))
        return int(self._kept[-1].ctypes.data)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        ctypes.memmove(target, source, size)

    def wait(self, stream: Any) -> None:
        return None


def card_of(provider: str, device: int) -> Card:
    """The card of an execution provider by its short name, ``cuda`` or ``cpu``."""
    return CudaCard(device) if provider == "cuda" else HostCard(device)
