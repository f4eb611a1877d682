"""Passes over the samples after a test, apart from what it measured.

A result that was measured is not lost over them: where one fails, a note says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.seams import Backend, Batch, Profiler, SampleLibrary

__all__ = ["pass_with_profile", "pass_with_split"]

Tell = Callable[[str, Mapping[str, object]], None]


def pass_with_split(
    backend: Backend,
    samples: SampleLibrary,
    batch_size: int,
    beat: Callable[[], None],
    tell: Tell,
) -> None:
    """Tell ``phases``: what an inference spends on each of its phases, where there are any."""
    try:
        phases = backend.phases(_batches(samples, batch_size), beat)
    except LoadgenGenericError as error:
        tell("note", {"text": f"the time of an inference is not divided: {error}"})
        return
    if phases:
        where = backend.effective().get("data_location", "host")
        tell("phases", {**phases, "batch_size": batch_size, "data_location": where})


def pass_with_profile(
    profiler: Profiler,
    samples: SampleLibrary,
    batch_size: int,
    file: Path,
    beat: Callable[[], None],
    tell: Tell,
) -> None:
    """Tell ``profile``: which operators take the time; ``file`` takes the backend's own trace."""
    try:
        tell("profile", profiler.run(_batches(samples, batch_size), file, beat))
    except LoadgenGenericError as error:
        tell("note", {"text": f"no profile: {error}"})


def _batches(samples: SampleLibrary, size: int) -> Iterator[Batch]:
    """Batches without end, in loaded order, of the samples of one shape: the commonest."""
    indices: Sequence[int] = range(samples.resident())
    shapes = samples.shapes()
    if shapes is not None:
        ((commonest, _),) = Counter(shapes[index] for index in indices).most_common(1)
        indices = [index for index in indices if shapes[index] == commonest]
    samples.load(indices)
    reader, source = samples.reader(size), cycle(indices)
    while True:
        yield reader.batch(list(islice(source, size)))
