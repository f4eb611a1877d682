"""What a request must look like, whoever it came by; without a server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from loadgen_generic.elements import ELEMENTS
from loadgen_generic.errors import RequestError
from loadgen_generic.serving.datatypes import DATATYPES, check_types, tensors_of
from loadgen_generic.serving.requests import (
    BadRequestError,
    Sent,
    as_sent,
    batch_of,
    wanted_outputs,
)
from loadgen_generic.tensors import Array, Dim, ModelSignature, TensorSpec


def spec(name: str, kind: str, *shape: Dim) -> TensorSpec:
    element_type = f"tensor({kind})"
    element = ELEMENTS.get(element_type)
    return TensorSpec(name, element_type, element.dtype if element else None, shape)


MODEL = ModelSignature(
    (spec("a", "float", "N", 4), spec("b", "int64", "N", None)), (spec("y", "float", "N", 4),)
)


def sent(name: str, array: Array, datatype: str = "", shape: Sequence[int] | None = None) -> Sent:
    word = datatype or {"f4": "FP32", "i8": "INT64", "O": "BYTES"}[array.dtype.str[1:3]]
    return Sent(name, word, array.shape if shape is None else shape, lambda: array)


A, B = np.ones((2, 4), np.float32), np.zeros((2, 7), np.int64)


def test_inputs_come_in_the_models_order_and_are_not_copied() -> None:
    batch = batch_of(MODEL, [sent("b", B), sent("a", A)])
    assert batch.count == 2
    assert batch.arrays[0] is A
    assert batch.arrays[1] is B


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([sent("a", A)], "input b is missing: the model takes a FP32[-1, 4], b INT64[-1, -1]"),
        ([sent("a", A), sent("b", B), sent("z", B)], "there is no input z: the model takes a"),
        ([sent("a", A), sent("a", A), sent("b", B)], "input a is there twice"),
        ([sent("a", B), sent("b", B)], "input a is INT64, and the model takes a FP32[-1, 4]"),
        ([sent("a", A[:, :3]), sent("b", B)], "input a has shape [2, 3], and the model takes"),
        ([sent("a", A[0]), sent("b", B)], "input a has shape [4], and the model takes"),
        ([sent("a", A, shape=[-2, 4]), sent("b", B)], "input a has shape [-2, 4], and the"),
        ([sent("a", A), sent("b", B[:1])], "dimension N is 2 in input a and 1 in input b"),
    ],
)
def test_what_does_not_fit_is_named(tensors: list[Sent], words: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        batch_of(MODEL, tensors)
    assert words in str(refused.value)


def test_contents_that_are_no_such_tensor() -> None:
    short = Sent("a", "FP32", [2, 4], lambda: np.frombuffer(bytes(12), np.float32).reshape(2, 4))
    with pytest.raises(BadRequestError, match=r"contents of input a are not FP32\[2, 4\]: cannot"):
        batch_of(MODEL, [short, sent("b", B)])


def test_strings_are_utf8_and_keep_their_zeros() -> None:
    model = ModelSignature((spec("s", "string", "N"),), (spec("t", "string", "N"),))
    text = np.array(["ä".encode(), b"x\0", "already"], object)
    (array,) = batch_of(model, [sent("s", text)]).arrays
    assert array.tolist() == ["ä", "x\0", "already"]
    wrong = np.array([b"\xff"], object)
    with pytest.raises(BadRequestError, match="contents of input s are not BYTES"):
        batch_of(model, [sent("s", wrong)])
    assert as_sent(np.array(["ä", "b"])).tolist() == ["ä".encode(), b"b"]


def test_an_answer_is_the_callers_own() -> None:
    buffer = np.zeros(3)
    answer = as_sent(buffer)
    buffer[:] = 1
    assert answer.tolist() == [0, 0, 0]


def test_outputs_by_name() -> None:
    model = ModelSignature((), (spec("y", "float"), spec("z", "bool", 3)))
    assert list(wanted_outputs(model, [])) == [0, 1]
    assert list(wanted_outputs(model, ["z"])) == [1]
    with pytest.raises(BadRequestError, match=r"no output q: the model gives y FP32\[\], z BOOL"):
        wanted_outputs(model, ["q"])


def test_a_scalar_is_a_batch_of_one() -> None:
    model = ModelSignature((spec("x", "float"),), ())
    assert batch_of(model, [sent("x", np.float32(3).reshape(()))]).count == 1


def test_metadata_in_the_protocols_words() -> None:
    assert tensors_of(MODEL.inputs) == [
        {"name": "a", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "b", "datatype": "INT64", "shape": [-1, -1]},
    ]


@pytest.mark.parametrize("element_type", sorted(ELEMENTS.keys() - DATATYPES.keys()))
def test_types_that_the_protocol_lacks(element_type: str) -> None:
    kind = element_type.removeprefix("tensor(").removesuffix(")")
    for model in (
        ModelSignature((spec("x", kind, 3),), ()),
        ModelSignature((), (spec("x", kind),)),
    ):
        with pytest.raises(RequestError) as refused:
            check_types(model)
        assert f"put x: {element_type}" in str(refused.value)


def test_what_is_no_tensor_or_has_no_shape() -> None:
    listed = TensorSpec("x", "seq(tensor(float))", None, ())
    with pytest.raises(RequestError, match="no such element type"):
        check_types(ModelSignature((), (listed,)))
    with pytest.raises(RequestError, match="with its number of dimensions"):
        check_types(ModelSignature((TensorSpec("x", "tensor(float)", None, (), False),), ()))
