"""Tensors between numpy and ONNX Runtime, for element types that one of the two lacks."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from loadgen_generic.elements import ELEMENTS, STRING, Element
from loadgen_generic.tensors import Array

__all__ = [
    "element_of",
    "output_buffer",
    "pack",
    "read_value",
    "to_ort_value",
    "without_objects",
]

_BYTE = 8


def element_of(node: ort.NodeArg) -> Element | None:
    """None for what is not a tensor."""
    return ELEMENTS.get(node.type)


def to_ort_value(array: Array, element: Element) -> ort.OrtValue:
    """A view of the array. The elements of a packed type are its first bytes: see :func:`pack`."""
    if element.native:
        return ort.OrtValue.ortvalue_from_numpy(array)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element.onnx)


def output_buffer(node: ort.NodeArg, symbols: Mapping[str, int]) -> Array | None:
    """A buffer for an output whose shape follows from the inputs' symbolic dimensions.

    None where it does not, for strings, whose memory is ONNX Runtime's own, and for what is
    not a tensor. No shape at all is reported like that of a scalar, so scalars have none either.
    """
    element = element_of(node)
    shape = [dim if isinstance(dim, int) else symbols.get(dim or "", -1) for dim in node.shape]
    if element is None or node.type == STRING or not shape or any(size < 0 for size in shape):
        return None
    return np.empty(shape, np.uint8 if element.packed else element.dtype)


def read_value(value: ort.OrtValue, element: Element) -> Array:
    """A copy of a tensor in the processor's memory."""
    if element.native or not element.bits:
        return without_objects(value.numpy())
    shape, size = tuple(value.shape()), value.tensor_size_in_bytes()
    # bytearray: arrays that can be written to.
    stored = bytearray(ctypes.string_at(value.data_ptr(), size) if size else b"")
    raw: Array = np.frombuffer(stored, np.uint8)
    if element.packed:
        raw = _unpack(raw, element.bits, int(np.prod(shape, dtype=np.int64)))
    return raw.view(element.dtype).reshape(shape)


def without_objects(array: Array) -> Array:
    """The same array, its strings as numpy has them: ONNX Runtime gives out Python objects."""
    return array.astype(np.str_) if array.dtype.hasobject else array


def pack(array: Array, target: Array, bits: int) -> None:
    """Write elements that have a byte each to the first bytes of ``target``, ``bits`` for each.

    Args:
        target: of the same shape, with a byte for each element as well.
    """
    per_byte = _BYTE // bits
    codes = array.reshape(-1).view(np.uint8) & np.uint8((1 << bits) - 1)
    codes = np.pad(codes, (0, -len(codes) % per_byte)).reshape(-1, per_byte)
    packed = np.bitwise_or.reduce(codes << _shifts(bits), axis=1)
    target.reshape(-1).view(np.uint8)[: len(packed)] = packed


def _unpack(packed: Array, bits: int, count: int) -> Array:
    spread = packed.view(np.uint8)[:, None] >> _shifts(bits)
    codes = spread.reshape(-1)[:count] & np.uint8((1 << bits) - 1)
    return np.ascontiguousarray(codes)


def _shifts(bits: int) -> np.typing.NDArray[np.uint8]:
    return np.arange(0, _BYTE, bits, dtype=np.uint8)
