"""Arrays in ``.npy`` and ``.npz`` files, memory-mapped where they are not compressed."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from loadgen_generic.samples.parts import ONLY, Header, bad_data
from loadgen_generic.tensors import Array

__all__ = ["NpyFiles", "NpzFile"]

_SUFFIX = ".npy"
_LOCAL_HEADER = 30  # bytes of a zip member's own header before its name
_BROKEN = (
    ValueError,
    EOFError,
    OSError,
    KeyError,
    SyntaxError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where an array lies in a file; ``offset`` is -1 where it is compressed."""

    header: Header
    fortran: bool
    offset: int

    def map(self, path: Path) -> Array:
        shape, dtype = self.header.shape, self.header.dtype
        if 0 in shape:  # an empty map is an error
            return np.empty(shape, dtype)
        order = "F" if self.fortran else "C"
        mapped: Array = np.memmap(path, dtype, "r", self.offset, shape, order)  # type: ignore[call-overload]
        return mapped


@dataclass(frozen=True)
class NpyFiles:
    """``.npy`` files that belong together: one for each array.

    Attributes:
        files: path by name of the array; :data:`ONLY` where a single file names none.
    """

    name: str
    files: Mapping[str, Path]
    mapped = True
    untyped = False

    @classmethod
    def single(cls, path: Path) -> NpyFiles:
        return cls(str(path), {ONLY: path})

    def names(self) -> Sequence[str]:
        return list(self.files)

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        return {name: self._stored(self.files[name]).header for name in names}

    def array(self, name: str) -> Array:
        path = self.files[name]
        return self._stored(path).map(path)

    def _stored(self, path: Path) -> _Stored:
        try:
            with path.open("rb") as file:
                header, fortran = _read_header(file)
                stored = _Stored(header, fortran, file.tell())
                size = file.seek(0, os.SEEK_END)
        except _BROKEN as error:
            raise bad_data(path, f"is not a readable .npy file: {error}.") from None
        _no_objects(path, header)
        expected = stored.offset + _nbytes(header)
        if size < expected:
            raise bad_data(path, f"is cut short: {size} bytes of {expected}.")
        return stored


@dataclass(frozen=True)
class NpzFile:
    """One ``.npz`` file."""

    path: Path
    untyped = False

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def mapped(self) -> bool:
        # Compressed arrays are read whole: to open them again would read them again.
        return all(stored.offset >= 0 for stored in _members(self.path).values())

    def names(self) -> Sequence[str]:
        return list(_members(self.path))

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        members = _members(self.path)
        return {name: members[name].header for name in names}

    def array(self, name: str) -> Array:
        stored = _members(self.path)[name]
        try:
            if stored.offset >= 0:
                return stored.map(self.path)
            with np.load(self.path, allow_pickle=False) as file:
                values: Array = file[name]
                return values
        except _BROKEN as error:
            raise bad_data(self.path, f"array {name} cannot be read: {error}.") from None


def _members(path: Path) -> dict[str, _Stored]:
    """The arrays of an ``.npz`` file, by name."""
    try:
        status = path.stat()
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}.") from None
    return _read_members(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _read_members(path: Path, *_version: int) -> dict[str, _Stored]:
    found = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
            for info in archive.infolist():
                with archive.open(info) as member:
                    header, fortran = _read_header(member)
                    inside = info.file_size - _nbytes(header)
                _no_objects(path, header)
                offset = -1
                if info.compress_type == zipfile.ZIP_STORED:
                    raw.seek(info.header_offset + _LOCAL_HEADER - 4)
                    name_bytes, extra_bytes = struct.unpack("<HH", raw.read(4))
                    offset = raw.tell() + name_bytes + extra_bytes + inside
                found[info.filename.removesuffix(_SUFFIX)] = _Stored(header, fortran, offset)
    except _BROKEN as error:
        raise bad_data(path, f"is not a readable .npz file: {error}.") from None
    if not found:
        raise bad_data(path, "holds no arrays.")
    return found


def _read_header(file: IO[bytes]) -> tuple[Header, bool]:
    """The header of a ``.npy`` file, and whether its array is in Fortran's order."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not known here")
    shape, fortran, dtype = read(file)
    return Header(shape, dtype), fortran


def _nbytes(header: Header) -> int:
    size = header.dtype.itemsize
    for dim in header.shape:
        size *= dim
    return size


def _no_objects(path: Path, header: Header) -> None:
    if header.dtype.hasobject:
        raise bad_data(
            path,
            "holds Python objects, which could run code when read.",
            "Store text as numpy strings (dtype <U...) and numbers as numbers.",
        )
