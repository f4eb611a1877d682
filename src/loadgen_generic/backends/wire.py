"""Reads the little of an ONNX file that ONNX Runtime does not tell.

It skips over weights instead of reading them, and needs no ``onnx`` in the measured process.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

__all__ = ["inputs_without_shape"]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INPUT = 11
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_SHAPE = 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_ORT_FORMAT = b"ORTM"
Span = tuple[int, int]


def inputs_without_shape(model_path: str) -> set[str]:
    """Names of the graph's tensor inputs that declare no shape, not even a number of dimensions.

    Args:
        model_path: a model that ONNX Runtime has loaded, so it is a sound one. Nothing is
            found in a file of ONNX Runtime's own format.
    """
    with (
        Path(model_path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
    ):
        if m[4:8] == _ORT_FORMAT:
            return set()
        return {
            bytes(m[slice(*name)]).decode()
            for graph in _fields(m, (0, len(m)), _MODEL_GRAPH)
            for value in _fields(m, graph, _GRAPH_INPUT)
            for name in _fields(m, value, _VALUE_NAME)
            for declared in _fields(m, value, _VALUE_TYPE)
            for tensor in _fields(m, declared, _TYPE_TENSOR)
            if not any(True for _ in _fields(m, tensor, _TENSOR_SHAPE))
        }


def _fields(data: mmap.mmap, within: Span, wanted: int) -> Iterator[Span]:
    """Where the fields of that number lie in a message, for those that hold bytes."""
    at, end = within
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, at = _varint(data, at)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        elif wire == _BYTES:
            size, at = _varint(data, at)
            if number == wanted:
                yield at, at + size
            at += size
        else:
            raise ValueError(f"wire type {wire} at {at}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
