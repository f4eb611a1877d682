"""Reads the little of an ONNX file that ONNX Runtime does not tell.

It skips over weights instead of reading them, and needs no ``onnx`` in the measured process.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

__all__ = ["external_weights", "inputs_without_shape", "weights_beside"]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT = 1, 5, 11
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR = 5
_TENSOR_EXTERNAL = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
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


def external_weights(model_path: str) -> dict[str, int]:
    """Files beside the model that its main graph keeps weights in, and how many bytes it needs of
    each.

    Raises:
        OSError, ValueError, IndexError: it cannot be read, or is no model.
    """
    needed: dict[str, int] = {}
    with (
        Path(model_path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
    ):
        for graph in _fields(m, (0, len(m)), _MODEL_GRAPH):
            for tensor in _tensors(m, graph):
                entries = {
                    _text(m, entry, _ENTRY_KEY): _text(m, entry, _ENTRY_VALUE)
                    for entry in _fields(m, tensor, _TENSOR_EXTERNAL)
                }
                if "location" in entries:
                    end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
                    name = entries["location"]
                    needed[name] = max(needed.get(name, 0), end)
    return needed


def weights_beside(model_path: str) -> list[str]:
    """Of :func:`external_weights`, the files that are there; none for what is no model, which loading
    it says.

    Raises:
        OSError: the model cannot be read.
    """
    try:
        needed = external_weights(model_path)
    except (ValueError, IndexError):
        return []
    return [name for name in needed if (Path(model_path).parent / name).is_file()]


def _tensors(data: mmap.mmap, graph: Span) -> Iterator[Span]:
    yield from _fields(data, graph, _GRAPH_INITIALIZER)
    for node in _fields(data, graph, _GRAPH_NODE):
        for attribute in _fields(data, node, _NODE_ATTRIBUTE):
            yield from _fields(data, attribute, _ATTRIBUTE_TENSOR)


def _text(data: mmap.mmap, within: Span, wanted: int) -> str:
    return "".join(bytes(data[slice(*span)]).decode() for span in _fields(data, within, wanted))


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
