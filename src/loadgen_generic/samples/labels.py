"""Labels beside the data: what each sample shows, as a whole number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadgen_generic.samples.parts import bad_data

__all__ = ["LABEL_FILES", "class_labels", "find_labels"]

LABEL_FILES = ("labels.npy", "labels.txt", "val_map.txt", "labels.csv")


def find_labels(directory: Path, files: Sequence[Path], rows: Sequence[int]) -> list[int] | None:
    """The label of each sample, from the label file in a directory; None without one.

    ``labels.npy`` has one whole number for each sample, in the order of the samples. The others
    have a line ``FILE LABEL`` for each file, with a comma in ``.csv``; FILE is relative to the
    directory.

    Args:
        files: the file of each part of the dataset; empty if it has no file of its own.
        rows: how many samples each part holds.

    Raises:
        RequestError: two label files, a line that is none, or a sample without a label.
    """
    found = [directory / name for name in LABEL_FILES if (directory / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise bad_data(directory, f"holds both {found[0].name} and {found[1].name}.", "Keep one.")
    (path,) = found
    if path.suffix == ".npy":
        return _from_array(path, sum(rows))
    if not files:
        raise bad_data(path, "names files, but the samples lie together.", "Use labels.npy.")
    known = _from_lines(path)
    labels = []
    for file, count in zip(files, rows, strict=True):
        name = file.relative_to(directory).as_posix()
        if name not in known:
            raise bad_data(file, f"has no label in {path}.")
        if count != 1:
            raise bad_data(
                file, f"holds {count} samples, but one label in {path}.", "Use labels.npy."
            )
        labels.append(known[name])
    return labels


def class_labels(directory: Path, files: Sequence[Path]) -> list[int] | None:
    """The position of each file's subdirectory in sorted order; None unless all are in one."""
    parts = [file.relative_to(directory).parts for file in files]
    if any(len(each) < 2 for each in parts):
        return None
    classes = {name: index for index, name in enumerate(sorted({each[0] for each in parts}))}
    return [classes[each[0]] for each in parts]


def _from_array(path: Path, count: int) -> list[int]:
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise bad_data(path, f"cannot be read: {error}.") from None
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise bad_data(
            path,
            f"holds {labels.dtype.name} of shape {labels.shape}; expected one whole number for "
            f"each of the {count} samples.",
        )
    return [int(label) for label in labels]


def _from_lines(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    separator = "," if path.suffix == ".csv" else None
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise bad_data(path, f"cannot be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, label = [*line.rsplit(separator, 1), ""][:2]
        try:
            found[name.strip().strip('"')] = int(label)
        except ValueError:
            if number == 1 and separator:  # a heading
                continue
            raise bad_data(
                f"{path}, line {number}", f"expected a file and a whole number, got {line!r}."
            ) from None
    return found
