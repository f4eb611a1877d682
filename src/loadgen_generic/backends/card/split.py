"""How the time of an inference on a GPU divides: copy in, compute, copy out."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping

from loadgen_generic.backends.card.memory import Card, Event
from loadgen_generic.backends.card.worker import CardWorker
from loadgen_generic.seams import Batch

__all__ = ["split"]

_WARMUPS, _TIMED = 3, 50
_NAMES = ("copy_in_us", "compute_us", "copy_out_us")


def split(
    worker: CardWorker, card: Card, batches: Iterator[Batch], beat: Callable[[], None]
) -> Mapping[str, float]:
    """The medians of some batches that one worker alone infers, in microseconds.

    From CUDA's events in the worker's stream: what the host does between two of them counts where
    the GPU waits for it, such as for samples that are made ready in page-locked memory.
    """
    card.use()
    for batch in itertools.islice(batches, _WARMUPS):
        worker.infer(batch)
        beat()
    events = [Event(card) for _ in range(len(_NAMES) + 1)]
    taken = []
    for batch in itertools.islice(batches, _TIMED):
        taken.append(worker.timed(batch, events))
        beat()
    medians = map(statistics.median, zip(*taken, strict=True))
    return dict(zip(_NAMES, medians, strict=True))
