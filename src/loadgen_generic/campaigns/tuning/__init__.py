"""The fastest configuration of this machine that still gives the right answers.

The journal is ``tune.json``; the best options so far are in ``tuned.json`` beside it.
"""

from __future__ import annotations

from typing import Any

from loadgen_generic.campaigns.audience import Audience
from loadgen_generic.campaigns.searching import check_searchable, search
from loadgen_generic.campaigns.study import require_optuna
from loadgen_generic.campaigns.tuning.plan import TuneSearch
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result
from loadgen_generic.supervisor import check_request

__all__ = ["TUNE_FILE", "tune"]

TUNE_FILE = "tune.json"


def tune(config: BenchmarkConfig, audience: Audience) -> tuple[Result, dict[str, Any]]:
    """Search, or go on with the search that was interrupted in the same directory.

    Returns:
        The result of the winner's test, and what ``tune.json`` holds.

    Raises:
        RequestError: a needed option is missing or out of place, optuna is not installed, or
            the directory holds another search.
        RunError: the default does not run, or its own answers are outside the tolerance.
        InterruptedRunError: SIGTERM or Ctrl-C; the finished trials are kept.
    """
    check_searchable(config)
    require_optuna("tune", "leave --mode out.")
    strategy = TuneSearch(config, check_request(Runs(config, "", "").plain()), audience.note)
    return search(config, audience, strategy, TUNE_FILE, "tune")
