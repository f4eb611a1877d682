"""The element types of the Open Inference Protocol, and what a model's metadata says of it."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen_generic.backends.kserve.datatypes import BYTES, DATATYPES
from loadgen_generic.errors import RequestError
from loadgen_generic.tensors import ModelSignature, TensorSpec

__all__ = ["BYTES", "DATATYPES", "check_types", "described", "tensors_of"]

_ANY = -1  # the protocol's word for a size that is open


def check_types(signature: ModelSignature) -> None:
    """Raise RequestError for a tensor that the protocol has no word for."""
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.element_type not in DATATYPES:
                raise RequestError(
                    f"{kind} {spec.describe()}: the Open Inference Protocol has no such element "
                    f"type (it has {', '.join(DATATYPES.values())}). Export the model with this "
                    f"{kind} cast to one of them."
                )
            if not spec.ranked:
                raise RequestError(
                    f"{kind} {spec.describe()}, and the Open Inference Protocol tells a client the "
                    "shape of everything. Export the model with its number of dimensions."
                )


def tensors_of(specs: Sequence[TensorSpec]) -> list[dict[str, object]]:
    """Inputs or outputs as a model's metadata lists them; a size that is open is -1."""
    return [
        {"name": spec.name, "datatype": DATATYPES[spec.element_type], "shape": _sizes(spec)}
        for spec in specs
    ]


def described(specs: Sequence[TensorSpec]) -> str:
    """Inputs or outputs in the protocol's words: ``ids INT64[-1, 128]``."""
    each = (f"{spec.name} {DATATYPES[spec.element_type]}{_sizes(spec)}" for spec in specs)
    return ", ".join(each) or "none"


def _sizes(spec: TensorSpec) -> list[int]:
    return [dim if isinstance(dim, int) else _ANY for dim in spec.shape]
