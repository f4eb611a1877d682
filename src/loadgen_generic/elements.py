"""The element types of tensors: how ONNX Runtime and numpy call them, and what they can hold."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

__all__ = ["ELEMENTS", "STRING", "Element", "kind_of", "limits", "why_not_fed"]

STRING = "tensor(string)"
# Strings have a fixed width here, so that samples lie side by side and other processes see them.
_STRING_DTYPE = np.dtype("<U16")
_MOST_WORDS = 10**16  # eight syllables of a hundred, two letters each


@dataclass(frozen=True, slots=True)
class Element:
    """One element type.

    Attributes:
        dtype: one element in a numpy array; a type of ``ml_dtypes`` where numpy has none.
        onnx: its number in ONNX's ``TensorProto.DataType``.
        bits: size of one element in ONNX Runtime's memory; below 8, elements share a byte, the
            first one in the lowest bits. 0 for strings.
        native: ONNX Runtime and numpy exchange arrays of it as they are.
    """

    dtype: np.dtype[np.generic]
    onnx: int
    bits: int
    native: bool

    @property
    def packed(self) -> bool:
        return 0 < self.bits < 8


def _native(kind: str, onnx: int) -> Element:
    dtype: np.dtype[np.generic] = np.dtype(kind)
    return Element(dtype, onnx, 8 * dtype.itemsize, native=True)


def _foreign(name: str, onnx: int, bits: int) -> Element:
    return Element(np.dtype(getattr(ml_dtypes, name)), onnx, bits, native=False)


# By ONNX Runtime's own word.
ELEMENTS = {
    "tensor(float)": _native("f4", 1),
    "tensor(uint8)": _native("u1", 2),
    "tensor(int8)": _native("i1", 3),
    "tensor(uint16)": _native("u2", 4),
    "tensor(int16)": _native("i2", 5),
    "tensor(int32)": _native("i4", 6),
    "tensor(int64)": _native("i8", 7),
    STRING: Element(_STRING_DTYPE, 8, 0, native=False),
    "tensor(bool)": _native("?", 9),
    "tensor(float16)": _native("f2", 10),
    "tensor(double)": _native("f8", 11),
    "tensor(uint32)": _native("u4", 12),
    "tensor(uint64)": _native("u8", 13),
    "tensor(bfloat16)": _foreign("bfloat16", 16, 16),
    "tensor(float8e4m3fn)": _foreign("float8_e4m3fn", 17, 8),
    "tensor(float8e4m3fnuz)": _foreign("float8_e4m3fnuz", 18, 8),
    "tensor(float8e5m2)": _foreign("float8_e5m2", 19, 8),
    "tensor(float8e5m2fnuz)": _foreign("float8_e5m2fnuz", 20, 8),
    "tensor(uint4)": _foreign("uint4", 21, 4),
    "tensor(int4)": _foreign("int4", 22, 4),
    "tensor(float4e2m1)": _foreign("float4_e2m1fn", 23, 4),
    "tensor(float8e8m0)": _foreign("float8_e8m0fnu", 24, 8),
    "tensor(uint2)": _foreign("uint2", 25, 2),
    "tensor(int2)": _foreign("int2", 26, 2),
}

_REMEDIES = {
    "seq": "is a sequence, and LoadGen's samples are tensors. Export the model with one tensor "
    "input per element, or with a stacked tensor.",
    "map": "is a map, and LoadGen's samples are tensors. Export the model with its keys as one "
    "tensor.",
    "optional": "is optional, and LoadGen's samples are tensors. Export the model with a plain "
    "tensor input, or without this input.",
    "sparse_tensor": "is a sparse tensor, and LoadGen's samples are dense ones. Export the model "
    "with a dense input.",
}


def kind_of(dtype: np.dtype[np.generic]) -> str:
    """``b``, ``i``, ``u``, ``f``, ``c`` or ``U`` as numpy's ``dtype.kind``, which is ``V`` for
    all types of ``ml_dtypes``."""
    if dtype.kind != "V":
        return dtype.kind
    return {"int": "i", "uin": "u"}.get(dtype.name[:3], "f")


def limits(dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """The least and the greatest number that an element can be; whole for whole numbers.

    Strings here are made-up words, by their number.
    """
    kind = kind_of(dtype)
    if kind == "b":
        return 0, 1
    if kind in "iu":
        whole = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
        return int(whole.min), int(whole.max)
    if kind == "U":
        return 0, _MOST_WORDS
    real = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(real.min), float(real.max)


def why_not_fed(element_type: str) -> str:
    """Why an input of a type that is not in :data:`ELEMENTS` is refused, and what to do."""
    container = element_type.partition("(")[0]
    return _REMEDIES.get(
        container,
        "has an element type that is not known here. Export the model with another one.",
    )
