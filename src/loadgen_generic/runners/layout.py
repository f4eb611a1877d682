"""One way to dispatch: runner, workers, threads, batch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to dispatch.

    Attributes:
        runner: key of ``RUNNERS``.
        workers: how many inferences may be under way at once.
        intra_op_threads: threads inside one operator, for each worker.
        batch_size: most samples in one inference.
    """

    runner: str
    workers: int
    intra_op_threads: int
    batch_size: int

    @property
    def shares_session(self) -> bool:
        """Whether the workers of a device use one session together."""
        return self.runner in ("inline", "threadpool")

    def __str__(self) -> str:
        return (
            f"{self.runner}, {self.workers} worker(s) x {self.intra_op_threads} thread(s), "
            f"batch {self.batch_size}"
        )
