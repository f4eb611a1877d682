"""Right answers: those that came with the data, and those of a careful session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from loadgen_generic.answers.split import split
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.errors import RequestError
from loadgen_generic.seams import Batch, Known, SampleLibrary
from loadgen_generic.tensors import Array, ModelSignature, SamplePlan

__all__ = ["Expected", "Reference", "Right", "check_other_model", "reference_spec"]


class Right(Protocol):
    """Who knows the right answers."""

    def answer(self, index: int) -> list[Array] | None:
        """One array per output of the measured model, for a loaded sample; None if unknown."""
        ...


class Expected:
    """The expected outputs that came with the data."""

    def __init__(self, source: Known, plan: SamplePlan) -> None:
        self._source = source
        self._alone = replace(plan, fixed_batch=0)  # they have a batch dimension of size 1

    def answer(self, index: int) -> list[Array] | None:
        outputs = self._source.expected(index)
        return None if outputs is None else split(self._alone, outputs, 1)[0]


def reference_spec(measured: BackendSpec, model_path: str) -> BackendSpec:
    """A session to trust: ONNX Runtime on the CPU, graph optimisations off, one thread, no settings."""
    return replace(
        measured,
        name="onnxruntime",
        model_path=model_path,
        execution_provider="CPUExecutionProvider",
        execution_mode="sequential",
        intra_op_threads=1,
        inter_op_threads=1,
        graph_optimization="disabled",
        options={},
        workers=1,
        provider_options={},
        precision=None,
        allow_fallback=False,
        device=0,
        data_location="host",
        remote=None,
        cluster=None,
    )


class Reference:
    """The answers of a reference session, one sample at a time.

    Args:
        spec: from :func:`reference_spec`.
        samples: whose loaded samples are asked for.
        measured: signature of the model that was measured.

    Raises:
        RequestError: the model of ``spec`` takes other inputs or gives other outputs.
    """

    def __init__(
        self,
        spec: BackendSpec,
        samples: SampleLibrary,
        plan: SamplePlan,
        measured: ModelSignature,
    ) -> None:
        self._backend = create_backend(spec)
        signature = self._backend.load()
        self._inputs, self._outputs = check_other_model(measured, signature, spec.model_path)
        # Other floats are cast; strings keep their own width.
        types = {spec.name: spec.element_type for spec in measured.inputs}
        self._casts = [
            each.dtype if each.element_type != types[each.name] else None
            for each in signature.inputs
        ]
        self._worker, self._reader = self._backend.worker(), samples.reader(1)
        self._plan = plan

    def answer(self, index: int) -> list[Array]:
        arrays = self._reader.batch([index]).arrays
        fed = [arrays[position] for position in self._inputs]
        fed = [
            array if dtype is None else array.astype(dtype, copy=False)
            for array, dtype in zip(fed, self._casts, strict=True)
        ]
        # A batch of our own: the reader's may carry the measured session's handle.
        self._worker.infer(Batch(1, tuple(fed)))
        answers = split(self._plan, self._worker.outputs(), 1)[0]
        return [np.array(answers[position]) for position in self._outputs]

    def close(self) -> None:
        self._backend.close()


def check_other_model(
    measured: ModelSignature, other: ModelSignature, path: str
) -> tuple[list[int], list[int]]:
    """How the inputs and outputs of another model go with those of the measured one.

    By name; outputs by position if the names differ and there are as many. The element types
    of inputs may differ between kinds of float, as they do in a float16 version.

    Returns:
        For each input of the other model the position of the measured model's, and for each
        output of the measured model the position of the other's.

    Raises:
        RequestError: they do not go together.
    """
    ours = {spec.name: (at, spec) for at, spec in enumerate(measured.inputs)}
    theirs = {spec.name for spec in other.inputs}
    if set(ours) != theirs:
        raise _unlike(
            path, f"its inputs are {_listed(theirs)}, those of the model are {_listed(ours)}."
        )
    inputs = []
    for spec in other.inputs:
        at, mine = ours[spec.name]
        if spec.element_type != mine.element_type and not _both_floats(
            spec.element_type, mine.element_type
        ):
            raise _unlike(
                path,
                f"its input {spec.name} is {spec.element_type}, that of the model is "
                f"{mine.element_type}.",
            )
        inputs.append(at)
    names = [spec.name for spec in other.outputs]
    if {spec.name for spec in measured.outputs} <= set(names):
        return inputs, [names.index(spec.name) for spec in measured.outputs]
    if len(names) != len(measured.outputs):
        raise _unlike(path, f"it has {len(names)} outputs, the model has {len(measured.outputs)}.")
    return inputs, list(range(len(names)))


def _both_floats(one: str, other: str) -> bool:
    return all("float" in each or "double" in each for each in (one, other))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _unlike(path: str, why: str) -> RequestError:
    return RequestError(
        why, flag="verify", value=path, remedy="Give a version of the model that is measured."
    )
