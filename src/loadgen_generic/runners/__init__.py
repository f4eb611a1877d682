"""How work reaches a backend. A new dispatch policy is one new file and one line in ``RUNNERS``."""

from __future__ import annotations

import importlib
from typing import cast

from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.seams import Runner

__all__ = ["RUNNERS", "create_runner"]

# Named, not imported: only the chosen one is loaded. Two names of one implementation are two
# lines: CM users know both of one, and of the other the workers are at different places.
RUNNERS = {
    "inline": "loadgen_generic.runners.inline:InlineRunner",
    "threadpool": "loadgen_generic.runners.threadpool:ThreadPoolRunner",
    "threadpool+replication": "loadgen_generic.runners.threadpool:ReplicatedThreadPoolRunner",
    "inflight": "loadgen_generic.runners.inflight:InFlightRunner",
    "ray": "loadgen_generic.runners.inflight:InFlightRunner",
    "processpool": "loadgen_generic.runners.processpool:ProcessPoolRunner",
    "processpool+mp": "loadgen_generic.runners.processpool:ProcessPoolRunner",
}


def create_runner(setup: RunnerSetup) -> Runner:
    module, _, name = RUNNERS[setup.runner].partition(":")
    return cast(Runner, getattr(importlib.import_module(module), name)(setup))
