"""The protocols by which the rooms know each other.

A query's way: LoadGen hands ids and sample indices to a :class:`Runner`, the runner asks the
:class:`SampleLibrary` for a :class:`Batch`, gives it to a :class:`Worker` of the
:class:`Backend`, and reports the ids to its :class:`Complete`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from loadgen_generic.tensors import Array, ModelSignature

__all__ = [
    "Backend",
    "Batch",
    "Complete",
    "Elsewhere",
    "Estimate",
    "Known",
    "Profiler",
    "Reader",
    "Runner",
    "SampleLibrary",
    "Sender",
    "SharedSamples",
    "Source",
    "Witness",
    "Worker",
]


@dataclass(slots=True, eq=False)
class Batch:
    """Samples of the pool, ready to be fed.

    Attributes:
        count: number of samples; the arrays may hold more rows, which are padding.
        arrays: one array per model input, in the model's order; shape (count, *sample) where
            the model has a batch dimension, else the shape of the input.
        handle: the backend's own form of the arrays, kept here by the backend so that it is
            made once for memory that many queries read, and goes when the samples go.
    """

    count: int
    arrays: tuple[Array, ...]
    handle: object = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a probe found.

    Attributes:
        samples_per_sec: throughput.
        latency_sec: time of one query; 0 where only throughput was measured.
    """

    samples_per_sec: float
    latency_sec: float


class Complete(Protocol):
    """Tells whoever issued the samples that they are answered. One per worker.

    ``outputs`` gives the answers, one array per model output, to whoever wants them.
    """

    def __call__(self, ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None: ...


class Witness(Protocol):
    """Looks on while samples are issued and answered, by standing before those who do it."""

    def issue(
        self, inner: Callable[[Sequence[int], Sequence[int]], None]
    ) -> Callable[[Sequence[int], Sequence[int]], None]:
        """A runner's ``issue``, seen by LoadGen's thread alone."""
        ...

    def complete(self, inner: Complete) -> Complete:
        """One worker's way to complete; several workers' at once."""
        ...


class Worker(Protocol):
    """One worker's handle on a backend; used by one thread at a time.

    One whose first inferences in each thread are slow says so by an attribute ``per_thread`` that
    is true.
    """

    def infer(self, batch: Batch) -> None:
        """Answer a batch."""
        ...

    def outputs(self) -> Sequence[Array]:
        """The answers to the last batch; overwritten by the next."""
        ...


class Sender(Worker, Protocol):
    """A worker that need not be waited for."""

    def send(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        """Begin to answer a batch, whose arrays may change once this returns.

        Args:
            done: called once, from any thread, with what went wrong, if anything; the answers are
                there then, and the worker is free when it returns.
        """
        ...

    def everywhere(self, batch: Batch) -> None:
        """Answer a batch by each of those who answer for this worker."""
        ...


class Profiler(Protocol):
    """Finds what a backend spends its time on, apart from the measurement."""

    def run(
        self, batches: Iterator[Batch], file: Path, beat: Callable[[], None]
    ) -> Mapping[str, object]:
        """The fields of a result's profile, from some of the endless batches.

        Raises RunError if the pass failed. The backend's own trace goes into ``file``; ``beat`` is
        called after each inference.
        """
        ...


class Backend(Protocol):
    """Who answers: an execution engine with a model loaded."""

    def load(self) -> ModelSignature: ...

    def worker(self) -> Worker: ...

    def effective(self) -> dict[str, object]:
        """The options in force, as read back from the engine."""
        ...

    def providers(self) -> list[str]:
        """The execution providers in use, in order of preference."""
        ...

    def notes(self) -> list[str]:
        """What the user should know of how the model was loaded."""
        ...

    def profiler(self) -> Profiler:
        """Raise RequestError where there is nothing to profile; takes no time yet."""
        ...

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        """What an inference of some of the endless batches spends on each of its phases, as
        fields of a result's phases; empty where there is nothing to split."""
        ...

    def cards(self) -> Sequence[str]:
        """The names of the cards that are there, by number, also before anything is loaded; empty
        where it runs on none. Raises RunError where nobody can say."""
        ...

    def confirm(self, model_sha256: str) -> None:
        """Raise RunError if what is loaded was made from another file than the one of this hash."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Elsewhere(Protocol):
    """What a :class:`Backend` has as well whose model runs behind a network."""

    def network_name(self) -> str:
        """The system's name for LoadGen, asked of every node just now, as a test begins."""
        ...

    def model_place(self) -> str:
        """What stands for the path of the model file."""
        ...

    def shares(self) -> list[str]:
        """What each node answered since its name was asked for, in words."""
        ...


class Reader(Protocol):
    """One worker's view of the samples; used by one thread at a time."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """The loaded samples of these indices, which have one shape and are at most as many as
        the reader was made for.

        A view of the pool where they lie side by side, else a copy that the next call
        overwrites.
        """
        ...


class SharedSamples(Protocol):
    """Loaded samples as another process sees them; can be pickled."""

    def reader(self, batch_size: int) -> Reader:
        """A reader whose indices are slots."""
        ...


class Known(Protocol):
    """What came with the samples: right answers, labels."""

    def expected(self, index: int) -> Sequence[Array] | None:
        """The right answers to a sample, one per output, if they came with it; with the batch
        dimension, of size 1, where the model has one."""
        ...

    def label(self, index: int) -> object:
        """What the sample shows, if that is known; else None."""
        ...


class Source(Known, Protocol):
    """Where samples of one shape come from: a generator, or files."""

    def count(self) -> int: ...

    def read(self, indices: Sequence[int], targets: Sequence[Array]) -> None:
        """Write these samples into the first rows of the targets, in this order.

        Args:
            targets: one per input, shape (rows, *sample).
        """
        ...


class SampleLibrary(Protocol):
    """What LoadGen's QSL holds. A slot is the place of a loaded sample in memory."""

    def count(self) -> int: ...

    def resident(self) -> int:
        """How many may be loaded at once."""
        ...

    def shapes(self) -> Sequence[int] | None:
        """A number for the shape of each sample, by index: only samples of the same shape can
        share a batch. None if all have one shape."""
        ...

    def nbytes(self) -> int:
        """Size of the samples that are loaded at once, in bytes."""
        ...

    def load(self, indices: Sequence[int]) -> None: ...

    def unload(self, indices: Sequence[int]) -> None: ...

    def place(self) -> None:
        """From now on, have readers in this process give batches that only say where
        their samples lie: :class:`loadgen_generic.placed.PlacedBatch`."""
        ...

    def reader(self, batch_size: int) -> Reader: ...

    def slots(self, indices: Sequence[int]) -> Sequence[int]:
        """Where the samples lie, side by side if they can."""
        ...

    def share(self) -> SharedSamples:
        """For other processes, now and after further loads."""
        ...


class Runner(Protocol):
    """How work reaches a backend. ``issue`` and ``flush`` are called by LoadGen's thread."""

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        """Bring the workers up; if they are up and idle, have them report here from now on.

        ``fail`` is told of the first error. The runner then drops what is left, because the
        test is lost.
        """
        ...

    def enter(self) -> None:
        """On LoadGen's thread, before it issues anything: make ready what belongs to a thread."""
        ...

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...
