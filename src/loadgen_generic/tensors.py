"""The signature of a model: its inputs and outputs, and which dimension is the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadgen_generic.elements import why_not_fed
from loadgen_generic.errors import RequestError
from loadgen_generic.values import NO_HINTS, Hints, Values, default_values

__all__ = [
    "Array",
    "Dim",
    "InputPlan",
    "ModelSignature",
    "SamplePlan",
    "TensorSpec",
    "axis_key",
    "open_dimensions",
    "plan_samples",
]

Array = npt.NDArray[np.generic]
Dim = int | str | None  # fixed, symbolic, or unknown and unnamed


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output as the model declares it.

    ``dtype`` is None for what is not a tensor of a known element type; ``element_type`` is the
    runtime's own word for it, such as ``tensor(float)``. ``ranked`` is False for an input that
    declares no shape at all; ``shape`` is empty then, as it is for a scalar.
    """

    name: str
    element_type: str
    dtype: np.dtype[np.generic] | None
    shape: tuple[Dim, ...]
    ranked: bool = True

    def describe(self) -> str:
        if not self.ranked:
            return f"{self.name}: {self.element_type}, no shape declared"
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
    the whole input where it has none. ``values`` is how its values are drawn (None stands
    for the default of the element type), unless ``array`` says what they are.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    values: Values | None = None
    array: object = None

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def describe(self, largest: InputPlan | None = None) -> str:
        """Element type and shape of one sample, and what it is fed with.

        Args:
            largest: the plan of the largest samples, where this is that of the smallest.
        """
        sizes = zip(self.shape, (largest or self).shape, strict=True)
        shape = "x".join(str(low) if low == high else f"{low}..{high}" for low, high in sizes)
        if self.array is not None:
            fed = f"always {self.array} (the graph)"
        else:
            fed = (self.values or default_values(self.dtype)).describe()
        name = "string" if self.dtype.kind == "U" else self.dtype.name
        return f"{name}[{shape}], {fed}"


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What one sample is, and whether several of them make a batch.

    Attributes:
        batched: the inputs carry a leading batch dimension. Without it every inference takes
            exactly one sample.
        fixed_batch: the size of that dimension where the model fixes it, else 0.
        batch_name: its name where the model names it, its size where it is fixed, "leading"
            where it is neither; "none" without one.
    """

    inputs: tuple[InputPlan, ...]
    batched: bool
    fixed_batch: int = 0
    batch_name: str = "none"

    @property
    def largest_batch(self) -> int:
        """1 without a batch dimension, its size where it is fixed, 0 where it is open."""
        return self.fixed_batch if self.batched else 1

    @property
    def bytes_per_sample(self) -> int:
        return sum(plan.nbytes for plan in self.inputs)


def plan_samples(
    signature: ModelSignature,
    sizes: Mapping[str, int],
    batch_dim: str = "auto",
    hints: Hints = NO_HINTS,
) -> SamplePlan:
    """Decide what one sample of a model is.

    The leading dimension is taken for the batch when every input has the same one and it is
    open (symbolic or unknown), or fixed at the same size on every output as well.

    Args:
        sizes: symbolic dimension name to size, from ``--dim``.
        batch_dim: ``auto`` for the rule above, ``none`` for no batch dimension (a leading
            dimension that is open is then 1), or the name of the symbolic dimension that is
            the batch.
        hints: what the graph demands, for what the user left open.

    Raises:
        RequestError: an input type that cannot be fed, an open dimension without a size, or a
            name that the model does not have.
    """
    names = {d for spec in signature.inputs for d in spec.shape if isinstance(d, str)}
    for flag, name in [("dim", name) for name in sizes] + [("batch_dim", batch_dim)]:
        if name not in names and not (flag == "batch_dim" and name in ("auto", "none")):
            raise RequestError(
                "the model has no such dimension.",
                flag=flag,
                value=name,
                remedy=f"Its symbolic dimensions are: {', '.join(sorted(names)) or 'none'}.",
            )
    # What must hold exactly one thing, such as a shape, is not stacked into a batch.
    unbatched = batch_dim == "none" or bool(hints.arrays)
    batch = None if unbatched else _batch_dimension(signature, sizes)
    if batch_dim not in ("auto", "none", batch):
        raise RequestError(
            "this is not the leading dimension of every input, or --dim gives it a size.",
            flag="batch_dim",
            value=batch_dim,
        )
    plans = []
    for spec in signature.inputs:
        if spec.dtype is None:
            raise RequestError(f"input {spec.describe()} {why_not_fed(spec.element_type)}")
        if not spec.ranked:
            raise RequestError(
                f"input {spec.describe()}, so not even its number of dimensions is known. Give "
                f"it with --shape {spec.name}=SIZExSIZE, or --shape {spec.name}= for a scalar."
            )
        dims = spec.shape if batch is None else spec.shape[1:]
        if batch_dim == "none" and dims and _is_open(spec, 0, sizes, hints):
            dims = (1, *dims[1:])
        shape = _resolve(spec, dims, len(spec.shape) - len(dims), sizes, hints)
        values, array = hints.values.get(spec.name), hints.arrays.get(spec.name)
        plans.append(InputPlan(spec.name, spec.dtype, shape, values, array))
    return SamplePlan(
        tuple(plans),
        batched=batch is not None,
        fixed_batch=batch if isinstance(batch, int) else 0,
        batch_name="none" if batch is None else str(batch) or "leading",
    )


def axis_key(name: str, axis: int) -> str:
    """How a dimension of an input is called that has no name of its own."""
    return f"{name}[{axis}]"


def open_dimensions(
    signature: ModelSignature, sizes: Mapping[str, int], batch_dim: str
) -> dict[str, list[tuple[str, int]]]:
    """The dimensions that have no size and are not the batch, with each input and axis that has
    them, by their name or their :func:`axis_key`."""
    batch = None if batch_dim == "none" else _batch_dimension(signature, sizes)
    places: dict[str, list[tuple[str, int]]] = {}
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape):
            leads = axis == 0 and (batch is not None or batch_dim == "none")
            if not leads and _is_open(spec, axis, sizes, NO_HINTS):
                key = str(dim or axis_key(spec.name, axis))
                places.setdefault(key, []).append((spec.name, axis))
    return places


def _is_open(spec: TensorSpec, axis: int, sizes: Mapping[str, int], hints: Hints) -> bool:
    dim = spec.shape[axis]
    if isinstance(dim, str) and dim:
        return dim not in sizes and dim not in hints.dims
    return not isinstance(dim, int) and (spec.name, axis) not in hints.axes


def _batch_dimension(signature: ModelSignature, sizes: Mapping[str, int]) -> int | str | None:
    """The leading dimension if it is the batch: its size, its name, or "" if it has none."""
    if not signature.inputs or any(not spec.shape for spec in signature.inputs):
        return None
    leading = {spec.shape[0] for spec in signature.inputs}
    if len(leading) != 1:
        return None
    first = leading.pop()
    if isinstance(first, int):
        outputs = {spec.shape[0] if spec.shape else None for spec in signature.outputs}
        return first if first and outputs == {first} else None
    return None if first in sizes else first or ""


def _resolve(
    spec: TensorSpec, dims: tuple[Dim, ...], first: int, sizes: Mapping[str, int], hints: Hints
) -> tuple[int, ...]:
    """Sizes of the dimensions from axis ``first`` on."""
    resolved = []
    for axis, dim in enumerate(dims, first):
        size = dim if isinstance(dim, int) else sizes.get(dim or "", hints.dims.get(dim or ""))
        if size is None and not dim:
            size = hints.axes.get((spec.name, axis))
        if size is None:
            wanted = [
                str(d) if isinstance(d, int) else str(sizes.get(d or "", "?")) for d in spec.shape
            ]
            wanted[axis] = "SIZE"
            by_name = f"--dim {dim}=SIZE or " if dim is not None else ""
            raise RequestError(
                f"input {spec.describe()} leaves the size of dimension {dim or axis} open. "
                f"Give it with {by_name}--shape {spec.name}={'x'.join(wanted)}."
            )
        resolved.append(size)
    return tuple(resolved)
