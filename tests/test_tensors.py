"""What one sample of a model is."""

from __future__ import annotations

import re
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.errors import RequestError
from loadgen_generic.notation import parse_shape
from loadgen_generic.shapes import apply_shapes
from loadgen_generic.tensors import Dim, ModelSignature, TensorSpec, plan_samples

FLOAT32 = np.dtype(np.float32)


def signature(*shapes: tuple[Dim, ...]) -> ModelSignature:
    inputs = (
        TensorSpec(f"x{k}", "tensor(float)", FLOAT32, shape) for k, shape in enumerate(shapes)
    )
    return ModelSignature(tuple(inputs), ())


@pytest.mark.parametrize(
    ("shapes", "sizes", "batched", "samples"),
    [
        ([("N", 3)], {}, True, [(3,)]),
        ([(None, 3)], {}, True, [(3,)]),
        ([("N",)], {}, True, [()]),
        ([("N", 3)], {"N": 2}, False, [(2, 3)]),
        ([(1, 3)], {}, False, [(1, 3)]),
        ([()], {}, False, [()]),
        ([("N", 3), ("N", 2, 2)], {}, True, [(3,), (2, 2)]),
        ([("N", 3), ("N",)], {}, True, [(3,), ()]),
        ([("N", 3), (2,)], {"N": 5}, False, [(5, 3), (2,)]),
        ([("N", "s")], {"s": 7}, True, [(7,)]),
        ([("N", "s"), ("N", "s", "s")], {"s": 2}, True, [(2,), (2, 2)]),
        ([("N", "N")], {"N": 4}, False, [(4, 4)]),
        ([], {}, False, []),
    ],
)
def test_plans(
    shapes: list[tuple[Dim, ...]],
    sizes: dict[str, int],
    batched: bool,
    samples: list[tuple[int, ...]],
) -> None:
    plan = plan_samples(signature(*shapes), sizes)
    assert plan.batched is batched
    assert [one.shape for one in plan.inputs] == samples
    assert plan.bytes_per_sample == sum(4 * int(np.prod(shape)) for shape in samples)


@pytest.mark.parametrize(
    ("shapes", "sizes", "message"),
    [
        ([("N", "s")], {}, r"dimension s open.* --dim s=SIZE"),
        ([("N", None)], {}, r"dimension 1 open.* --shape x0=\?xSIZE"),
        ([("N", 3), ("M", 3)], {}, r"--dim N=SIZE"),
        ([("N", 3), (2,)], {}, r"--dim N=SIZE"),
        ([("N", 3)], {"s": 2}, r"--dim s: .*no such dimension.* N"),
        ([(1, 3)], {"s": 2}, r"symbolic dimensions are: none"),
        ([("N", "N")], {}, r"--dim N=SIZE"),
    ],
)
def test_refused(shapes: list[tuple[Dim, ...]], sizes: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        plan_samples(signature(*shapes), sizes)


def test_element_type_that_cannot_be_generated() -> None:
    text = TensorSpec("words", "tensor(string)", None, ("N",))
    with pytest.raises(RequestError, match=r"words: tensor\(string\)\[N\]"):
        plan_samples(ModelSignature((text,), ()), {})


def test_how_a_tensor_is_described() -> None:
    assert TensorSpec("x", "tensor(float)", FLOAT32, ("N", None, 3)).describe() == (
        "x: tensor(float)[Nx?x3]"
    )
    assert TensorSpec("s", "tensor(float)", FLOAT32, ()).describe() == "s: tensor(float)[]"


SHAPED = signature(("N", "s"), ("N", "s", None))


def test_a_shape_gives_sizes_to_names_everywhere() -> None:
    shaped, sizes = apply_shapes(SHAPED, {"x0": "?x7", "x1": "?x?x2"}, {})
    plan = plan_samples(shaped, sizes)
    assert plan.batched
    assert [each.shape for each in plan.inputs] == [(7,), (7, 2)]


@pytest.mark.parametrize(
    ("shapes", "sizes", "message"),
    [
        ({"x0": "2x7"}, {"s": 6}, r"--shape x0=2x7: dimension s is 6 elsewhere"),
        ({"x0": "2x7", "x1": "2x6x1"}, {}, r"--shape x1=2x6x1: dimension s is 7 elsewhere"),
        ({"x0": "2"}, {}, r"--shape x0=2: the model declares x0.* with 2 dimensions"),
        ({"y": "2"}, {}, r"--shape y: .*no such input.* x0, x1"),
    ],
)
def test_shapes_that_contradict(
    shapes: dict[str, str], sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        apply_shapes(SHAPED, shapes, sizes)


@given(st.lists(st.integers(0, 10**6) | st.none(), max_size=5))
def test_shapes_are_read_as_written(dims: list[int | None]) -> None:
    text = "x".join("?" if dim is None else str(dim) for dim in dims)
    assert parse_shape(text) == tuple(dims)


@given(st.text(max_size=8))
def test_a_shape_is_sizes_or_an_error(text: str) -> None:
    well_formed = re.fullmatch(r"([0-9]+|\?)(x([0-9]+|\?))*|", text, re.ASCII)
    with nullcontext() if well_formed else pytest.raises(ValueError, match="1x128"):
        parse_shape(text)
