"""What the shapes and ranges of a request say of a signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from loadgen_generic.elements import kind_of, limits
from loadgen_generic.errors import RequestError
from loadgen_generic.notation import parse_shape
from loadgen_generic.tensors import Dim, InputPlan, ModelSignature, TensorSpec
from loadgen_generic.values import Values

__all__ = ["apply_shapes", "check_inputs", "check_values"]


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
