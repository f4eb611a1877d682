"""Samples of one shape from a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.data import parse_image_size, parse_numbers
from loadgen_generic.errors import RequestError
from loadgen_generic.feed.base import Feed, effective
from loadgen_generic.machine import available_memory_bytes
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import (
    PRESETS,
    Dataset,
    FileSource,
    ImageWishes,
    Samples,
    open_dataset,
    sizes_of_dataset,
)
from loadgen_generic.settings import samples_per_query
from loadgen_generic.tensors import ModelSignature, SamplePlan

__all__ = [
    "facts_of",
    "from_dataset",
    "label_offset",
    "most_in_memory",
    "not_read",
    "opened",
    "output_names",
]

_SHARE_OF_MEMORY = 4


def from_dataset(
    config: BenchmarkConfig,
    assembly: Assembly,
    layout: Layout,
    beat: Callable[[], None],
) -> Feed:
    """Samples of one shape, read from files.

    Raises:
        RequestError: with the file that does not fit.
    """
    _, signature = assembly.backend(layout)
    dataset = opened(config, signature, assembly.model_path)

    def settled(batch_dim: str) -> tuple[SamplePlan, list[str]]:
        batched = batch_dim != "none"
        shapes = sizes_of_dataset(dataset, signature, config.shape, config.sizes, batched)
        fitted = config.model_copy(update={"shape": shapes, "batch_dim": batch_dim})
        try:
            return settle_plan(fitted, assembly, layout)
        except RequestError as error:
            # The user gave no such --shape: it is the dataset's.
            if error.flag == "shape" and not config.shape:
                raise RequestError(
                    f"its arrays do not fit the model: {error}",
                    flag="dataset",
                    value=config.dataset,
                ) from None
            raise

    plan, notes = settled(config.batch_dim)
    if dataset.whole and not plan.batched and config.batch_dim != "none":
        # The leading dimension is no batch after all, so a set is one sample as it stands.
        plan, _ = settled("none")
    limit, offset = config.distinct_samples or 0, label_offset(config)
    source = FileSource(dataset, plan, output_names(signature), limit, beat, offset)
    plan = source.plan
    resident, told = _resident(config, source, plan)
    notes = [*notes, *told]
    if source.unread:
        notes.append(not_read(source.unread))
    shared = config.runner.startswith("processpool")
    samples = Samples(plan, source, samples_per_query(config), shared, resident)
    inputs = {
        each.name: f"{each.dtype.name}[{'x'.join(map(str, each.shape))}], from the dataset"
        for each in plan.inputs
    }
    found = facts_of(config, dataset, source.labelled)
    return Feed(plan, samples, source, notes, {**effective(samples, inputs), **found})


def opened(config: BenchmarkConfig, signature: ModelSignature, model_path: str) -> Dataset:
    """The dataset that was asked for."""
    path = Path(config.dataset or "").expanduser()
    return open_dataset(path, signature, Path(model_path).stem, _wishes(config), config.sizes)


def facts_of(config: BenchmarkConfig, dataset: Dataset, labelled: bool) -> dict[str, object]:
    """What is in force of a dataset, for ``config.effective``."""
    return {
        "dataset": str(dataset.path),
        "dataset_kind": dataset.kind,
        "labels": labelled,
        "label_offset": label_offset(config),
        **(dataset.recipe or {}),
    }


def not_read(unread: Iterable[str]) -> str:
    """A note on arrays of a dataset that nobody uses."""
    names = ", ".join(sorted(unread))
    return f"of the dataset, {names} is no input or output of the model: not read"


def output_names(signature: ModelSignature) -> list[str]:
    """In the model's order."""
    return [spec.name for spec in signature.outputs]


def most_in_memory() -> int:
    """Bytes that samples may take unless the user allows more."""
    return available_memory_bytes() // _SHARE_OF_MEMORY


def _resident(
    config: BenchmarkConfig, source: FileSource, plan: SamplePlan
) -> tuple[int, list[str]]:
    """How many samples may be in memory at once, and notes."""
    resident, count, why = config.samples_in_memory or 0, source.count(), "--samples_in_memory"
    if not resident:
        size = max(plan.bytes_per_sample, 1)
        resident, why = most_in_memory() // size, "a quarter of what is free"
        if not resident:
            raise RequestError(
                f"one sample takes {size / 2**30:.1f} GiB, more than a quarter of the available "
                "memory.",
                flag="dataset",
                value=config.dataset,
                remedy="Allow it with --samples_in_memory 1.",
            )
    if resident >= count:
        return count, []
    note = (
        f"{resident} of the dataset's {count} samples are in memory at once ({why}); LoadGen "
        "issues these, the first ones, in a performance run and all of them in an accuracy run"
    )
    return resident, [note]


def label_offset(config: BenchmarkConfig) -> int:
    """What is added to each label."""
    if config.label_offset is not None:
        return config.label_offset
    return PRESETS[config.image_preset].label_offset if config.image_preset else 0


def _wishes(config: BenchmarkConfig) -> ImageWishes:
    mean, scale, size = config.image_mean, config.image_scale, config.image_size
    return ImageWishes(
        size=None if size is None else parse_image_size(size),
        resize=config.image_resize,
        crop=config.image_crop,
        layout=config.image_layout or "auto",
        mean=None if mean is None else parse_numbers(mean),
        scale=None if scale is None else parse_numbers(scale),
        preset=config.image_preset,
    )
