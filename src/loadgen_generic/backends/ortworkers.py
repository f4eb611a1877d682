"""How a batch reaches an ONNX Runtime session: three ways, by what its inputs hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import onnxruntime as ort

from loadgen_generic.backends.ortvalues import (
    element_of,
    output_buffer,
    pack,
    read_value,
    to_ort_value,
    without_objects,
)
from loadgen_generic.elements import ELEMENTS, STRING, Element
from loadgen_generic.errors import RequestError
from loadgen_generic.seams import Batch, Worker
from loadgen_generic.tensors import Array

__all__ = [
    "OnnxRuntimeWorker",
    "RunUnsized",
    "check_outputs",
    "make_worker",
    "run_of",
    "symbols_of",
]

Shapes = tuple[tuple[int, ...], ...]  # of every input
_SHAPE_KEYS: dict[Shapes, int] = {}
_MOST_BINDINGS, _MOST_BUFFER_BYTES = 256, 256 << 20
_Run = Callable[[], None]
_Bound = tuple[ort.IOBinding, Sequence[Array] | None, _Run]


def make_worker(session: ort.InferenceSession) -> Worker:
    """The fastest way that the session's inputs allow."""
    types = [node.type for node in session.get_inputs()]
    if STRING in types:
        return _FeedingWorker(session)
    if any(ELEMENTS[each].packed for each in types if each in ELEMENTS):
        return _PackingWorker(session)
    return OnnxRuntimeWorker(session)


def check_outputs(session: ort.InferenceSession) -> None:
    """Raise RequestError for an output that cannot be read beside an input of strings."""
    if all(node.type != STRING for node in session.get_inputs()):
        return
    for node in session.get_outputs():
        element = element_of(node)
        if element and not element.native and element.bits:
            raise RequestError(
                f"output {node.name} is {node.type}, which ONNX Runtime's Python interface "
                "cannot give out for a model with inputs of strings. Export the model with "
                "this output cast to float."
            )


class OnnxRuntimeWorker:
    """Runs batches through IOBinding, one binding for each batch size.

    Inputs are the pool's own memory. Outputs of known shape go to buffers that all batches of
    one size share; the others ONNX Runtime allocates.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()
        self._elements = [element_of(node) for node in self._inputs]
        self._output_elements = [element_of(node) for node in self._outputs]
        self._bindings: dict[int, _Bound] = {}
        self._bound: Batch | None = None

    def infer(self, batch: Batch) -> None:
        if batch is not self._bound:
            self._bind(batch)
        self._run()

    def outputs(self) -> Sequence[Array]:
        if self._buffers is not None:
            return self._buffers
        # Not copy_outputs_to_cpu: it crashes on strings (onnxruntime 1.32.0).
        values = self._binding.get_outputs()
        return [
            self._compute_again(node) if element is None else read_value(value, element)
            for node, element, value in zip(
                self._outputs, self._output_elements, values, strict=True
            )
        ]

    def _bind(self, batch: Batch) -> None:
        handle = batch.handle
        if handle is None:
            # A ready OrtValue is bound again at a tenth of the price of a pointer.
            named = [
                (node.name, to_ort_value(array, cast(Element, element)))
                for node, element, array in zip(
                    self._inputs, self._elements, batch.arrays, strict=True
                )
            ]
            key = _shape_key(tuple(array.shape for array in batch.arrays))
            handle = batch.handle = named, key
        named, key = cast("tuple[list[tuple[str, ort.OrtValue]], int]", handle)
        if key not in self._bindings:
            self._make_room()
            self._bindings[key] = self._bind_outputs(batch)
        self._binding, self._buffers, self._run = self._bindings[key]
        for name, value in named:
            self._binding.bind_ortvalue_input(name, value)
        self._bound = batch

    def _make_room(self) -> None:
        """Drop the oldest bindings: samples of many shapes would gather a buffer for each shape
        and batch size."""
        held = [sum(a.nbytes for a in buffers or ()) for _, buffers, _ in self._bindings.values()]
        while sum(held) > _MOST_BUFFER_BYTES or len(held) >= _MOST_BINDINGS:
            self._bindings.pop(next(iter(self._bindings)))
            held.pop(0)

    def _bind_outputs(self, batch: Batch) -> _Bound:
        """A binding, its outputs' buffers if they hold all of them as numpy has them, and how
        to run it."""
        binding = self._session.io_binding()
        symbols = symbols_of(self._inputs, [array.shape for array in batch.arrays])
        buffers: list[Array] = []
        unsized: list[str] = []
        for node, element in zip(self._outputs, self._output_elements, strict=True):
            buffer = output_buffer(node, symbols)
            if element is None or buffer is None:
                unsized.append(node.name)
                continue
            binding.bind_ortvalue_output(node.name, to_ort_value(buffer, element))
            if not element.packed:
                buffers.append(buffer)
        run = run_of(self._session, binding)
        if unsized:
            run = RunUnsized(run, binding, unsized)
        return binding, buffers if len(buffers) == len(self._outputs) else None, run

    def _compute_again(self, node: ort.NodeArg) -> Array:
        """A sequence, a map or an optional value, in an array without dimensions.

        A binding gives it out only together with all other outputs, which crashes on strings.
        """
        assert self._bound is not None
        named, _ = cast("tuple[list[tuple[str, ort.OrtValue]], int]", self._bound.handle)
        (value,) = self._session.run([node.name], dict(named))
        return _without_dimensions(value)


def run_of(
    session: ort.InferenceSession, binding: ort.IOBinding, options: ort.RunOptions | None = None
) -> _Run:
    """One inference of a binding.

    ONNX Runtime's own Python layer checks at each call that binding and session belong together
    and that no WebGPU graph is captured: half a microsecond (measured, a 64x64 matmul takes 4)
    of what is known here. The layer below has no public name, so whatever is missing there means
    the public way.
    """
    inner = getattr(getattr(session, "_sess", None), "run_with_iobinding", None)
    bound = getattr(binding, "_iobinding", None)
    if inner is None or bound is None or "WebGpuExecutionProvider" in session.get_providers():
        return partial(session.run_with_iobinding, binding, options)
    return partial(inner, bound, options)


class RunUnsized:
    """Runs a binding whose outputs ONNX Runtime allocates. It keeps what it allocated bound, and
    fails where the next answer has another size, so they are bound afresh each time."""

    def __init__(self, run: _Run, binding: ort.IOBinding, names: Sequence[str]) -> None:
        self._run, self._binding, self._names = run, binding, names

    def __call__(self) -> None:
        for name in self._names:
            self._binding.bind_output(name, "cpu")
        self._run()


class _PackingWorker(OnnxRuntimeWorker):
    """For inputs whose elements share bytes: every batch is packed into memory of its own.

    Samples have a whole number of bytes only in the pool, where each element has one.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        super().__init__(session)
        self._packed: dict[int, Batch] = {}

    def infer(self, batch: Batch) -> None:
        key = _shape_key(tuple(array.shape for array in batch.arrays))
        own = self._packed.get(key)
        if own is None:
            own = self._packed[key] = Batch(batch.count, tuple(map(np.empty_like, batch.arrays)))
        for element, source, target in zip(self._elements, batch.arrays, own.arrays, strict=True):
            if cast(Element, element).packed:
                pack(source, target, cast(Element, element).bits)
            else:
                np.copyto(target, source)
        super().infer(own)


class _FeedingWorker:
    """For inputs of strings, which cannot be bound: ONNX Runtime copies them in every inference,
    so each batch is fed anew."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()
        self._output_elements = [element_of(node) for node in self._outputs]
        self._names = [node.name for node in self._outputs]
        self._session = session
        self._answers: Sequence[object] = ()

    def infer(self, batch: Batch) -> None:
        self._answers = self._session.run(self._names, self._feed(batch))

    def outputs(self) -> Sequence[Array]:
        return [
            _without_dimensions(answer) if element is None else without_objects(cast(Array, answer))
            for element, answer in zip(self._output_elements, self._answers, strict=True)
        ]

    def _feed(self, batch: Batch) -> Mapping[str, object]:
        feed: dict[str, object] = {}
        for node, array in zip(self._inputs, batch.arrays, strict=True):
            element = cast(Element, element_of(node))
            if element.packed:
                target = np.empty(array.shape, np.uint8)
                pack(array, target, element.bits)
                feed[node.name] = to_ort_value(target, element)
            elif element.native or not element.bits:
                feed[node.name] = array
            else:
                feed[node.name] = to_ort_value(array, element)
        return feed


def _without_dimensions(value: object) -> Array:
    array = np.empty((), object)
    array[()] = value
    return array


def symbols_of(inputs: Sequence[ort.NodeArg], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Sizes of symbolic dimensions; an input without a declared shape says nothing of them."""
    return {
        name: size
        for node, shape in zip(inputs, shapes, strict=True)
        if node.shape
        for name, size in zip(node.shape, shape, strict=True)
        if isinstance(name, str)
    }


def _shape_key(shapes: Shapes) -> int:
    """A small integer for the shapes of all inputs: hashing them would cost each query."""
    return _SHAPE_KEYS.setdefault(shapes, len(_SHAPE_KEYS))
