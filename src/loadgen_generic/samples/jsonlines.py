"""JSON lines: one sample in each line, for small things."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadgen_generic.samples.parts import Header, bad_data
from loadgen_generic.tensors import Array

__all__ = ["LABEL", "JsonLine", "json_lines"]

LABEL = "label"


@dataclass(frozen=True)
class JsonLine:
    """One line: an object of input name to nested lists.

    Attributes:
        number: of the line, from 1 on.
        offset: where it begins in the file, in bytes.
    """

    path: Path
    number: int
    offset: int
    mapped = False
    untyped = True

    @property
    def name(self) -> str:
        return f"{self.path}, line {self.number}"

    def names(self) -> Sequence[str]:
        return list(self._content())

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        content = self._content()
        arrays = {name: self._array(name, content[name]) for name in names}
        return {name: Header(array.shape, array.dtype) for name, array in arrays.items()}

    def array(self, name: str) -> Array:
        return self._array(name, self._content()[name])

    def label(self) -> object:
        return self._content().get(LABEL)

    def _content(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = json.loads(file.readline())
        except (OSError, ValueError) as error:
            raise bad_data(self.name, f"is not JSON: {error}.") from None
        if not isinstance(content, dict):
            raise bad_data(self.name, "is not a JSON object of input name to values.")
        return content

    def _array(self, name: str, value: object) -> Array:
        try:
            array = np.asarray(value)
            if array.dtype.kind not in "biufU":
                raise ValueError("neither numbers nor text")
        except (ValueError, OverflowError) as error:
            raise bad_data(self.name, f"the values of {name} make no array: {error}.") from None
        return array


def json_lines(path: Path) -> list[JsonLine]:
    """The lines of a file that are not empty."""
    found, offset = [], 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found.append(JsonLine(path, number, offset))
                offset += len(line)
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}.") from None
    if not found:
        raise bad_data(path, "is empty.")
    return found
