"""How work reaches a backend. A new dispatch policy is one new file and one line in ``RUNNERS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen_generic.runners.inline import InlineRunner
from loadgen_generic.runners.plan import RunnerPlan, plan_runner
from loadgen_generic.runners.threadpool import ThreadPoolRunner
from loadgen_generic.seams import Runner, SampleLibrary, Worker

__all__ = ["RUNNERS", "RunnerPlan", "plan_runner"]

RUNNERS: dict[str, Callable[[Sequence[Worker], SampleLibrary, int], Runner]] = {
    "inline": InlineRunner,
    "threadpool": ThreadPoolRunner,
}
