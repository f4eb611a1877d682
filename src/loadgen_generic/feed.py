"""What the samples of a run are: generated values, or a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.data import parse_image_size, parse_numbers
from loadgen_generic.errors import RequestError
from loadgen_generic.machine import available_memory_bytes
from loadgen_generic.samples import (
    FileSource,
    ImageWishes,
    Samples,
    SyntheticSamples,
    open_dataset,
    pool_size,
    sizes_of_dataset,
)
from loadgen_generic.settings import samples_per_query
from loadgen_generic.tensors import ModelSignature, SamplePlan

__all__ = ["Feed", "settle_feed"]

_SHARE_OF_MEMORY = 4


@dataclass(frozen=True, slots=True)
class Feed:
    """What one sample is, and all of them.

    Attributes:
        notes: for the user.
        effective: what is in force, for ``config.effective``.
    """

    plan: SamplePlan
    samples: Samples
    notes: list[str]
    effective: dict[str, object]


def settle_feed(
    config: BenchmarkConfig,
    assembly: Assembly,
    intra_op_threads: int,
    model_path: str,
    cache_bytes: int,
    beat: Callable[[], None] = lambda: None,
) -> Feed:
    """Decide what one sample is, and where the samples come from.

    Args:
        cache_bytes: size of the last-level cache, which generated samples are to exceed.
        beat: called now and then, as a sign of life.

    Raises:
        RequestError: the dataset does not fit the model, with the file that does not.
    """
    shared = config.runner.startswith("processpool")
    per_query = samples_per_query(config)
    if config.dataset is not None:
        return _from_dataset(config, assembly, intra_op_threads, model_path, shared, beat)
    plan, notes = settle_plan(config, assembly, intra_op_threads)
    count = config.distinct_samples or pool_size(plan.bytes_per_sample, cache_bytes)
    samples = SyntheticSamples(plan, count, config.seed, per_query, shared=shared)
    inputs = {each.name: each.describe() for each in plan.inputs}
    return Feed(plan, samples, notes, _effective(samples, inputs))


def _from_dataset(
    config: BenchmarkConfig,
    assembly: Assembly,
    intra_op_threads: int,
    model_path: str,
    shared: bool,
    beat: Callable[[], None],
) -> Feed:
    _, signature = assembly.backend(intra_op_threads)
    dataset = open_dataset(
        Path(config.dataset or "").expanduser(),
        signature,
        Path(model_path).stem,
        _wishes(config),
        config.dim,
    )

    def settle(batch_dim: str) -> tuple[SamplePlan, list[str]]:
        batched = batch_dim != "none"
        shapes = sizes_of_dataset(dataset, signature, config.shape, config.dim, batched)
        fitted = config.model_copy(update={"shape": shapes, "batch_dim": batch_dim})
        try:
            return settle_plan(fitted, assembly, intra_op_threads)
        except RequestError as error:
            # The user gave no such --shape: it is the dataset's.
            if error.flag == "shape" and not config.shape:
                raise RequestError(
                    f"its arrays do not fit the model: {error}",
                    flag="dataset",
                    value=config.dataset,
                ) from None
            raise

    plan, notes = settle(config.batch_dim)
    if dataset.whole and not plan.batched and config.batch_dim != "none":
        # The leading dimension is no batch after all, so a set is one sample as it stands.
        plan, _ = settle("none")
    limit = config.distinct_samples or 0
    source = FileSource(dataset, plan, _names(signature), limit, beat)
    plan = source.plan
    resident, told = _resident(config, source, plan)
    notes = [*notes, *told]
    if source.unread:
        unread = ", ".join(sorted(source.unread))
        notes.append(f"of the dataset, {unread} is no input or output of the model: not read")
    samples = Samples(plan, source, samples_per_query(config), shared, resident)
    inputs = {
        each.name: f"{each.dtype.name}[{'x'.join(map(str, each.shape))}], from the dataset"
        for each in plan.inputs
    }
    found: dict[str, object] = {
        "dataset": str(dataset.path),
        "dataset_kind": dataset.kind,
        "labels": source.labelled,
        **(dataset.recipe or {}),
    }
    return Feed(plan, samples, notes, {**_effective(samples, inputs), **found})


def _effective(samples: Samples, inputs: dict[str, str]) -> dict[str, object]:
    return {
        "distinct_samples": samples.count(),
        "samples_in_memory": samples.resident(),
        "inputs": inputs,
        "dataset": None,
    }


def _names(signature: ModelSignature) -> list[str]:
    return [spec.name for spec in signature.outputs]


def _resident(
    config: BenchmarkConfig, source: FileSource, plan: SamplePlan
) -> tuple[int, list[str]]:
    """How many samples may be in memory at once, and notes."""
    resident, count, why = config.samples_in_memory or 0, source.count(), "--samples_in_memory"
    if not resident:
        size = max(plan.bytes_per_sample, 1)
        resident, why = (
            available_memory_bytes() // _SHARE_OF_MEMORY // size,
            "a quarter of what is free",
        )
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


def _wishes(config: BenchmarkConfig) -> ImageWishes:
    mean, scale, size = config.image_mean, config.image_scale, config.image_size
    return ImageWishes(
        size=None if size is None else parse_image_size(size),
        resize=config.image_resize,
        crop=config.image_crop or "center",
        layout=config.image_layout or "auto",
        mean=None if mean is None else parse_numbers(mean),
        scale=None if scale is None else parse_numbers(scale),
        preset=config.image_preset,
    )
