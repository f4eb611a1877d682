"""The outputs of an inference, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen_generic.errors import RunError
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["as_bytes", "looks_like_classes", "split", "top_1"]

_BYTE_KINDS = "OSUT"  # numpy's kinds of strings


def split(plan: SamplePlan, outputs: Sequence[Array], count: int) -> list[list[Array]]:
    """One list of outputs for each of the first ``count`` samples of an inference.

    An output has the batch as its leading axis if that is as long as the batch, padding
    included. One that has not is whole the answer to a sample that was alone.

    Raises:
        RunError: an output of several samples has no row for each.
    """
    rows = (plan.fixed_batch or count) if plan.batched else 0
    answers: list[list[Array]] = [[] for _ in range(count)]
    for position, output in enumerate(outputs):
        array = np.asarray(output)
        if rows and array.ndim and len(array) == rows:
            for row, answer in enumerate(answers):
                answer.append(array[row])
        elif count == 1:
            answers[0].append(array)
        else:
            raise RunError(
                f"output {position} of shape {list(array.shape)} has no row for each of the "
                f"{rows} samples of its batch; --batch_size 1 or --batch_dim none keeps "
                "samples apart"
            )
    return answers


def as_bytes(outputs: Sequence[Array]) -> Array:
    """All outputs of a sample one after the other, as uint8; a string ends with a zero."""
    parts = []
    for output in outputs:
        if output.dtype.kind in _BYTE_KINDS:
            words = (w if isinstance(w, bytes) else str(w).encode() for w in output.reshape(-1))
            parts.append(b"".join(word + b"\0" for word in words))
        else:
            parts.append(output.tobytes())
    return np.frombuffer(b"".join(parts), np.uint8)


def top_1(outputs: Sequence[Array]) -> int | None:
    """The class that a classifier names: the position of the largest value of the first output
    with one axis and two or more floats. None if there is no such output."""
    for output in outputs:
        if looks_like_classes(output):
            return int(np.argmax(output))
    return None


def looks_like_classes(output: Array) -> bool:
    is_float = output.dtype.kind == "f" or "float" in output.dtype.name
    return is_float and output.ndim == 1 and output.size >= 2
