"""A model on a node: the file that is there already if it is the same, else one that is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadgen_generic.hashing import sha256_of
from loadgen_generic.rundir import cache_dir
from loadgen_generic.tensors import Array

__all__ = ["Contents", "ModelFiles", "contents_of", "describe_model", "keep_model", "model_here"]

_SENT = "sent"
Contents = Mapping[str, Array]  # by file name, the bytes


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model by its files.

    Attributes:
        path: of the model, where it comes from.
        sha256: of each file, by its name relative to the model's directory; the model is first.
    """

    path: str
    sha256: tuple[tuple[str, str], ...]


def describe_model(path: str, weights: Iterable[str]) -> ModelFiles:
    """The files of a model.

    Args:
        weights: names of the files beside it that it keeps weights in.

    Raises:
        OSError: one cannot be read.
    """
    model = Path(path)
    names = [model.name, *sorted(weights)]
    return ModelFiles(path, tuple((name, sha256_of(model.parent / name)) for name in names))


def contents_of(files: ModelFiles) -> dict[str, Array]:
    """What is to be sent to a node that lacks it."""
    directory = Path(files.path).parent
    return {name: np.fromfile(directory / name, np.uint8) for name, _ in files.sha256}


def model_here(files: ModelFiles) -> str:
    """The path of the same model on this machine; empty if it is not here."""
    for path in (Path(files.path), _own(files)):
        if _same(path.parent, files):
            return str(path)
    return ""


def keep_model(files: ModelFiles, contents: Contents) -> str:
    """Write a model that was sent, and give its path.

    Raises:
        OSError: there is no room.
    """
    path = _own(files)
    for name, content in contents.items():
        target = path.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        content.tofile(aside)
        os.replace(aside, target)
    return str(path)


def _own(files: ModelFiles) -> Path:
    """Where it is kept: in a directory for these very contents of all its files."""
    together = hashlib.sha256(repr(files.sha256).encode()).hexdigest()
    return cache_dir() / _SENT / together / files.sha256[0][0]


def _same(directory: Path, files: ModelFiles) -> bool:
    try:
        return all(sha256_of(directory / name) == digest for name, digest in files.sha256)
    except OSError:
        return False
