"""Arrays that several processes see, without a name that a killed process could leave behind."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadgen_generic.tensors import Array

__all__ = ["SharedArrays", "SharedLayout"]

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class SharedLayout:
    """Where the arrays are: a path that other processes can open, and what lies in it."""

    path: str
    arrays: tuple[tuple[np.dtype[np.generic], tuple[int, ...], int], ...]  # and shape, offset
    size: int


class SharedArrays:
    """Allocates arrays in memory that :meth:`attach` maps in another process.

    On Linux the memory has no name: others open it through this process, and it goes with the
    last one. Elsewhere it is a temporary file, removed by :meth:`close`.
    """

    def __init__(self, wanted: Sequence[tuple[np.dtype[np.generic], tuple[int, ...]]]) -> None:
        """Args:
        wanted: dtype and shape of each array.
        """
        placed, offset = [], 0
        for dtype, shape in wanted:
            placed.append((dtype, shape, offset))
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            offset += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._file = 0
        self._temporary: Path | None = None
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("loadgen-generic-samples")
            path = f"/proc/{os.getpid()}/fd/{self._file}"
        else:
            self._file, path = tempfile.mkstemp(prefix="loadgen-generic-samples-")
            self._temporary = Path(path)
        os.truncate(self._file, max(offset, mmap.PAGESIZE))
        self.layout = SharedLayout(path, tuple(placed), max(offset, mmap.PAGESIZE))
        self.arrays = _map(self._file, self.layout)

    @staticmethod
    def attach(layout: SharedLayout) -> tuple[Array, ...]:
        """The same arrays in another process."""
        file = os.open(layout.path, os.O_RDWR)
        try:
            return _map(file, layout)
        finally:
            os.close(file)

    def close(self) -> None:
        os.close(self._file)
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def _map(file: int, layout: SharedLayout) -> tuple[Array, ...]:
    mapped = mmap.mmap(file, layout.size)
    return tuple(
        np.frombuffer(
            mapped, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=offset
        ).reshape(shape)
        for dtype, shape, offset in layout.arrays
    )
