"""What the samples of a run are: generated values, or a dataset."""

from __future__ import annotations

from collections.abc import Callable

from loadgen_generic.assembly import Assembly
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.feed.base import Feed
from loadgen_generic.feed.dataset import from_dataset
from loadgen_generic.feed.generated import generated
from loadgen_generic.feed.variable import from_dataset_of_several_shapes
from loadgen_generic.runners.layout import Layout

__all__ = ["Feed", "settle_feed"]


def settle_feed(
    config: BenchmarkConfig,
    assembly: Assembly,
    layout: Layout,
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
    if config.dataset is None:
        return generated(config, assembly, layout, cache_bytes)
    if config.size_ranges:
        return from_dataset_of_several_shapes(config, assembly, layout, beat)
    return from_dataset(config, assembly, layout, beat)
