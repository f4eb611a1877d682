"""Synthetic samples: they fit the model, the seed decides them, batches are views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from command import Command
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.samples import SyntheticSamples, pool_size
from loadgen_generic.samples.pool import COPY_BYTES
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

TYPES = ("?", "i1", "i4", "i8", "u1", "u2", "f2", "f4", "f8")


@st.composite
def plans(draw: st.DrawFn) -> SamplePlan:
    shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
    types = st.sampled_from(TYPES).map(np.dtype)
    inputs = draw(st.lists(st.tuples(types, shapes), min_size=1, max_size=3))
    return SamplePlan(
        tuple(InputPlan(f"x{k}", dtype, shape) for k, (dtype, shape) in enumerate(inputs)),
        draw(st.booleans()),
    )


def one(samples: SyntheticSamples, index: int) -> list[Array]:
    return [np.array(array) for array in samples.reader(1).batch([index]).arrays]


def equal(left: Sequence[Array], right: Sequence[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@settings(max_examples=50, deadline=None)
@given(plans(), st.integers(1, 20), st.integers(0, 2**63 - 1))
def test_samples_fit_the_plan(plan: SamplePlan, count: int, seed: int) -> None:
    samples = SyntheticSamples(plan, count, seed)
    samples.load(range(count))
    assert samples.count() == count
    size = count if plan.batched else 1
    batch = samples.reader(size).batch(list(range(size)))
    assert batch.count == size
    for array, wanted in zip(batch.arrays, plan.inputs, strict=True):
        assert array.dtype == wanted.dtype
        assert array.shape == ((size, *wanted.shape) if plan.batched else wanted.shape)
        assert array.flags.c_contiguous
        values = array.astype(np.float64)
        assert np.all((values >= 0) & (values < 10))


@settings(max_examples=50, deadline=None)
@given(plans(), st.permutations(range(12)), st.integers(0, 1000))
def test_the_seed_alone_decides_a_sample(plan: SamplePlan, order: list[int], seed: int) -> None:
    ordered, shuffled = (SyntheticSamples(plan, 12, seed) for _ in range(2))
    ordered.load(range(12))
    shuffled.load(order)
    assert all(equal(one(ordered, k), one(shuffled, k)) for k in range(12))
    shuffled.unload(order)
    shuffled.load(order[:5])
    assert all(equal(one(ordered, k), one(shuffled, k)) for k in order[:5])


@settings(max_examples=30, deadline=None)
@given(plans(), st.integers(1, 30), st.integers(0, 1000))
def test_a_sample_does_not_depend_on_how_many_there_are(
    plan: SamplePlan, count: int, seed: int
) -> None:
    few, many = SyntheticSamples(plan, count, seed), SyntheticSamples(plan, 2 * count, seed)
    few.load(range(count))
    many.load(range(2 * count))
    assert all(equal(one(few, k), one(many, k)) for k in range(count))


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(4, 20))
def test_a_batch_holds_the_samples_that_were_asked_for(data: st.DataObject, count: int) -> None:
    """Whether they lie side by side, wrap around, repeat or jump."""
    plan = SamplePlan((InputPlan("x", np.dtype("f4"), (3,)),), True)
    order = data.draw(st.permutations(range(count)))
    size = data.draw(st.integers(1, count))
    samples = SyntheticSamples(plan, count, 1, per_query=size)
    loaded = [*order, *order[: size - 1]]  # as LoadGen does for MultiStream
    samples.load(loaded)
    start = data.draw(st.integers(0, count - 1))
    side_by_side = loaded[start : start + size]
    asked = data.draw(
        st.just(side_by_side) | st.lists(st.sampled_from(order), min_size=1, max_size=9)
    )
    reader = samples.reader(max(size, 9))
    batch = reader.batch(asked)
    assert batch.count == len(asked)
    for row, index in zip(batch.arrays[0], asked, strict=True):
        np.testing.assert_array_equal(row, one(samples, index)[0][0])
    if asked == side_by_side and start + size <= len(loaded):
        assert reader.batch(asked) is batch, "made once, so that a backend can keep its handle"


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 6))
def test_large_samples_that_lie_side_by_side_are_not_copied(order: list[int], size: int) -> None:
    plan = SamplePlan((InputPlan("x", np.dtype("f4"), (COPY_BYTES,)),), True)
    samples = SyntheticSamples(plan, 8, 1)
    samples.load(order)
    (array,) = samples.reader(size).batch(order[:size]).arrays
    assert np.shares_memory(array, samples.pool.arrays[0])


def test_samples_and_seeds_differ() -> None:
    plan = SamplePlan((InputPlan("x", np.dtype("f4"), (8,)),), True)
    pools = []
    for seed in (0, 1):
        samples = SyntheticSamples(plan, 500, seed)
        samples.load(range(500))
        pools.append(np.array(samples.reader(500).batch(list(range(500))).arrays[0]))
    everything = np.concatenate(pools)
    assert len(np.unique(everything, axis=0)) == 1000
    assert 0.45 < everything.mean() < 0.55


def test_inputs_of_one_sample_differ() -> None:
    two = (InputPlan("a", np.dtype("f4"), (8,)), InputPlan("b", np.dtype("f4"), (8,)))
    samples = SyntheticSamples(SamplePlan(two, True), 4, 0)
    samples.load(range(4))
    a, b = samples.reader(1).batch([0]).arrays
    assert not np.array_equal(a, b)


@given(st.integers(1, 2**40), st.integers(0, 2**32))
def test_pool_size_is_bounded(bytes_per_sample: int, cache_bytes: int) -> None:
    count = pool_size(bytes_per_sample, cache_bytes, 1 << 44)
    assert 2 <= count <= 1 << 18
    if count > 8:
        assert count * bytes_per_sample <= 1 << 30
    if 8 < count < 1 << 18 and (count + 16) * bytes_per_sample <= 1 << 30:
        assert count * bytes_per_sample > 2 * cache_bytes


@given(st.integers(1, 2**40), st.integers(0, 2**40))
def test_pool_size_leaves_three_quarters_of_the_memory(bytes_per_sample: int, free: int) -> None:
    count = pool_size(bytes_per_sample, 32 << 20, free)
    assert count == 1 or count * bytes_per_sample <= free / 4


@pytest.mark.parametrize("per_query", [3, 8, 20])
def test_real_multistream_queries(
    per_query: int, command: Command, models: Callable[[str], Path]
) -> None:
    """Queries that wrap around the end of the pool are answered as well."""
    outcome = command.run(
        models("int64"), scenario="MultiStream", samples_per_query=per_query, samples=12000
    )
    assert outcome.result.samples_completed == per_query * -(-12000 // per_query)
    assert outcome.effective["batch_size"] == per_query
