"""Samples of several shapes from a dataset: data of variable length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from loadgen_generic.assembly import Assembly, settle
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.feed.base import Feed, effective
from loadgen_generic.feed.dataset import (
    facts_of,
    label_offset,
    most_in_memory,
    not_read,
    opened,
    output_names,
)
from loadgen_generic.feed.generated import largest_plan
from loadgen_generic.notation import SizeRange, parse_shape
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import (
    Dataset,
    FileSource,
    MixedSamples,
    Shape,
    labels_of,
    sizes_of_dataset,
)
from loadgen_generic.samples.parts import Part, bad_data
from loadgen_generic.seams import Known
from loadgen_generic.tensors import Array, ModelSignature

__all__ = ["from_dataset_of_several_shapes"]


@dataclass
class _Group:
    """The parts of a dataset whose samples have one shape, by their numbers."""

    sizes: Mapping[str, int]
    parts: list[int] = field(default_factory=list)


def from_dataset_of_several_shapes(
    config: BenchmarkConfig, assembly: Assembly, layout: Layout, beat: Callable[[], None]
) -> Feed:
    """Samples whose sizes the files say, where ``--dim`` gives a dimension a range. All of them
    are in memory.

    Raises:
        RequestError: with the file that does not fit, or whose size is not in the range.
    """
    if config.samples_in_memory is not None:
        raise RequestError(
            "samples of several shapes are all in memory.",
            flag="samples_in_memory",
            value=config.samples_in_memory,
            remedy="Leave it out, or take fewer of them with --distinct_samples.",
        )
    backend, signature = assembly.backend(layout)
    dataset = opened(config, signature, assembly.model_path)
    if dataset.whole:
        raise RequestError(
            "ONNX test data is run in one shape at a time.",
            flag="dim",
            value=",".join(f"{name}={config.dim[name]}" for name in config.size_ranges),
            remedy="Leave the range out.",
        )
    groups = _grouped(config, dataset, signature, beat)
    settled_for = _narrowed(config, groups)
    settled = settle(settled_for, assembly, layout)
    largest = largest_plan(settled_for, settled, backend, assembly)
    names = output_names(signature)
    sources = [
        FileSource(
            _part_of(dataset, group),
            settled.resized(group.sizes),
            names,
            beat=beat,
            read_labels=False,
        )
        for group in groups
    ]
    rows = [0] * len(dataset.parts)
    for group, source in zip(groups, sources, strict=True):
        for number, count in zip(group.parts, source.rows, strict=True):
            rows[number] = count
    total = config.distinct_samples or sum(rows)
    if total > sum(rows):
        raise RequestError(
            f"{dataset.path} holds {sum(rows)} samples.", flag="distinct_samples", value=total
        )
    _check_memory(config, sources, total)
    ends = list(accumulate(rows))
    shapes = []
    for group, source in zip(groups, sources, strict=True):
        members = [i for n in group.parts for i in range(ends[n] - rows[n], ends[n]) if i < total]
        if members:
            shapes.append(Shape(source.plan, source, members))
    samples = MixedSamples(shapes, config.runner.startswith("processpool"))
    labels = labels_of(dataset, largest, rows)
    known = _Labelled(samples.source, labels, label_offset(config))
    notes = [*settled.notes, f"the {total} samples have {len(shapes)} different shapes"]
    unread = set().union(*(source.unread for source in sources))
    if unread:
        notes.append(not_read(unread))
    inputs = {
        low.name: f"{low.describe(high).partition(',')[0]}, from the dataset"
        for low, high in zip(settled.plan.inputs, largest.inputs, strict=True)
    }
    found = facts_of(config, dataset, labels is not None)
    return Feed(largest, samples, known, notes, {**effective(samples, inputs), **found})


class _Labelled:
    """What came with the samples, their labels in one list."""

    def __init__(self, known: Known, labels: Sequence[int] | None, offset: int) -> None:
        self._known, self._labels, self._offset = known, labels, offset

    def expected(self, index: int) -> Sequence[Array] | None:
        return self._known.expected(index)

    def label(self, index: int) -> object:
        return None if self._labels is None else self._labels[index] + self._offset


def _grouped(
    config: BenchmarkConfig,
    dataset: Dataset,
    signature: ModelSignature,
    beat: Callable[[], None],
) -> list[_Group]:
    """The parts of the dataset by the sizes of the dimensions that ``--dim`` gives a range."""
    groups: dict[tuple[int, ...], _Group] = {}
    for number, part in enumerate(dataset.parts):
        sizes = _sizes_of(config, replace(dataset, parts=[part]), signature)
        for name, allowed in config.size_ranges.items():
            _check_size(part, name, sizes[name], allowed)
        groups.setdefault(tuple(sizes.values()), _Group(sizes)).parts.append(number)
        beat()
    return [groups[key] for key in sorted(groups)]


def _sizes_of(
    config: BenchmarkConfig, dataset: Dataset, signature: ModelSignature
) -> dict[str, int]:
    """The sizes that the first part says, of the dimensions with a range."""
    batched = config.batch_dim != "none"
    shapes = sizes_of_dataset(dataset, signature, config.shape, config.sizes, batched)
    sizes = {}
    for name in config.size_ranges:
        for spec in signature.inputs:
            if name not in spec.shape or spec.name not in shapes:
                continue
            size = parse_shape(shapes[spec.name])[spec.shape.index(name)]
            if size is not None:
                sizes[name] = size
                break
        else:
            raise RequestError(
                "no input of the model has this dimension, other than as its batch.",
                flag="dim",
                value=f"{name}={config.dim[name]}",
            )
    return sizes


def _check_size(part: Part, name: str, size: int, allowed: SizeRange) -> None:
    if not allowed.low <= size <= allowed.high or (size - allowed.low) % allowed.step:
        wanted = f"{allowed.low}:{allowed.high}" + f":{allowed.step}" * (allowed.step > 1)
        raise bad_data(
            part.name,
            f"has {size} for the dimension {name}, which is not in --dim {name}={wanted}.",
            "Give a wider range, or take the file out.",
        )


def _narrowed(config: BenchmarkConfig, groups: Sequence[_Group]) -> BenchmarkConfig:
    """The request with the ranges that the dataset really has."""
    dim = dict(config.dim)
    for name in config.size_ranges:
        found = [group.sizes[name] for group in groups]
        low, high = min(found), max(found)
        dim[name] = low if low == high else f"{low}:{high}"
    return config.model_copy(update={"dim": dim})


def _part_of(dataset: Dataset, group: _Group) -> Dataset:
    return replace(
        dataset,
        parts=[dataset.parts[number] for number in group.parts],
        files=[dataset.files[number] for number in group.parts] if dataset.files else (),
    )


def _check_memory(config: BenchmarkConfig, sources: Sequence[FileSource], total: int) -> None:
    share = total / max(sum(source.count() for source in sources), 1)
    size = share * sum(source.count() * source.plan.bytes_per_sample for source in sources)
    if size > most_in_memory():
        raise RequestError(
            f"its samples take {size / 2**30:.1f} GiB, more than a quarter of the available "
            "memory, and those of several shapes are all in memory.",
            flag="dataset",
            value=config.dataset,
            remedy="Take fewer of them with --distinct_samples.",
        )
