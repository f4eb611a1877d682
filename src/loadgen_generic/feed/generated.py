"""Samples with generated values."""

from __future__ import annotations

from loadgen_generic.assembly import Assembly, Settled, settle
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.feed.base import Feed, effective
from loadgen_generic.fitting import why_not_run
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import (
    MixedSamples,
    SyntheticSamples,
    draw_sizes,
    generated_shape,
    pool_size,
)
from loadgen_generic.seams import Backend
from loadgen_generic.settings import samples_per_query
from loadgen_generic.tensors import SamplePlan

__all__ = ["generated", "largest_plan"]


def generated(
    config: BenchmarkConfig, assembly: Assembly, layout: Layout, cache_bytes: int
) -> Feed:
    """Distinct random samples; of several shapes where ``--dim`` gives a dimension a range."""
    settled = settle(config, assembly, layout)
    shared = config.runner.startswith("processpool")
    if config.size_ranges:
        backend, _ = assembly.backend(layout)
        largest = largest_plan(config, settled, backend, assembly)
        return _of_several_shapes(config, settled, largest, shared, cache_bytes)
    plan = settled.plan
    count = config.distinct_samples or pool_size(plan.bytes_per_sample, cache_bytes)
    samples = SyntheticSamples(plan, count, config.seed, samples_per_query(config), shared)
    inputs = {each.name: each.describe() for each in plan.inputs}
    return Feed(plan, samples, samples.source, settled.notes, effective(samples, inputs))


def largest_plan(
    config: BenchmarkConfig, settled: Settled, backend: Backend, assembly: Assembly
) -> SamplePlan:
    """The plan with the largest of all sizes, on which the model was run.

    Raises:
        RequestError: it does not run.
    """
    ranges = config.size_ranges
    highest = {name: sizes.high for name, sizes in ranges.items()}
    largest = settled.resized(highest)
    failure = why_not_run(backend, largest, config.seed, assembly.beat)
    if failure:
        raise RequestError(
            "the model runs on the smallest of these sizes, but not on the largest, "
            f"{', '.join(f'{name}={size}' for name, size in highest.items())}: {failure}",
            flag="dim",
            value=",".join(f"{name}={config.dim[name]}" for name in ranges),
            remedy="Give a narrower range.",
        )
    return largest


def _of_several_shapes(
    config: BenchmarkConfig, settled: Settled, largest: SamplePlan, shared: bool, cache_bytes: int
) -> Feed:
    smallest = settled.plan
    mean_bytes = (smallest.bytes_per_sample + largest.bytes_per_sample) // 2
    count = config.distinct_samples or pool_size(mean_bytes, cache_bytes)
    shapes = [
        generated_shape(settled.resized(sizes), [config.seed, *sizes.values()], members)
        for sizes, members in draw_sizes(config.size_ranges, count, config.seed)
    ]
    samples = MixedSamples(shapes, shared)
    inputs = {
        low.name: low.describe(high)
        for low, high in zip(smallest.inputs, largest.inputs, strict=True)
    }
    notes = [*settled.notes, f"the {count} samples have {len(shapes)} different shapes"]
    return Feed(largest, samples, samples.source, notes, effective(samples, inputs))
