"""Shapes and ranges as people write them, and what they say of a signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from loadgen_generic.elements import kind_of, limits
from loadgen_generic.errors import RequestError
from loadgen_generic.tensors import Dim, InputPlan, ModelSignature, TensorSpec
from loadgen_generic.values import Values

__all__ = [
    "SizeRange",
    "apply_shapes",
    "check_inputs",
    "check_values",
    "parse_fill",
    "parse_range",
    "parse_shape",
    "parse_size",
]

_OPEN = "?"
_FILLS = {"zeros": 0.0, "ones": 1.0, "nan": math.nan}


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Sizes that a dimension takes in turn: ``low``, ``low + step`` and so on up to ``high``,
    which is one of them."""

    low: int
    high: int
    step: int = 1


def parse_size(text: str) -> int | SizeRange:
    """``128`` as a size, ``32:512`` and ``32:512:32`` as a range of sizes with both its ends.

    Raises:
        ValueError: anything else.
    """
    parts = [int(part) if part.isascii() and part.isdigit() else 0 for part in text.split(":")]
    if len(parts) > 3 or min(parts) < 1 or (len(parts) > 1 and parts[0] > parts[1]):
        raise ValueError(
            "expected a size of at least 1, or LOW:HIGH or LOW:HIGH:STEP such as 32:512, got "
            f"{text!r}"
        )
    if len(parts) == 1:
        return parts[0]
    low, high, step = (*parts, 1)[:3]
    return low if low == high else SizeRange(low, high - (high - low) % step, step)


def parse_shape(text: str) -> tuple[int | None, ...]:
    """``1x128`` as (1, 128), ``?x128`` as (None, 128), and nothing as the shape of a scalar.

    Raises:
        ValueError: a part is neither a whole number from 0 on nor ``?``.
    """
    dims: list[int | None] = []
    for part in text.split("x") if text else ():
        if part != _OPEN and not (part.isascii() and part.isdigit()):
            raise ValueError(f"expected sizes such as 1x128 (? leaves one open), got {text!r}")
        dims.append(None if part == _OPEN else int(part))
    return tuple(dims)


def parse_range(text: str) -> tuple[float, float]:
    """``0:30522`` as (0, 30522); the upper end is not drawn.

    Raises:
        ValueError: not two numbers, or the second is not the larger one.
    """
    low, separator, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        separator = ""
    if not separator or not bounds[0] < bounds[1] or math.isinf(bounds[1] - bounds[0]):
        raise ValueError(f"expected LOW:HIGH with LOW below HIGH, got {text!r}")
    return bounds


def parse_fill(text: str) -> float:
    """``ones``, ``zeros``, ``nan`` or a number.

    Raises:
        ValueError: anything else.
    """
    try:
        return _FILLS[text] if text in _FILLS else float(text)
    except ValueError:
        raise ValueError(f"expected ones, zeros, nan or a number, got {text!r}") from None


def check_inputs(signature: ModelSignature, flag: str, names: Mapping[str, object]) -> None:
    """Raise RequestError if a flag names an input that the model does not have."""
    known = [spec.name for spec in signature.inputs]
    for name in names:
        if name not in known:
            raise RequestError(
                "the model has no such input.",
                flag=flag,
                value=name,
                remedy=f"Its inputs are: {', '.join(known) or 'none'}.",
            )


def check_values(plan: InputPlan, values: Values) -> None:
    """Raise RequestError unless they are whole numbers that the element type can hold, where it
    holds whole numbers."""
    flag = "fill" if values.kind == "constant" else "range"
    kind = kind_of(plan.dtype)
    if kind not in "iubU":
        return
    low, high = limits(plan.dtype)
    holds = "strings, made from" if kind == "U" else f"{plan.dtype.name}:"
    last = values.high if values.kind == "constant" else values.high - 1
    whole = values.low == values.low // 1 and values.high == values.high // 1
    if not (whole and low <= values.low and last <= high):
        raise RequestError(
            f"input {plan.name} holds {holds} whole numbers from {low} to {high}.",
            flag=flag,
            value=f"{plan.name}={values.low:g}" + f":{values.high:g}" * (flag == "range"),
        )


def apply_shapes(
    signature: ModelSignature, shapes: Mapping[str, str], sizes: Mapping[str, int]
) -> tuple[ModelSignature, dict[str, int]]:
    """The signature with the shapes that were asked for, and the sizes of dimensions by name.

    Args:
        shapes: input name to shape, from ``--shape``.
        sizes: dimension name to size, from ``--dim``.

    Raises:
        RequestError: a shape that contradicts the model, another shape, or ``sizes``.
    """
    check_inputs(signature, "shape", shapes)
    found = dict(sizes)
    inputs = []
    for spec in signature.inputs:
        if spec.name in shapes:
            spec = _shaped(spec, shapes[spec.name], found)
        inputs.append(spec)
    return replace(signature, inputs=tuple(inputs)), found


def _shaped(spec: TensorSpec, text: str, sizes: dict[str, int]) -> TensorSpec:
    given = f"{spec.name}={text}"
    wanted = parse_shape(text)
    if not spec.ranked:
        return replace(spec, shape=wanted, ranked=True)
    if len(wanted) != len(spec.shape):
        raise RequestError(
            f"the model declares {spec.describe()}, with {len(spec.shape)} dimensions.",
            flag="shape",
            value=given,
        )
    dims: list[Dim] = []
    for dim, size in zip(spec.shape, wanted, strict=True):
        if size is None:
            dims.append(dim)
        elif isinstance(dim, int):
            if dim != size:
                raise RequestError(
                    f"the model declares {spec.describe()}.", flag="shape", value=given
                )
            dims.append(dim)
        elif dim is None:
            dims.append(size)
        else:
            if sizes.setdefault(dim, size) != size:
                raise RequestError(
                    f"dimension {dim} is {sizes[dim]} elsewhere.", flag="shape", value=given
                )
            dims.append(dim)
    return replace(spec, shape=tuple(dims))
