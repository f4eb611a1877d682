"""Answers that are kept while the test runs, to be compared after it.

What goes wrong only under load is not seen afterwards, when the runner has time. Which answers
are kept is decided when the samples are issued, so that the others cost next to nothing.
"""

from __future__ import annotations

import math
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadgen_generic.answers.split import split
from loadgen_generic.machine import available_memory_bytes
from loadgen_generic.seams import Complete
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["MOST_KEPT", "Kept", "SpotCheck", "choose"]

MOST_KEPT = 1000
_SHARE_OF_MEMORY = 4
# Apart from the other uses of --seed: the streams are not to be related.
_STREAM = 0x5907
_FOREVER = 1 << 40  # samples; no test issues as many, and numpy draws no larger numbers


@dataclass(frozen=True, slots=True)
class Kept:
    """Answers given during the test.

    Attributes:
        answered: how many samples the test issued.
        by_index: for each sample index of which there is one, the kept answers; in each, one
            array per output.
    """

    answered: int
    by_index: dict[int, list[list[Array]]]


def choose(fraction: float, most: int, seed: int) -> Iterator[tuple[int, int]]:
    """Which of a stream of unknown length to keep: a random share, at most ``most`` in the end.

    Reservoir sampling: when all slots are taken, the n-th chosen one takes the place of a random
    other with probability ``most / n``, so that each of the stream is as likely to stay. The
    ones that would not are skipped in one step (known as Algorithm L), which makes the work grow
    with the logarithm of the stream's length.

    Yields:
        How many items further the next one to keep is, from the last one or from before the
        first, and the slot that it takes.
    """
    draw = np.random.default_rng([seed, _STREAM])
    for slot in range(most):
        yield _further(draw, 1, fraction), slot
    log_weight = 0.0  # of the largest of ``most`` random numbers, one to a slot
    while True:
        log_weight -= (draw.exponential() + sys.float_info.min) / most
        passes = -math.log(-math.expm1(log_weight))  # -log of the probability to be skipped
        skipped = draw.exponential() / passes if passes > 0 else math.inf
        yield _further(draw, skipped + 1, fraction), int(draw.integers(most))


def _further(draw: np.random.Generator, number: float, fraction: float) -> int:
    """How far ahead the ``number``-th of those is that the share chooses."""
    if number > fraction * _FOREVER:
        return _FOREVER
    return int(number) + int(draw.negative_binomial(int(number), fraction))


class SpotCheck:
    """Keeps a random share of the answers of a performance run: a :class:`Witness`.

    Args:
        plan: how the outputs of an inference belong to samples.
        fraction: of the samples that are issued, in (0, 1].
        most: most answers to hold; the whole of the test stays as likely to be among them.
        answer_bytes: size of an answer as measured. Fewer are held if ``most`` of this size
            take more than a quarter of the memory that is free.
        seed: of the choice.
        memory_bytes: memory that is free; None to ask the system.
    """

    def __init__(
        self,
        plan: SamplePlan,
        fraction: float,
        most: int,
        answer_bytes: int,
        seed: int,
        memory_bytes: int | None = None,
    ) -> None:
        memory = available_memory_bytes() if memory_bytes is None else memory_bytes
        self._plan, self._budget = plan, memory // _SHARE_OF_MEMORY
        self.most = max(1, min(most, self._budget // max(answer_bytes, 1)))
        self._choice = choose(fraction, self.most, seed)
        further, self._slot = next(self._choice)
        self._left = further - 1  # samples to pass over before the next that is kept
        self._seen = self._left  # samples issued before that one, when it will have come
        self._due: dict[int, tuple[int, int]] = {}  # id: sample index, slot
        self._kept: dict[int, tuple[int, list[Array]]] = {}  # slot: sample index, outputs
        self._bytes = 0
        self._evict = random.Random(seed)
        self._lock = threading.Lock()

    def issue(
        self, inner: Callable[[Sequence[int], Sequence[int]], None]
    ) -> Callable[[Sequence[int], Sequence[int]], None]:
        def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
            count = len(ids)
            if self._left < count:
                self._note(ids, indices)
            self._left -= count
            inner(ids, indices)

        return issue

    def complete(self, inner: Complete) -> Complete:
        none_of = self._due.keys().isdisjoint

        def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
            # Before LoadGen knows: it uses the ids again, and its test may be over then.
            if not none_of(ids):
                self._keep(ids, outputs())
            inner(ids, outputs)

        return complete

    def kept(self) -> Kept:
        """After the test, when all that was issued is answered."""
        by_index: dict[int, list[list[Array]]] = {}
        for index, answer in self._kept.values():
            by_index.setdefault(index, []).append(answer)
        return Kept(self._seen - self._left, by_index)

    def _note(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        while self._left < len(ids):
            self._due[ids[self._left]] = indices[self._left], self._slot
            further, self._slot = next(self._choice)
            self._left += further
            self._seen += further

    def _keep(self, ids: Sequence[int], outputs: Sequence[Array]) -> None:
        due = self._due
        rows = [row for row, identity in enumerate(ids) if identity in due]
        for row, views in zip(rows, split(self._plan, outputs, len(ids), rows), strict=True):
            index, slot = due.pop(ids[row])
            self._store(slot, index, [np.array(view) for view in views])

    def _store(self, slot: int, index: int, answer: list[Array]) -> None:
        with self._lock:
            self._drop(slot)
            self._kept[slot] = index, answer
            self._bytes += _size(answer)
            # Answers can be larger than the one that was measured, such as a list of boxes.
            while self._bytes > self._budget and len(self._kept) > 1:
                self._drop(self._evict.choice([other for other in self._kept if other != slot]))

    def _drop(self, slot: int) -> None:
        _, answer = self._kept.pop(slot, (0, []))
        self._bytes -= _size(answer)


def _size(answer: Sequence[Array]) -> int:
    return sum(array.nbytes for array in answer)
