"""Stand-ins for the two ends of a runner: who issues samples, and who answers them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loadgen_generic.seams import Complete
from loadgen_generic.tensors import Array

__all__ = ["Recorder"]


class Recorder:
    """Takes the place of LoadGen: keeps what each sample was answered with, and by whom."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, list[Array]]] = []
        self.threads: set[str] = set()
        self.sizes: list[int] = []
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()

    def make_complete(self) -> Complete:
        def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
            arrays = [array.copy() for array in outputs()]
            with self._changed:
                self.threads.add(threading.current_thread().name)
                self.sizes.append(len(ids))
                self.answers += [
                    (identity, [array[row] if array.ndim else array for array in arrays])
                    for row, identity in enumerate(ids)
                ]
                self._changed.notify_all()

        return complete

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, samples: int) -> None:
        """Until so many samples are answered, or something failed."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.answers) >= samples or bool(self.errors), timeout=60
            ), f"{len(self.answers)} of {samples} samples were answered"
