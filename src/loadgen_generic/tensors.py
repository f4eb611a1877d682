"""The signature of a model: its inputs and outputs, and which dimension is the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadgen_generic.errors import RequestError

__all__ = [
    "Array",
    "Dim",
    "InputPlan",
    "ModelSignature",
    "SamplePlan",
    "TensorSpec",
    "plan_samples",
]

Array = npt.NDArray[np.generic]
Dim = int | str | None  # fixed, symbolic, or unknown and unnamed


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output as the model declares it.

    ``dtype`` is None for an element type that has no numpy equivalent here; ``element_type``
    is the runtime's own word for it, such as ``tensor(float)``.
    """

    name: str
    element_type: str
    dtype: np.dtype[np.generic] | None
    shape: tuple[Dim, ...]

    def describe(self) -> str:
        dims = "x".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.element_type}[{dims}]"


@dataclass(frozen=True, slots=True)
class ModelSignature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class InputPlan:
    """What one sample of one input looks like.

    ``shape`` is the shape of one sample: without the batch dimension where the model has one,
    the whole input where it has none.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What one sample is, and whether several of them make a batch.

    ``batched``: the inputs carry a leading batch dimension of any size. Without it every
    inference takes exactly one sample.
    """

    inputs: tuple[InputPlan, ...]
    batched: bool

    @property
    def bytes_per_sample(self) -> int:
        return sum(plan.nbytes for plan in self.inputs)


def plan_samples(signature: ModelSignature, sizes: Mapping[str, int]) -> SamplePlan:
    """Decide what one sample of a model is.

    The leading dimension is the batch when it is open (symbolic or unknown) and the same on
    every input, unless ``sizes`` fixes it. Every other open dimension needs a size.

    Args:
        sizes: symbolic dimension name to size, from ``--dim``.

    Raises:
        RequestError: an input type that cannot be fed, an open dimension without a size, or a
            size for a dimension that the model does not have.
    """
    batched = _has_batch_dimension(signature.inputs, sizes)
    unknown = set(sizes) - {
        d for spec in signature.inputs for d in spec.shape if isinstance(d, str)
    }
    if unknown:
        names = sorted({d for spec in signature.inputs for d in spec.shape if isinstance(d, str)})
        raise RequestError(
            "the model has no such dimension.",
            flag="dim",
            value=min(unknown),
            remedy=f"Its symbolic dimensions are: {', '.join(names) or 'none'}.",
        )
    plans = []
    for spec in signature.inputs:
        if spec.dtype is None:
            raise RequestError(
                f"input {spec.describe()} has an element type that cannot be generated here. "
                "Inputs of float, integer and bool tensors can."
            )
        dims = spec.shape[1:] if batched else spec.shape
        plans.append(InputPlan(spec.name, spec.dtype, _resolve(spec, dims, sizes)))
    return SamplePlan(tuple(plans), batched)


def _has_batch_dimension(inputs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> bool:
    if not inputs or any(not spec.shape for spec in inputs):
        return False
    leading = {spec.shape[0] for spec in inputs}
    if len(leading) != 1:
        return False
    first = leading.pop()
    return not isinstance(first, int) and first not in sizes


def _resolve(spec: TensorSpec, dims: tuple[Dim, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    resolved = []
    for dim in dims:
        if isinstance(dim, int):
            resolved.append(dim)
        elif dim is not None and dim in sizes:
            resolved.append(sizes[dim])
        elif dim is not None:
            raise RequestError(
                f"input {spec.describe()} leaves the size of dimension {dim} open. "
                f"Give it with --dim {dim}=SIZE."
            )
        else:
            raise RequestError(
                f"input {spec.describe()} has a dimension with neither size nor name, "
                "other than the batch. Export the model with that dimension named or fixed."
            )
    return tuple(resolved)
