"""What becomes of the answers of an accuracy run."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadgen_generic.answers.split import as_bytes, split, top_1
from loadgen_generic.results.result import Accuracy
from loadgen_generic.seams import Known
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["OUTPUTS_FILE", "Keeper"]

OUTPUTS_FILE = "outputs.npz"


class Keeper:
    """Gives LoadGen the bytes of each answer, and keeps what is asked for afterwards.

    Args:
        plan: how the outputs of an inference belong to samples.
        source: knows the labels, if there are any.
        names: of the outputs.
        keep_outputs: hold all outputs in memory for :meth:`save`.
    """

    def __init__(
        self, plan: SamplePlan, source: Known, names: Sequence[str], keep_outputs: bool
    ) -> None:
        self._plan, self._source, self._names = plan, source, list(names)
        self._outputs: dict[int, list[Array]] | None = {} if keep_outputs else None
        self._classes: dict[int, int | None] = {}

    def take(self, indices: Sequence[int], outputs: Sequence[Array]) -> list[Array]:
        """The answer to each sample as bytes. Called by several workers at once."""
        answers = split(self._plan, outputs, len(indices))
        for index, answer in zip(indices, answers, strict=True):
            self._classes[index] = top_1(answer)
            if self._outputs is not None:
                self._outputs[index] = [np.array(array) for array in answer]
        return [as_bytes(answer) for answer in answers]

    def accuracy(self) -> Accuracy:
        """Top-1 against the labels; over whatever samples were answered."""
        labels = {index: self._source.label(index) for index in self._classes}
        named = {i: found for i, found in self._classes.items() if found is not None}
        judged = [i for i, label in labels.items() if label is not None and i in named]
        return Accuracy(
            samples=len(self._classes),
            labelled=sum(label is not None for label in labels.values()),
            judged=len(judged),
            correct=sum(named[index] == labels[index] for index in judged),
        )

    def save(self, directory: Path) -> Path:
        """Write ``outputs.npz``: each output under its name, stacked by sample index, or under
        ``name/index`` where the shapes of the samples differ.

        Strings are stored as numpy's text of fixed width, so that no reader has to unpickle.
        """
        assert self._outputs is not None
        order = sorted(self._outputs)
        arrays: dict[str, Array] = {}
        for position, name in enumerate(self._names):
            values = [_plain(self._outputs[index][position]) for index in order]
            if len({value.shape for value in values}) == 1:
                arrays[name] = np.stack(values)
            else:
                arrays |= {f"{name}/{i}": v for i, v in zip(order, values, strict=True)}
        path = directory / OUTPUTS_FILE
        # numpy.savez takes names as keywords, and some names of outputs are taken there already.
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        return path


def _plain(array: Array) -> Array:
    if array.dtype.kind != "O":
        return array
    words = [w.decode(errors="replace") if isinstance(w, bytes) else str(w) for w in array.flat]
    return np.array(words, dtype=np.str_).reshape(array.shape)
