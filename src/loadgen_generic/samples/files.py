"""Samples from files: which file holds which sample, checked before a test begins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from loadgen_generic.errors import RequestError
from loadgen_generic.samples.dataset import Dataset
from loadgen_generic.samples.jsonlines import LABEL, JsonLine
from loadgen_generic.samples.labels import class_labels, find_labels
from loadgen_generic.samples.parts import Header, Part, bad_data, fit, inputs_of, match, rows_of
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

__all__ = ["FileSource", "labels_of"]

# Read at a time from a mapped file, so that its pages do not gather in memory beside the copy.
_CHUNK_BYTES = 32 << 20


class FileSource:
    """The samples of a dataset, read when they are asked for.

    Every part is looked at here: its arrays must be there, and have the shape of the plan and
    an element type that becomes the plan's without loss.

    Args:
        outputs: names of the model's outputs, in order.
        limit: take only so many samples; 0 for all of them.
        label_offset: added to each label that comes with the data, so that it is the model's class.
        beat: called after each part is looked at or read, as a sign of life.
        read_labels: find the labels that came with the data.

    Attributes:
        plan: with text inputs as wide as the longest text.
        rows: how many samples each part holds.
        unread: arrays that are neither inputs nor outputs of the model.

    Raises:
        RequestError: with the file that does not fit.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: SamplePlan,
        outputs: Sequence[str],
        limit: int = 0,
        beat: Callable[[], None] = lambda: None,
        label_offset: int = 0,
        read_labels: bool = True,
    ) -> None:
        self.dataset = dataset
        self.plan = plan
        self._widths: dict[str, int] = {}  # of text, in bytes, by input
        self._outputs = list(outputs)
        self._beat = beat
        self.unread: set[str] = set()
        rows = []
        for part in dataset.parts:
            rows.append(self._check(part))
            beat()
        self.plan = self._with_widths()
        self._ends = list(accumulate(rows))  # index of the first sample after each part
        total = self._ends[-1]
        if limit > total:
            raise RequestError(
                f"{dataset.path} holds {total} samples.", flag="distinct_samples", value=limit
            )
        self._count = limit or total
        self.rows = rows
        self._labels = labels_of(dataset, plan, rows) if read_labels else None
        self._label_offset = label_offset

    @property
    def labelled(self) -> bool:
        return self._labels is not None

    def count(self) -> int:
        return self._count

    def read(self, indices: Sequence[int], targets: Sequence[Array]) -> None:
        # In order of the files, so that each is opened once.
        order = sorted(range(len(indices)), key=indices.__getitem__)
        most = max(1, _CHUNK_BYTES // max(self.plan.bytes_per_sample, 1))
        start = 0
        while start < len(order):
            at, _ = self._locate(indices[order[start]])
            part, end = self.dataset.parts[at], start
            furthest = start + most if part.mapped else len(order)
            while end < min(len(order), furthest) and indices[order[end]] < self._ends[at]:
                end += 1
            slots = order[start:end]
            rows = [self._locate(indices[slot])[1] for slot in slots]
            names = self._stored(part)
            for each, target in zip(self.plan.inputs, targets, strict=True):
                samples = self._samples(part, names[each.name], each)
                if _in_sequence(rows) and _in_sequence(slots):
                    block = samples[rows[0] : rows[-1] + 1]
                    target[slots[0] : slots[-1] + 1] = _fitted(part, each, block, part.untyped)
                    continue
                for slot, row in zip(slots, rows, strict=True):
                    target[slot] = _fitted(part, each, samples[row], part.untyped)
            start = end
            self._beat()

    def expected(self, index: int) -> Sequence[Array] | None:
        at, row = self._locate(index)
        part = self.dataset.parts[at]
        found = match(part.names(), self._outputs, "output")
        if not found:
            return None
        rows = self._ends[at] - (self._ends[at - 1] if at else 0)
        answers = []
        for name in self._outputs:
            if name not in found:
                raise bad_data(part.name, f"holds no expected values of the output {name}.")
            values = part.array(found[name])
            if self._without_batch(part):
                values = values[np.newaxis]
            elif self.plan.batched or rows > 1:
                if values.shape[:1] != (rows,):
                    raise bad_data(
                        part.name,
                        f"holds {rows} samples, but output {name} has the shape {values.shape}.",
                    )
                values = values[row : row + 1] if self.plan.batched else values[row]
            answers.append(np.array(values))
        return answers

    def _without_batch(self, part: Part) -> bool:
        """The part is one sample without the batch dimension that the model has."""
        stored, (first, *_) = self._stored(part), (*self.plan.inputs, None)
        if first is None or not self.plan.batched:
            return False
        return part.headers([stored[first.name]])[stored[first.name]].shape == first.shape

    def label(self, index: int) -> int | None:
        return None if self._labels is None else self._labels[index] + self._label_offset

    def _locate(self, index: int) -> tuple[int, int]:
        """Which part holds a sample, and in which row."""
        at = bisect_right(self._ends, index)
        return at, index - (self._ends[at - 1] if at else 0)

    def _stored(self, part: Part) -> dict[str, str]:
        return inputs_of(part, [each.name for each in self.plan.inputs])

    def _check(self, part: Part) -> int:
        """How many samples a part holds."""
        stored = self._stored(part)
        headers = part.headers(list(stored.values()))
        rows: dict[str, int] = {}
        for each in self.plan.inputs:
            header = headers[stored[each.name]]
            if header.dtype.kind == each.dtype.kind == "U":
                width = max(self._widths.get(each.name, 4), header.dtype.itemsize)
                self._widths[each.name] = width
                each = replace(each, dtype=np.dtype(f"<U{width // 4}"))
            values = part.array(stored[each.name]) if part.untyped else np.empty(0, header.dtype)
            _fitted(part, each, values, part.untyped)
            rows[each.name] = self._count_rows(part, each, header)
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{count} of {name}" for name, count in rows.items())
            raise bad_data(part.name, f"holds different numbers of samples: {told}.")
        names = part.names()
        used = {*stored.values(), *match(names, self._outputs, "output").values()}
        self.unread |= set(names) - used - ({LABEL} if part.untyped else set())
        count = next(iter(rows.values()), 1)
        if not count:
            raise bad_data(part.name, "holds no samples.")
        return count

    def _with_widths(self) -> SamplePlan:
        inputs = [
            replace(each, dtype=np.dtype(f"<U{self._widths[each.name] // 4}"))
            if each.name in self._widths
            else each
            for each in self.plan.inputs
        ]
        return replace(self.plan, inputs=tuple(inputs))

    def _count_rows(self, part: Part, each: InputPlan, header: Header) -> int:
        count = rows_of(header.shape, each.shape)
        if self.dataset.whole and not self.plan.batched and header.shape != each.shape:
            count = None
        if count is None:
            raise bad_data(
                part.name,
                f"input {each.name} is {header.describe()}; a sample is {each.dtype.name}"
                f"[{'x'.join(map(str, each.shape))}].",
                "All samples must have one shape: pad them, or give the dimension that differs "
                "a range with --dim NAME=LOW:HIGH."
                if len(self.dataset.parts) > 1 and part is not self.dataset.parts[0]
                else "",
            )
        return count

    def _samples(self, part: Part, stored: str, each: InputPlan) -> Array:
        """The array of a part as (rows, *sample)."""
        values = part.array(stored)
        count = rows_of(values.shape, each.shape)
        if count is None:
            raise bad_data(part.name, f"input {each.name} now has the shape {values.shape}.")
        return values.reshape((count, *each.shape))


def labels_of(dataset: Dataset, plan: SamplePlan, rows: Sequence[int]) -> list[int] | None:
    """The label of each sample, where labels came with the data.

    Args:
        rows: how many samples each part holds.

    Raises:
        RequestError: a label is missing where others are there, or is no whole number.
    """
    lines = [part for part in dataset.parts if isinstance(part, JsonLine)]
    if lines and not any(each.name == LABEL for each in plan.inputs):
        labels = [line.label() for line in lines]
        if all(label is None for label in labels):
            return None
        for line, label in zip(lines, labels, strict=True):
            if not isinstance(label, int) or isinstance(label, bool):
                raise bad_data(line.name, "has no whole number as its label; others have one.")
        return labels  # type: ignore[return-value]
    if dataset.whole or lines:
        return None
    found = find_labels(dataset.directory, dataset.files, rows)
    if found is None and dataset.kind == "images":
        found = class_labels(dataset.directory, dataset.files)
    return found


def _in_sequence(numbers: Sequence[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _fitted(part: Part, each: InputPlan, values: Array, untyped: bool) -> Array:
    """Values of a part in the element type of an input."""
    try:
        return fit(values, each.dtype, untyped)
    except ValueError as error:
        raise bad_data(
            part.name,
            f"input {each.name} is {values.dtype.name}; the model takes {each.dtype.name}.",
            str(error),
        ) from None
