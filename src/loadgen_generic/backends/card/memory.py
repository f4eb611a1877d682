"""Memory, streams and copies of one GPU, through CUDA's runtime.

The only module that imports NVIDIA's bindings. Every call is checked; what fails is a RunError
that names the GPU, what was being done and how much memory was asked for.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from loadgen_generic.backends.card.words import failure
from loadgen_generic.errors import RunError
from loadgen_generic.tensors import Array

__all__ = ["QUIET", "Card", "Event", "Memory", "Stream"]

# While a CUDA graph is captured, an allocation by any thread of the process spoils it (capture
# mode "global", which ONNX Runtime uses). Whoever captures or allocates holds this.
QUIET = threading.RLock()
_LEFT: list[Memory] = []  # what nobody needs any more, and could not be given back at once

_NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the default stream
_PORTABLE = 1  # cudaHostAllocPortable: page-locked for every GPU
_ALIGNMENT = 256  # of what cudaMalloc gives; the least that is worth asking for
_TO_CARD, _FROM_CARD, _ON_CARD = 1, 2, 3  # cudaMemcpyKind
_PACKAGE = "cuda.bindings.runtime"


def _runtime() -> Any:
    """NVIDIA's bindings.

    Raises:
        RunError: they are not installed.
    """
    try:
        return importlib.import_module(_PACKAGE)
    except ImportError as error:
        raise RunError(
            "a run on a GPU needs the package cuda-bindings, which cannot be imported "
            f"({error}). Install it beside onnxruntime-gpu, of the same CUDA version: "
            "pip install cuda-bindings, or this package with the extra cuda."
        ) from error


class Memory:
    """A piece of memory; given back when nothing refers to it any more.

    Attributes:
        address: of its first byte.
        nbytes: at least as many as were asked for.
        on_card: in the GPU's own memory, else page-locked memory of the host.
    """

    __slots__ = ("_runtime", "address", "nbytes", "on_card")

    def __init__(self, runtime: Any, address: int, nbytes: int, on_card: bool) -> None:
        self._runtime = runtime
        self.address, self.nbytes, self.on_card = address, nbytes, on_card

    def bytes(self) -> Array:
        """A view of memory of the host; the memory must outlive it."""
        assert not self.on_card
        interface = {
            "shape": (self.nbytes,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
        }
        return np.asarray(_Exposed(interface, self))

    def __del__(self) -> None:
        # In whichever thread the collector runs, which must not wait here.
        if not QUIET.acquire(blocking=False):
            _LEFT.append(Memory(self._runtime, self.address, self.nbytes, self.on_card))
            return
        try:
            # At the end of the process CUDA may be gone already, and nothing is lost by that.
            give_back = self._runtime.cudaFree if self.on_card else self._runtime.cudaFreeHost
            give_back(self.address)
        finally:
            QUIET.release()


class _Exposed:
    """Memory as numpy takes it; the array keeps this, and this the memory."""

    def __init__(self, interface: dict[str, object], memory: Memory) -> None:
        self.__array_interface__ = interface
        self.memory = memory


class Event:
    """A moment in a stream."""

    def __init__(self, card: Card) -> None:
        self._card, self._runtime = card, card.runtime
        self._event = card.check(self._runtime.cudaEventCreate(), "making an event")

    def record(self, stream: Stream) -> None:
        done = self._runtime.cudaEventRecord(self._event, stream.handle)
        self._card.check(done, "recording an event")

    def microseconds_until(self, later: Event) -> float:
        """Both must have happened."""
        taken = self._runtime.cudaEventElapsedTime(self._event, later._event)
        return float(self._card.check(taken, "reading an event")) * 1000


class Stream:
    """Work for a GPU, done in order.

    Never destroyed: a session that runs on it may outlive every Python object that knows it, and
    it goes with the process.

    Attributes:
        handle: for CUDA's own functions.
        to_card, from_card, on_card: begin to copy, to a target from a source so many bytes. Memory
            of the host is page-locked, and stays as it is until :meth:`wait` returns.
    """

    def __init__(self, card: Card) -> None:
        self._card, self._runtime = card, card.runtime
        made = self._runtime.cudaStreamCreateWithFlags(_NON_BLOCKING)
        self.handle = card.check(made, "making a stream")
        self.to_card = self._copier(_TO_CARD)
        self.from_card = self._copier(_FROM_CARD)
        self.on_card = self._copier(_ON_CARD)

    @property
    def address(self) -> int:
        """As ONNX Runtime takes it."""
        return int(self.handle)

    def _copier(self, direction: int) -> Callable[[int, int, int], None]:
        """A function of target, source and number of bytes: a closure over local names, since
        look-ups would cost each query."""
        copy, handle, check = self._runtime.cudaMemcpyAsync, self.handle, self._card.check
        kind = self._runtime.cudaMemcpyKind(direction)

        def begin(target: int, source: int, nbytes: int) -> None:
            done = copy(target, source, nbytes, kind, handle)
            if done[0]:
                check(done, "copying samples or answers", nbytes)

        return begin

    def wait(self) -> None:
        """Until everything in it is done; other Python threads run meanwhile.

        Raises:
            RunError: something in it failed.
        """
        done = self._runtime.cudaStreamSynchronize(self.handle)
        if done[0]:
            self._card.check(done, "waiting for an inference")


class Card:
    """One GPU, by CUDA's number.

    Raises:
        RunError: CUDA does not give it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.runtime = _runtime()
        self.use()

    def use(self) -> None:
        """Make it the calling thread's own: what has no stream goes to it from then on."""
        done = self.runtime.cudaSetDevice(self.number)
        if done[0]:
            self.check(done, "choosing the GPU")

    def name(self) -> str:
        told = self.check(self.runtime.cudaGetDeviceProperties(self.number), "asking its name")
        return bytes(told.name).split(b"\0")[0].decode("utf-8", "replace")

    def on_card(self, nbytes: int, what: str) -> Memory:
        """Memory of the GPU.

        Args:
            what: it is for, for the message if there is not enough.
        """
        wanted = max(nbytes, _ALIGNMENT)
        with QUIET:
            _LEFT.clear()
            made = self.runtime.cudaMalloc(wanted)
            address = self.check(made, f"allocating memory for {what}", wanted)
        return Memory(self.runtime, int(address), wanted, on_card=True)

    def page_locked(self, nbytes: int, what: str) -> Memory:
        """Memory of the host that the GPU reads and writes directly."""
        wanted = max(nbytes, _ALIGNMENT)
        with QUIET:
            _LEFT.clear()
            made = self.runtime.cudaHostAlloc(wanted, _PORTABLE)
            address = self.check(made, f"allocating page-locked memory for {what}", wanted)
        return Memory(self.runtime, int(address), wanted, on_card=False)

    def check(self, answer: tuple[Any, ...], doing: str, nbytes: int = 0) -> Any:
        """The value of a call, if it has one.

        Raises:
            RunError: the call failed.
        """
        if answer[0]:
            raise RunError(self._words(answer[0], doing, nbytes))
        return answer[1] if len(answer) > 1 else None

    def _words(self, error: Any, doing: str, nbytes: int) -> str:
        name = _text(self.runtime.cudaGetErrorName(error)) or f"error {int(error)}"
        text = _text(self.runtime.cudaGetErrorString(error))
        room = self.runtime.cudaMemGetInfo()
        free, total = (0, 0) if room[0] else (int(room[1]), int(room[2]))
        return failure(self.number, doing, name, text, nbytes, free, total)


def _text(answer: tuple[Any, ...]) -> str:
    """What CUDA says of an error; empty if even that fails."""
    return "" if answer[0] else bytes(answer[1]).decode("utf-8", "replace")
