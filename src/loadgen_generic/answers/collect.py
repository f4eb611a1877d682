"""Answers of the runner that was measured, as LoadGen would have asked for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from loadgen_generic.answers.split import split
from loadgen_generic.config import ONE_AT_A_TIME
from loadgen_generic.seams import Complete, Runner
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["collect"]


def collect(
    runner: Runner,
    plan: SamplePlan,
    indices: Sequence[int],
    scenario: str,
    per_query: int,
    beat: Callable[[], None],
) -> list[list[Array]]:
    """The outputs of each sample, through the runner, in the order of ``indices``.

    Offline asks for all in one query, MultiStream for ``per_query`` at a time and SingleStream
    for one, each after the last is answered; Server asks one by one and does not wait.

    Args:
        runner: up and idle.
        indices: loaded samples.
        beat: called after each inference.

    Raises:
        Whatever the runner reports.
    """
    desk = _Desk(plan, beat)
    runner.start(desk.make_complete, desk.fail)
    one_at_a_time = scenario in ONE_AT_A_TIME
    for first, end in _queries(len(indices), scenario, per_query):
        runner.issue(list(range(first, end)), list(indices[first:end]))
        if one_at_a_time:
            desk.wait(end)
    runner.flush()
    desk.wait(len(indices))
    return [desk.answers[position] for position in range(len(indices))]


def _queries(count: int, scenario: str, per_query: int) -> Iterator[tuple[int, int]]:
    size = count if scenario == "Offline" else per_query
    for first in range(0, count, size):
        yield first, min(first + size, count)


class _Desk:
    """Stands in for LoadGen: keeps what each sample was answered with."""

    def __init__(self, plan: SamplePlan, beat: Callable[[], None]) -> None:
        self.answers: dict[int, list[Array]] = {}
        self._plan, self._beat = plan, beat
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def make_complete(self) -> Complete:
        def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
            # The next inference overwrites the outputs.
            answers = [
                [np.array(output) for output in answer]
                for answer in split(self._plan, outputs(), len(ids))
            ]
            self._beat()
            with self._changed:
                self.answers.update(zip(ids, answers, strict=True))
                self._changed.notify_all()

        return complete

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self.answers) >= count or self._error is not None)
            if self._error is not None:
                raise self._error
