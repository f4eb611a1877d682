"""From a request to a batch and from answers to a response, checked against the model."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from loadgen_generic.seams import Batch
from loadgen_generic.serving.datatypes import BYTES, DATATYPES, described
from loadgen_generic.tensors import Array, ModelSignature, TensorSpec

__all__ = ["BadRequestError", "Sent", "as_sent", "batch_of", "wanted_outputs"]


class BadRequestError(Exception):
    """The request does not fit the model; the client reads the message."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One tensor as it came.

    Attributes:
        datatype: the protocol's word.
        array: decodes it; raises whatever numpy raises of contents that are none of that type and
            shape. Elements of BYTES are Python's ``bytes``, or ``str``.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    array: Callable[[], Array]


def batch_of(signature: ModelSignature, sent: Sequence[Sent]) -> Batch:
    """The tensors of a request as one inference takes them: in the model's order, no copies.

    Raises:
        BadRequestError: a name, type, shape or content that the model does not take.
    """
    named: dict[str, Sent] = {}
    for tensor in sent:
        if tensor.name in named:
            raise BadRequestError(f"input {tensor.name} is there twice")
        named[tensor.name] = tensor
    takes = f"the model takes {described(signature.inputs)}"
    for name in named.keys() - {spec.name for spec in signature.inputs}:
        raise BadRequestError(f"there is no input {name}: {takes}")
    sizes: dict[str, tuple[int, str]] = {}
    for spec in signature.inputs:
        if spec.name not in named:
            raise BadRequestError(f"input {spec.name} is missing: {takes}")
        _check(spec, named[spec.name], sizes)
    arrays = [_decoded(named[spec.name]) for spec in signature.inputs]
    first = signature.inputs[0].shape if signature.inputs else ()
    return Batch(len(arrays[0]) if first else 1, tuple(arrays))


def _check(spec: TensorSpec, tensor: Sent, sizes: dict[str, tuple[int, str]]) -> None:
    """Type, number of dimensions and sizes.

    Args:
        sizes: of named dimensions, with the input that has it; those of this one are added.
    """
    if tensor.datatype != DATATYPES[spec.element_type]:
        raise BadRequestError(
            f"input {spec.name} is {tensor.datatype}, and the model takes {described([spec])}"
        )
    fits = len(tensor.shape) == len(spec.shape) and all(
        size == dim if isinstance(dim, int) else size >= 0
        for size, dim in zip(tensor.shape, spec.shape, strict=False)
    )
    if not fits:
        raise BadRequestError(
            f"input {spec.name} has shape {list(tensor.shape)}, and the model takes "
            f"{described([spec])}"
        )
    for size, dim in zip(tensor.shape, spec.shape, strict=True):
        if not isinstance(dim, str) or not dim:
            continue
        known, where = sizes.setdefault(dim, (size, spec.name))
        if known != size:
            raise BadRequestError(
                f"dimension {dim} is {known} in input {where} and {size} in input {spec.name}"
            )


def _decoded(tensor: Sent) -> Array:
    try:
        array = tensor.array()
        return _as_text(array) if tensor.datatype == BYTES else array
    except (OverflowError, TypeError, ValueError, struct.error) as error:
        raise BadRequestError(
            f"the contents of input {tensor.name} are not {tensor.datatype}{list(tensor.shape)}: "
            f"{error}"
        ) from None


def _as_text(array: Array) -> Array:
    """Strings as ONNX Runtime takes them: objects, since numpy's own lose zeros at their end."""
    text = np.empty(array.shape, object)
    flat = text.reshape(-1)
    for at, each in enumerate(array.reshape(-1)):
        flat[at] = each.decode("utf-8") if isinstance(each, bytes) else str(each)
    return text


def wanted_outputs(signature: ModelSignature, names: Sequence[str]) -> Mapping[int, TensorSpec]:
    """The outputs that a request asks for, by position; all of them where it names none.

    Raises:
        BadRequestError: the model has no such output.
    """
    at = {spec.name: position for position, spec in enumerate(signature.outputs)}
    for name in names:
        if name not in at:
            raise BadRequestError(
                f"there is no output {name}: the model gives {described(signature.outputs)}"
            )
    chosen = [at[name] for name in names] if names else range(len(signature.outputs))
    return {position: signature.outputs[position] for position in chosen}


def as_sent(array: Array) -> Array:
    """An answer of its own, which the next inference leaves alone; strings as ``bytes``."""
    if array.dtype.kind != "U":
        return np.array(array)
    encoded = np.empty(array.shape, object)
    flat = encoded.reshape(-1)
    for at, each in enumerate(array.reshape(-1)):
        flat[at] = str(each).encode("utf-8")
    return cast(Array, encoded)
