"""The buffers of a batch on a GPU, and how they are bound to a session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

import numpy as np
import onnxruntime as ort

from loadgen_generic.backends.card.graphs import Graphs, run_options
from loadgen_generic.backends.card.memory import QUIET, Card, Memory, Stream
from loadgen_generic.backends.ortvalues import element_of, output_buffer, read_value
from loadgen_generic.backends.ortworkers import RunUnsized, run_of, symbols_of
from loadgen_generic.elements import STRING, Element
from loadgen_generic.tensors import Array

__all__ = ["Bound", "Buffers", "Lane", "alone", "why_plain"]

_DEVICE = "cuda"


def why_plain(session: ort.InferenceSession) -> str:
    """Why a model's tensors cannot lie in a GPU's memory, in words; empty if they can."""
    for node in [*session.get_inputs(), *session.get_outputs()]:
        element = element_of(node)
        if element is None or node.type == STRING:
            return f"{node.name} is {node.type}"
    for node in session.get_inputs():
        if _element(node).packed:
            return f"elements of {node.name} share bytes ({node.type})"
    return ""


@dataclass(eq=False)  # weakly referred to, which slots do not allow in Python 3.10
class Lane:
    """A session and the stream that it runs in.

    Attributes:
        graph_option: of the provider, that turns graphs off.
        widens: an engine holds for the batch sizes that were seen and all between them; another
            one means minutes of building.
        busy: held during each inference that finds everything ready.
        first_runs_sec: what the first inferences of each shape took, in which TensorRT builds.
    """

    session: ort.InferenceSession
    card: Card
    stream: Stream
    graphs: Graphs
    graph_option: str
    widens: bool = False
    busy: threading.RLock = field(default_factory=threading.RLock)
    first_runs_sec: float = 0.0

    def __post_init__(self) -> None:
        _LANES.add(self)


_LANES: WeakSet[Lane] = WeakSet()


@contextmanager
def alone(lane: Lane) -> Iterator[None]:
    """For an inference that allocates, and may record a CUDA graph, in which case no other worker
    of the process infers meanwhile."""
    with QUIET, ExitStack() as stack:
        if not lane.graphs.why_not:
            for each in list(_LANES):
                stack.enter_context(each.busy)
        yield


@dataclass(slots=True)
class Bound:
    """The buffers of one shape.

    Attributes:
        shapes: of the inputs.
        targets: for each input, the address on the card.
        answers: one array per output; None for one that ONNX Runtime allocates.
        copies: of answers: addresses on the host and on the card, and the size in bytes.
        memory: what must live as long as this.
        run: an inference, in a graph where there is one.
        plain: one without.
        graph: its id; 0 without one.
        sources: for each input, where samples are made ready on the host, its address, that on
            the card, and the size in bytes; empty before the first need.
        thread: that ran it before.
        runs: of that thread.
    """

    binding: ort.IOBinding
    shapes: list[tuple[int, ...]]
    targets: list[int]
    answers: list[Array | None]
    copies: list[tuple[int, int, int]]
    memory: list[Memory]
    run: Callable[[], None]
    plain: Callable[[], None]
    graph: int
    sources: list[tuple[Array, int, int, int]] = field(default_factory=list)
    thread: int = 0
    runs: int = 0


class Buffers:
    """Binds batches of one worker."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._inputs = lane.session.get_inputs()
        self._outputs = lane.session.get_outputs()
        self._largest: dict[str, Memory] = {}

    def bind(self, shapes: list[tuple[int, ...]]) -> Bound:
        """Buffers for inputs of these shapes and for the outputs that follow from them."""
        lane, number = self._lane, self._lane.card.number
        binding = lane.session.io_binding()
        memory: list[Memory] = []
        targets: list[int] = []
        for node, size in zip(self._inputs, shapes, strict=True):
            element = _element(node)
            nbytes = _nbytes(size, element)
            place = self._buffer(f"in {node.name}", nbytes)
            memory.append(place)
            targets.append(place.address)
            kind = _kind(element)
            binding.bind_input(node.name, _DEVICE, number, kind, list(size), place.address)
        symbols = symbols_of(self._inputs, shapes)
        answers: list[Array | None] = []
        copies: list[tuple[int, int, int]] = []
        unsized: list[str] = []
        for node in self._outputs:
            element, like = _element(node), output_buffer(node, symbols)
            if like is None or element.packed:
                unsized.append(node.name)
                answers.append(None)
                continue
            place = self._buffer(f"out {node.name}", like.nbytes)
            host = self._buffer(f"answers {node.name}", like.nbytes, page_locked=True)
            memory += [place, host]
            answers.append(_array(host, like.shape, element))
            copies.append((host.address, place.address, like.nbytes))
            shape, kind = list(like.shape), _kind(element)
            binding.bind_output(node.name, _DEVICE, number, kind, shape, place.address)
        graph = lane.graphs.next_id(unsized)
        plain = run_of(lane.session, binding, run_options(0, lane.graphs))
        run = run_of(lane.session, binding, run_options(graph, lane.graphs)) if graph else plain
        if unsized:
            run = plain = RunUnsized(plain, binding, unsized)
        return Bound(binding, shapes, targets, answers, copies, memory, run, plain, graph)

    def stage(self, bound: Bound) -> None:
        """Page-locked memory to make samples ready in."""
        places = zip(self._inputs, bound.shapes, bound.targets, strict=True)
        for node, shape, target in places:
            element = _element(node)
            nbytes = _nbytes(shape, element)
            host = self._buffer(f"ready {node.name}", nbytes, page_locked=True)
            bound.sources.append((_array(host, shape, element), host.address, target, nbytes))

    def answers(self, bound: Bound) -> Sequence[Array]:
        """Of the last inference of these buffers; overwritten by the next."""
        if len(bound.copies) == len(bound.answers):
            return bound.answers  # type: ignore[return-value]
        return [
            read_value(value, _element(node)) if answer is None else answer
            for node, value, answer in zip(
                self._outputs, bound.binding.get_outputs(), bound.answers, strict=True
            )
        ]

    def _buffer(self, purpose: str, nbytes: int, page_locked: bool = False) -> Memory:
        """Memory that all shapes share which need no more: no two of them are in use at once."""
        found = self._largest.get(purpose)
        if found is None or found.nbytes < nbytes:
            card = self._lane.card
            allocate = card.page_locked if page_locked else card.on_card
            found = self._largest[purpose] = allocate(nbytes, f"a batch ({purpose})")
        return found


def _element(node: ort.NodeArg) -> Element:
    element = element_of(node)
    assert element is not None
    return element


def _kind(element: Element) -> object:
    """An element type as IOBinding takes it."""
    return element.dtype.type if element.native else element.onnx


def _nbytes(shape: Sequence[int], element: Element) -> int:
    return int(np.prod(shape, dtype=np.int64)) * element.dtype.itemsize


def _array(memory: Memory, shape: Sequence[int], element: Element) -> Array:
    return memory.bytes()[: _nbytes(shape, element)].view(element.dtype).reshape(shape)
