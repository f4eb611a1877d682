"""What a runner is made from, and how its workers are made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from loadgen_generic.devices import blame_card
from loadgen_generic.runners.shapes import by_shape
from loadgen_generic.seams import Backend, Batch, Reader, SampleLibrary, Worker

__all__ = ["RunnerSetup", "cores_of_worker", "pin_this_thread"]

_EVERY_SIZE_SEC, _TIMES = 2.0, 2
_MOST_SIZES = 256  # as many as a worker on a card keeps ready


@dataclass(frozen=True, slots=True)
class RunnerSetup:
    """One way to dispatch.

    Attributes:
        runner: key of ``RUNNERS``.
        workers: how many inferences may be under way at once.
        batch_size: most samples in one inference.
        batch_timeout_sec: how long a batch that is not full waits for more.
        warmup_queries: inferences of each worker before it takes work.
        every_size: if there are any, also two with each smaller batch, for two seconds at most.
        pin: give each worker processors of its own.
        make_backends: for each device, makes a backend with the threads of one worker; can be
            pickled.
        backends: for each device one that is loaded, for workers that share it; else empty.
        samples: what the indices refer to.
        beat: called after each inference that warms a worker up.
        cards: for each device its number, where they are cards.
        in_flight: batches that each worker may have at once, where none waits for it.
    """

    runner: str
    workers: int
    batch_size: int
    batch_timeout_sec: float
    warmup_queries: int
    pin: bool
    make_backends: Sequence[Callable[[], Backend]]
    backends: Sequence[Backend]
    samples: SampleLibrary
    beat: Callable[[], None]
    cards: Sequence[int] = ()
    in_flight: int = 1
    every_size: bool = False

    def shared_worker(self, number: int) -> Worker:
        """A worker that shares the backend of its device: the devices take turns."""
        return self.backends[number % len(self.backends)].worker()

    def make_backend(self, number: int) -> Callable[[], Backend]:
        """Makes a backend on the device of this worker."""
        return self.make_backends[number % len(self.make_backends)]

    def replicated_worker(self, number: int) -> Worker:
        """A worker with a backend of its own; call it on the worker's own thread, so that
        threads of the backend inherit its processors."""
        backend = self.make_backend(number)()
        backend.load()
        return backend.worker()

    def blamed(self, number: int, error: BaseException) -> BaseException:
        """An error of a worker, with the card on which it happened where there are several."""
        if len(self.cards) < 2:
            return error
        return blame_card(error, self.cards[number % len(self.cards)])

    def reader(self) -> Reader:
        return self.samples.reader(self.batch_size)

    def warm_up(self, worker: Worker, reader: Reader) -> None:
        """Run a worker until it is past its first, slow inferences."""
        for batch in self.warm_up_batches(reader):
            worker.infer(batch)
            self.beat()

    def warm_up_batches(self, reader: Reader) -> Iterator[Batch]:
        """What a worker that warms up is to answer."""
        groups = self._alike()
        for number in range(self.warmup_queries):
            turn, group = divmod(number, len(groups))
            first, alike = turn * self.batch_size, groups[group]
            yield reader.batch([alike[(first + k) % len(alike)] for k in range(self.batch_size)])
        if not (self.every_size and self.warmup_queries):
            return
        # The first batch of a size costs some providers milliseconds (OpenVINO) or more (CUDA, where
        # a second one looks at the graph that the first one left), which in a test would be
        # latencies of its first second.
        end = time.monotonic() + _EVERY_SIZE_SEC
        smaller = range(1, min(self.batch_size, _MOST_SIZES))
        for size, alike, _ in product(smaller, groups, range(_TIMES)):
            if time.monotonic() > end:
                return
            yield reader.batch([alike[k % len(alike)] for k in range(size)])

    def _alike(self) -> list[Sequence[int]]:
        """The samples of each shape."""
        everything, shapes = range(self.samples.count()), self.samples.shapes()
        if shapes is None:
            return [everything]
        return [indices for _, indices in by_shape(everything, everything, shapes)]


def cores_of_worker(number: int, workers: int) -> Sequence[int]:
    """The processors of one worker: an equal share of those this process may use, in order,
    which keeps a worker within one cache and one NUMA node where it fits."""
    cores = sorted(os.sched_getaffinity(0))
    if workers >= len(cores):
        return [cores[number % len(cores)]]
    share, more = divmod(len(cores), workers)
    first = number * share + min(number, more)
    return cores[first : first + share + (number < more)]


def pin_this_thread(cores: Sequence[int]) -> None:
    """Threads that this one starts later inherit it."""
    os.sched_setaffinity(0, cores)
