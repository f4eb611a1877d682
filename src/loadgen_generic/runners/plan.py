"""Which runner, how many workers, how many threads for each."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen_generic.errors import RequestError

__all__ = ["RunnerPlan", "plan_runner"]


@dataclass(frozen=True, slots=True)
class RunnerPlan:
    """A choice of dispatch.

    Attributes:
        name: key of ``RUNNERS``.
        workers: how many inferences may be under way at once.
        intra_op_threads: threads inside one operator, for each worker.
        reason: why this choice, in one sentence; empty where the user made it.
    """

    name: str
    workers: int
    intra_op_threads: int
    reason: str


def plan_runner(
    runner: str,
    concurrency: int | None,
    intra_op_threads: int | None,
    scenario: str,
    cores: int,
) -> RunnerPlan:
    """Fill in what the user left open.

    One query at a time (SingleStream, MultiStream) is answered fastest on LoadGen's own thread
    with every core inside the operator: handing it to another thread costs 20 to 50
    microseconds. Many at once (Server, Offline) are answered fastest by one worker per core,
    because operators do not scale perfectly and queries do.

    Args:
        runner: ``auto`` or the name of a runner.
        concurrency: number of workers; None or 0 for one per core.
        intra_op_threads: threads for each worker; None or 0 for cores / workers.
        cores: processors that this process may use.
    """
    reason = ""
    if runner == "auto":
        one_at_a_time = scenario in ("SingleStream", "MultiStream") and not concurrency
        runner = "inline" if one_at_a_time else "threadpool"
        reason = (
            f"{runner}, since {scenario} has one query under way at a time"
            if one_at_a_time
            else f"{runner}, since {scenario} may have many queries under way"
            if not concurrency
            else f"{runner}, since --concurrency was given"
        )
    if runner == "inline" and concurrency and concurrency > 1:
        raise RequestError(
            "the inline runner answers on LoadGen's own thread and has one worker.",
            flag="concurrency",
            value=concurrency,
            remedy="Leave it out, or choose --runner threadpool.",
        )
    workers = 1 if runner == "inline" else concurrency or cores
    return RunnerPlan(runner, workers, intra_op_threads or max(1, cores // workers), reason)
