"""The peak: the highest load that stays VALID, or the layout that is fastest.

The journal is ``search.json``.
"""

from __future__ import annotations

from typing import Any

from loadgen_generic.campaigns.audience import Audience
from loadgen_generic.campaigns.layouts import LAYOUT_SCENARIOS, LayoutSearch
from loadgen_generic.campaigns.loads import LoadSearch
from loadgen_generic.campaigns.searching import check_searchable, search
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result
from loadgen_generic.supervisor import check_request

__all__ = ["SEARCH_FILE", "find_peak"]

SEARCH_FILE = "search.json"


def find_peak(config: BenchmarkConfig, audience: Audience) -> tuple[Result, dict[str, Any]]:
    """Search, or go on with the search that was interrupted in the same directory.

    Returns:
        The result of the best test, or of the last one tried if none passed; and what
        ``search.json`` holds.

    Raises:
        RequestError: a needed option is missing or out of place, or the directory holds another
            search.
        RunError: a trial failed.
        InterruptedRunError: SIGTERM or Ctrl-C; the finished trials are kept.
    """
    check_searchable(config)
    strategy = _strategy(config)
    check_request(strategy.first().config)
    return search(config, audience, strategy, SEARCH_FILE, "peak")


def _strategy(config: BenchmarkConfig) -> LayoutSearch | LoadSearch:
    return LayoutSearch(config) if config.scenario in LAYOUT_SCENARIOS else LoadSearch(config)
