"""The outputs of an inference, sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from loadgen_generic.errors import RunError
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["as_bytes", "looks_like_classes", "split", "top_1"]

_BYTE_KINDS = "OSUT"  # numpy's kinds of strings


def split(
    plan: SamplePlan,
    outputs: Sequence[Array],
    count: int,
    only: Iterable[int] | None = None,
) -> list[list[Array]]:
    """One list of outputs for each of the first ``count`` samples of an inference, or for those
    that ``only`` names by their place in it.

    An output has the batch as its leading axis if that is as long as the batch, padding
    included. One that has not is whole the answer to a sample that was alone.

    Raises:
        RunError: an output of several samples has no row for each.
    """
    rows = (plan.fixed_batch or count) if plan.batched else 0
    wanted = range(count) if only is None else list(only)
    answers: list[list[Array]] = [[] for _ in wanted]
    for position, output in enumerate(outputs):
        array = np.asarray(output)
        if rows and array.ndim and len(array) == rows:
            for row, answer in zip(wanted, answers, strict=True):
                answer.append(array[row])
        elif count == 1:
            for answer in answers:
                answer.append(array)
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
    with one axis and two or more floats. None if there is no such output.

    A vector with a row of another output for each of its values is no such output: the scores
    of found objects, beside their boxes.
    """
    for output in outputs:
        listed = any(each.ndim > 1 and len(each) == output.size for each in outputs)
        if looks_like_classes(output) and not listed:
            return int(np.argmax(output))
    return None


def looks_like_classes(output: Array) -> bool:
    is_float = output.dtype.kind == "f" or "float" in output.dtype.name
    return is_float and output.ndim == 1 and output.size >= 2
