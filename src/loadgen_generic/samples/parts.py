"""What all kinds of data files have in common: parts of a dataset, and how arrays become samples.

A part is one file, or files that belong together, and holds one sample or several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from loadgen_generic.elements import kind_of
from loadgen_generic.errors import RequestError
from loadgen_generic.tensors import Array

__all__ = ["ONLY", "Header", "Part", "bad_data", "fit", "in_order", "inputs_of", "match", "rows_of"]

# What the numbers of JSON may become, by kind of element type.
_BECOMES = {"b": "b", "i": "iuf", "u": "iuf", "f": "f"}
ONLY = ""  # the name of an array in a file that names none: it is for the only input


@dataclass(frozen=True, slots=True)
class Header:
    """Shape and element type of an array, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def describe(self) -> str:
        return f"{self.dtype.name}[{'x'.join(map(str, self.shape))}]"


class Part(Protocol):
    """A piece of a dataset. Methods raise RequestError if the files are missing or corrupt.

    Attributes:
        name: how errors call it: a path.
        mapped: its arrays are memory-mapped, so what is read of them stays in memory until
            they go.
        untyped: its numbers have no element type, as in JSON.
    """

    @property
    def name(self) -> str: ...

    @property
    def mapped(self) -> bool: ...

    @property
    def untyped(self) -> bool: ...

    def names(self) -> Sequence[str]:
        """The arrays it holds."""
        ...

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        """Shapes and element types of some of its arrays, without reading more than it must."""
        ...

    def array(self, name: str) -> Array:
        """One of its arrays."""
        ...


def bad_data(where: Path | str, message: str, remedy: str = "") -> RequestError:
    """An error that names the file."""
    return RequestError(message, flag="dataset", value=where, remedy=remedy)


def in_order(path: Path) -> list[tuple[int, int, str]]:
    """A sorting key by which ``set_2`` comes before ``set_10``."""
    words = re.findall(r"\d+|\D+", path.as_posix())
    return [(0, int(w), w) if w.isdigit() and w.isascii() else (1, 0, w) for w in words]


def match(stored: Sequence[str], wanted: Sequence[str], prefix: str) -> dict[str, str]:
    """Which of the stored arrays is which of the model's, as wanted name to stored name.

    An array is called by the model's name, by that name after ``input_`` or ``output_``, by
    the position (``input_0``, ``arr_0``), or not at all where there is one input.

    Args:
        prefix: ``input`` or ``output``.
    """
    known = set(stored)
    found = {}
    for position, name in enumerate(wanted):
        called = [name]
        # What is called by a position is not at the same time another array by its name.
        if (numbered := f"{prefix}_{position}") not in wanted:
            called.append(numbered)
        if not name.isdigit():  # output_1 is the second output, not the one called 1
            called.append(f"{prefix}_{name}")
        if prefix == "input":
            called += [f"arr_{position}"] + ([ONLY] if len(wanted) == 1 else [])
        name_here = next((each for each in called if each in known), None)
        if name_here is not None:
            found[name] = name_here
    return found


def inputs_of(part: Part, inputs: Sequence[str]) -> dict[str, str]:
    """Which array of a part is for which input, as :func:`match`; all must be there.

    Raises:
        RequestError: an input has no array.
    """
    names = part.names()
    found = match(names, inputs, "input")
    for name in inputs:
        if name not in found:
            held = ", ".join(sorted(names)) or "nothing"
            raise bad_data(part.name, f"lacks the input {name}.", f"It holds: {held}.")
    return found


def rows_of(shape: tuple[int, ...], sample: tuple[int, ...]) -> int | None:
    """How many samples an array of this shape holds; None if it does not hold such samples.

    It is one sample, or samples along a leading dimension. A leading 1 in the shape of a sample
    may be left out.
    """
    if shape == sample or (sample[:1] == (1,) and shape == sample[1:]):
        return 1
    if shape[:1] and (shape[1:] == sample or (sample[:1] == (1,) and shape[1:] == sample[1:])):
        return shape[0]
    return None


def fit(values: Array, dtype: np.dtype[np.generic], untyped: bool) -> Array:
    """The values as the model's element type, if nothing is lost by that.

    Integers widen to integers and floats to floats; numbers without an element type become
    whatever holds them. Bits without a name, as numpy stores bfloat16, are taken for the
    model's type if they have its size.

    Raises:
        ValueError: with what to do, as a sentence.
    """
    stored, wanted = values.dtype, kind_of(dtype)
    if stored == dtype:
        return values
    if stored.kind == wanted == "U" and stored.itemsize <= dtype.itemsize:
        return values.astype(dtype)
    if stored.kind == dtype.kind == "V" and stored.names is None and stored.type is np.void:
        if stored.itemsize == dtype.itemsize:
            return np.ascontiguousarray(values).view(dtype)
    elif untyped and wanted in _BECOMES.get(stored.kind, ""):
        with np.errstate(all="ignore"):
            fitted = values.astype(dtype)
        whole = fitted.astype(np.int64) if dtype.kind == "V" else fitted
        if wanted not in "iu" or np.array_equal(whole, values):
            return fitted
        raise ValueError(f"It holds numbers that are not {dtype.name}.")
    widens = (stored.kind in "iu" and dtype.kind in "iu") or stored.kind == dtype.kind == "f"
    if widens and np.can_cast(stored, dtype, "safe"):
        return values.astype(dtype)
    raise ValueError(f'Convert it, as by array.astype("{dtype.name}").')
