"""The element types of the Open Inference Protocol, and what a model's metadata says in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from loadgen_generic.elements import ELEMENTS, STRING
from loadgen_generic.errors import RequestError
from loadgen_generic.tensors import TensorSpec

__all__ = ["BYTES", "CONTENTS", "DATATYPES", "DTYPES", "Described", "specs_of"]

BYTES = "BYTES"
# By ONNX Runtime's own word.
DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    STRING: BYTES,
}
# Where a response has the elements that does not send them as raw bytes; FP16 has no such place.
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
_ELEMENTS = {word: element for element, word in DATATYPES.items()}
DTYPES = {word: ELEMENTS[element].dtype for word, element in _ELEMENTS.items()}


class Described(Protocol):
    """A tensor as a model's metadata has it."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...

    @property
    def shape(self) -> Iterable[int]: ...


def specs_of(kind: str, tensors: Iterable[Described]) -> tuple[TensorSpec, ...]:
    """Inputs or outputs in the model's order; a size that is open has no name.

    Args:
        kind: ``input`` or ``output``, for the user.

    Raises:
        RequestError: an element type that is none of the protocol's.
    """
    specs = []
    for each in tensors:
        element = _ELEMENTS.get(each.datatype)
        if element is None:
            raise RequestError(
                f"{kind} {each.name} of the model on the server is {each.datatype or 'of no type'}, "
                "and the Open Inference Protocol has no such element type (it has "
                f"{', '.join(DATATYPES.values())}). Have the server cast it to one of them."
            )
        dims = tuple(None if size < 0 else int(size) for size in each.shape)
        specs.append(TensorSpec(each.name, element, ELEMENTS[element].dtype, dims))
    return tuple(specs)
