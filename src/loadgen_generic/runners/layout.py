"""One way to dispatch: runner, workers, threads, batch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to dispatch.

    Attributes:
        runner: key of ``RUNNERS``.
        workers: how many inferences may be under way at once, over all cards.
        intra_op_threads: threads inside one operator, for each worker.
        batch_size: most samples in one inference.
        cards: how many the workers are spread over; 0 on a processor. It follows from the run
            and the workers, so it tells no two layouts of a run apart.
    """

    runner: str
    workers: int
    intra_op_threads: int
    batch_size: int
    cards: int = field(default=0, compare=False)

    @property
    def shares_session(self) -> bool:
        """Whether the workers of a device use one session together."""
        return self.runner in ("inline", "threadpool", "inflight", "ray")

    def __str__(self) -> str:
        where = f"x {self.intra_op_threads} thread(s)"
        if self.cards:
            where = "on 1 card" if self.cards == 1 else f"on {self.cards} cards"
        return f"{self.runner}, {self.workers} worker(s) {where}, batch {self.batch_size}"
