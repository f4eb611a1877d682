"""Answers on LoadGen's own thread, with no hand-over: the least latency for one query."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.runners.shapes import by_shape
from loadgen_generic.seams import Complete

__all__ = ["InlineRunner"]


class InlineRunner:
    issue: Callable[[Sequence[int], Sequence[int]], None]

    def __init__(self, setup: RunnerSetup) -> None:
        self._setup = setup
        self._worker, self._reader = setup.shared_worker(0), setup.reader()
        self._batch_size = setup.batch_size
        self._shapes = setup.samples.shapes()
        setup.warm_up(self._worker, self._reader)

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        # A closure over local names: attribute look-ups would cost each query.
        complete, size = make_complete(), self._batch_size
        infer, outputs, batch = self._worker.infer, self._worker.outputs, self._reader.batch

        lost = False

        def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
            nonlocal lost
            if lost:
                return
            try:
                if len(ids) <= size:
                    infer(batch(indices))
                    complete(ids, outputs)
                    return
                for at in range(0, len(ids), size):
                    infer(batch(indices[at : at + size]))
                    complete(ids[at : at + size], outputs)
            except BaseException as error:  # noqa: BLE001
                # LoadGen aborts the process if anything escapes from here.
                lost = True
                fail(error)

        def issue_by_shape(ids: Sequence[int], indices: Sequence[int]) -> None:
            for its_ids, its_indices in by_shape(ids, indices, shapes):
                issue(its_ids, its_indices)

        shapes = self._shapes or ()
        self.issue = issue_by_shape if self._shapes is not None else issue

    def enter(self) -> None:
        if getattr(self._worker, "per_thread", False):
            self._setup.warm_up(self._worker, self._reader)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
