"""Answers on LoadGen's own thread, with no hand-over: the least latency for one query."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen_generic.seams import Complete, SampleLibrary, Worker

__all__ = ["InlineRunner"]


class InlineRunner:
    """Args:
    workers: exactly one.
    samples: where the batches come from.
    batch_size: most samples in one inference.
    """

    def __init__(self, workers: Sequence[Worker], samples: SampleLibrary, batch_size: int) -> None:
        (worker,) = workers
        self._infer = worker.infer
        self._outputs = worker.outputs
        self._batch = samples.batch
        self._batch_size = batch_size
        self._lost = False

    def start(
        self, make_complete: Callable[[], Complete], fail: Callable[[BaseException], None]
    ) -> None:
        self._complete = make_complete()
        self._fail = fail
        self._lost = False

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        if self._lost:
            return
        size = self._batch_size
        try:
            if len(ids) <= size:
                self._infer(self._batch(indices))
                self._complete(ids, self._outputs)
                return
            for at in range(0, len(ids), size):
                end = at + size
                self._infer(self._batch(indices[at:end]))
                self._complete(ids[at:end], self._outputs)
        except BaseException as error:  # noqa: BLE001
            # LoadGen aborts the process if anything escapes from here.
            self._lost = True
            self._fail(error)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
