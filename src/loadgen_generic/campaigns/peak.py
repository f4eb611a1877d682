"""The peak: the highest load that stays VALID, or the layout that is fastest.

The trials are ordinary runs, each in a directory of its own under ``trials``; the journal is
``search.json``.
"""

from __future__ import annotations

from typing import Any

from loadgen_generic.campaigns.audience import Audience, OnlyProgress
from loadgen_generic.campaigns.journal import Journal, open_journal
from loadgen_generic.campaigns.keeping import kept
from loadgen_generic.campaigns.layouts import LAYOUT_SCENARIOS, LayoutSearch
from loadgen_generic.campaigns.loads import LoadSearch
from loadgen_generic.campaigns.reported import run
from loadgen_generic.campaigns.strategy import Strategy
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RequestError
from loadgen_generic.results.result import Result, Search, read_result, write_json
from loadgen_generic.supervisor import (
    check_request,
    interruptible,
    requested,
    run_name,
)

__all__ = ["SEARCH_FILE", "find_peak"]

SEARCH_FILE = "search.json"
_TRIALS = "trials"


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
    strategy = _strategy(config)
    check_request(strategy.first().config)
    asked = requested(config)
    with (
        interruptible(),
        open_journal(
            SEARCH_FILE, "search", config.output_dir, f"{run_name(config)}-peak", asked
        ) as journal,
        kept(journal, config, "trial"),
    ):
        if journal.resumed:
            audience.note(
                f"going on with the search in {journal.directory}: {journal.resumed} trial(s) "
                "are done"
            )
        _search(strategy, journal, audience)
        return _conclude(strategy, journal)


def _strategy(config: BenchmarkConfig) -> Strategy:
    if config.max_query_count is not None:
        raise RequestError(
            "would cut the tests of a search short.",
            flag="max_query_count",
            value=config.max_query_count,
            remedy="Leave it out; --loadgen_duration_sec sets how long the last tests are.",
        )
    return LayoutSearch(config) if config.scenario in LAYOUT_SCENARIOS else LoadSearch(config)


def _search(strategy: Strategy, journal: Journal, audience: Audience) -> None:
    audience.table(strategy.columns, strategy.cells(journal.runs))
    while (attempt := strategy.next(journal)) is not None:
        directory, result = journal.place(_TRIALS)
        try:
            if result is None:
                quiet = OnlyProgress(audience, notes=not journal.runs)
                result = run(attempt.config, quiet, directory)
        except InterruptedRunError:
            raise
        except LoadgenGenericError as error:
            if not attempt.may_fail:
                raise
            journal.add_failed(strategy.failed(attempt, error), directory)
        else:
            if "fixed" not in journal.content:
                journal.content["fixed"] = strategy.fix(result)
            journal.add(strategy.judge(result, attempt.full), result)
        audience.table(strategy.columns, strategy.cells(journal.runs))


def _conclude(strategy: Strategy, journal: Journal) -> tuple[Result, dict[str, Any]]:
    """Write the answer and the result that stands for it."""
    found = strategy.answer(journal)
    result = read_result(journal.directory / found.run["directory"])
    answer = Search(
        trials=len(journal.runs),
        sentence=found.sentence,
        command=found.command,
        file=str(journal.path),
        **found.search,
    )
    result = result.model_copy(
        update={
            "output_dir": str(journal.directory),
            "doubts": [*result.doubts, *_disturbed(journal, found.better)],
            "search": answer,
            **found.changes,
        }
    )
    write_json(result.path, result.model_dump())
    journal.finish(answer=answer.model_dump())
    return result, journal.content


def _disturbed(journal: Journal, better: str) -> list[str]:
    count, every = sum(bool(each["doubts"]) for each in journal.runs), len(journal.runs)
    told = f"the machine was disturbed in {count} of {every} trials, so {better}"
    return [told] if count else []
