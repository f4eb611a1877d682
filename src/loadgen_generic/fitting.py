"""Finds sizes and values that a model takes where nobody gave them: from its graph, then by trying."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from loadgen_generic.elements import kind_of
from loadgen_generic.errors import LoadgenGenericError, RequestError, plain_words
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend
from loadgen_generic.tensors import Array, ModelSignature, SamplePlan, open_dimensions
from loadgen_generic.values import NO_HINTS, Hints

if TYPE_CHECKING:
    from loadgen_generic.graph.reading import Graph
    from loadgen_generic.graph.sizes import OpenSize

__all__ = ["batching_changes_answers", "find_hints", "hints_resized", "why_not_run"]

_CHECKED_SAMPLES = 3
# Loose: batching may choose other kernels. What it must catch is a sample answered with
# another sample's values.
_RELATIVE, _ABSOLUTE = 2e-2, 1e-3
_MOST_TRIES = 60
_SEARCH_SEC = 2.0
_LARGEST_PRODUCT = 4096
_AT_NODE = re.compile(
    r".*while running (\w+) node\. Name:'(.*?)' Status Message: (?:\S+:\d+ \S+ )?", re.DOTALL
)
Places = Mapping[str, Sequence[tuple[str, int]]]


def find_hints(
    signature: ModelSignature,
    sizes: Mapping[str, int],
    batch_dim: str,
    model_path: str,
    attempt: Callable[[Hints], str],
) -> tuple[Hints, list[str]]:
    """What a model demands of its inputs, checked by one inference.

    The graph is read only if a dimension other than the batch has no size, or an input holds
    whole numbers or truth values.

    Args:
        sizes: of symbolic dimensions, from ``--dim`` and ``--shape``.
        batch_dim: as for :func:`plan_samples`.
        attempt: runs the model on a sample made with these hints; returns why that failed, in
            words, or nothing.

    Returns:
        The hints, and notes for the user on what was chosen.

    Raises:
        RequestError: nothing was found that the model takes, with the dimension to give.
    """
    places = open_dimensions(signature, sizes, batch_dim)
    whole = any(s.dtype is not None and kind_of(s.dtype) in "biu" for s in signature.inputs)
    if not model_path or not (places or whole) or not all(s.ranked for s in signature.inputs):
        return NO_HINTS, []
    from loadgen_generic.graph.reading import open_graph

    graph = open_graph(model_path)
    if graph is None:
        return NO_HINTS, []
    from loadgen_generic.graph.sizes import sizes_to_try

    sums = {key: parts for key in places if (parts := _sum(key, {*places, *sizes}))}
    found = sizes_to_try(graph, signature, {k: w for k, w in places.items() if k not in sums})
    end, tries = time.monotonic() + _SEARCH_SEC, 0
    for chosen in itertools.islice(_combinations(found), _MOST_TRIES):
        for key, parts in sums.items():
            known = {**sizes, **chosen}
            chosen[key] = _added(parts, known)
        hints = _hints(graph, signature, sizes, places, chosen, found)
        if not (hints.dims or hints.axes or hints.values or hints.arrays):
            return hints, []
        failure, tries = attempt(hints), tries + 1
        if not failure:
            return hints, _notes(hints, places)
        if time.monotonic() > end:
            break
    raise _nothing_found(signature, places, hints, tries, failure)


def hints_resized(hints: Hints, sizes: Mapping[str, int]) -> Hints:
    """The hints for other sizes of dimensions: those whose name says that they are a sum follow.

    Args:
        sizes: of symbolic dimensions, by name.
    """
    known = {**hints.dims, **sizes}
    dims = {key: _added(parts, known) for key in hints.dims if (parts := _sum(key, set(known)))}
    return replace(hints, dims={**hints.dims, **dims})


def why_not_run(backend: Backend, plan: SamplePlan, seed: int, beat: Callable[[], None]) -> str:
    """Run one inference; what went wrong in ONNX Runtime's words, or nothing."""
    count = max(1, plan.fixed_batch)
    samples = SyntheticSamples(plan, count, seed)
    samples.load(range(count))
    worker = backend.worker()
    try:
        worker.infer(samples.reader(count).batch(range(count)))
        worker.outputs()
    except LoadgenGenericError:
        raise
    except Exception as error:  # noqa: BLE001 - an engine raises what it likes
        text = str(error) or type(error).__name__
        text = _AT_NODE.sub(r"\1 '\2': ", plain_words(text)).strip()
        return text if text.endswith(".") else text + "."
    beat()
    return ""


def _hints(
    graph: Graph,
    signature: ModelSignature,
    sizes: Mapping[str, int],
    places: Places,
    chosen: Mapping[str, int],
    found: Mapping[str, OpenSize],
) -> Hints:
    from loadgen_generic.graph.contents import legal_contents

    values, arrays = legal_contents(graph, signature, {**sizes, **chosen})
    named = {d for spec in signature.inputs for d in spec.shape if isinstance(d, str)}
    why = {}
    for key, size in chosen.items():
        size_found = found.get(key)
        if size_found is None:
            why[key] = "the sum that its name says"
        elif size_found.why and size == size_found.sizes[0]:
            why[key] = size_found.why
        else:
            why[key] = "found by trying"
    return Hints(
        dims={key: size for key, size in chosen.items() if key in named},
        axes={
            place: size for key, size in chosen.items() if key not in named for place in places[key]
        },
        values=values,
        arrays=arrays,
        why=why,
    )


def _combinations(found: Mapping[str, OpenSize]) -> Iterator[dict[str, int]]:
    """Sizes of all open dimensions together: the best of each, the next best of each, and so
    on, since dimensions of a kind are often the same; then every mixture, best first."""
    ladders = [each.sizes for each in found.values()]
    steps = [
        tuple(min(step, len(ladder) - 1) for ladder in ladders)
        for step in range(max(map(len, ladders), default=1))
    ]
    count = 1
    for ladder in ladders:
        count *= len(ladder)
    mixtures = itertools.product(*(range(len(ladder)) for ladder in ladders))
    if count <= _LARGEST_PRODUCT:
        steps += sorted(mixtures, key=sum)
    for step in dict.fromkeys(steps):
        yield {key: ladder[at] for key, ladder, at in zip(found, ladders, step, strict=True)}


def _sum(key: str, known: set[str]) -> list[str]:
    """The summands of a dimension that exporters call ``past_length + 1``; none if it is no sum."""
    parts = [part.strip() for part in key.split("+")]
    of_known = all(part.isdigit() or part in known - {key} for part in parts)
    return parts if len(parts) > 1 and of_known else []


def _added(parts: Sequence[str], sizes: Mapping[str, int]) -> int:
    return sum(int(part) if part.isdigit() else sizes[part] for part in parts)


def _notes(hints: Hints, places: Places) -> list[str]:
    notes = []
    for key, where in places.items():
        size = hints.dims.get(key, hints.axes.get(where[0]))
        flag = f"--dim {key}=SIZE" if key in hints.dims else f"--shape {where[0][0]}=SIZExSIZE"
        notes.append(
            f"dimension {key} has no size: {size} is taken ({hints.why[key]}); {flag} chooses "
            "another"
        )
    for name, array in hints.arrays.items():
        notes.append(f"input {name} is fed {array} in every sample, since an operator obeys it")
    return notes


def _nothing_found(
    signature: ModelSignature, places: Places, hints: Hints, tries: int, failure: str
) -> RequestError:
    inputs = {spec.name: spec for spec in signature.inputs}
    if not places:
        fed = "; ".join(
            [f"{name}: {values.describe()}" for name, values in hints.values.items()]
            + [f"{name}: always {array}" for name, array in hints.arrays.items()]
        )
        return RequestError(
            f"the model does not run on what its graph seems to ask for ({fed}): {failure}",
            remedy="Say what to feed with --range INPUT=LOW:HIGH, --fill INPUT=VALUE or --dataset.",
        )
    flags = []
    for key, where in places.items():
        spec = inputs[where[0][0]]
        shape = "x".join(
            str(d) if isinstance(d, int) else "SIZE" if axis == where[0][1] else "?"
            for axis, d in enumerate(spec.shape)
        )
        flags.append(f"--dim {key}=SIZE" if key in hints.dims else f"--shape {spec.name}={shape}")
    first = places[next(iter(places))][0][0]
    sizes = ", ".join(
        f"{key}={hints.dims.get(key, hints.axes.get(where[0]))}" for key, where in places.items()
    )
    return RequestError(
        f"input {inputs[first].describe()} leaves the size of dimension {', '.join(places)} open, "
        f"and none of {tries} guesses runs. The last one was {sizes}: {failure}",
        remedy=f"Give it with {' '.join(flags)}.",
    )


def batching_changes_answers(
    backend: Backend, plan: SamplePlan, seed: int, beat: Callable[[], None]
) -> str:
    """Why samples must not be batched, in words; empty if they may.

    Runs a few samples alone and together and compares. A dimension that only looks like the
    batch, or a model that mixes its samples, shows here.
    """
    count = min(_CHECKED_SAMPLES, plan.fixed_batch or _CHECKED_SAMPLES)
    samples = SyntheticSamples(plan, max(count, plan.fixed_batch), seed)
    samples.load(range(samples.count()))
    worker, reader = backend.worker(), samples.reader(count)
    alone = []
    for index in range(count):
        worker.infer(reader.batch([index]))
        beat()
        alone.append([np.array(output) for output in worker.outputs()])
    worker.infer(reader.batch(list(range(count))))
    for position, together in enumerate(worker.outputs()):
        # What was found in a sample may be nothing at all.
        empty = together.ndim and not all(len(outputs[position]) for outputs in alone)
        if together.ndim == 0 or len(together) < count or empty:
            return f"output {position} has no such dimension"
        for row, outputs in enumerate(alone):
            if not _alike(outputs[position][0], together[row]):
                return f"output {position} of a sample depends on the others in its batch"
    return ""


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if kind_of(one.dtype) not in "fc":
        return bool(np.array_equal(one, other))
    # complex128 holds every float and complex type that numpy has here
    a, b = one.astype(np.complex128), other.astype(np.complex128)
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return bool(
        np.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE * max(scale, 1e-6), equal_nan=True)
    )
