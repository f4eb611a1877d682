"""Carries a search out: trial after trial as its strategy says, until it has an answer.

The trials are ordinary runs, each in a directory of its own under ``trials``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loadgen_generic.campaigns.audience import Audience, OnlyProgress
from loadgen_generic.campaigns.journal import Journal, open_journal
from loadgen_generic.campaigns.keeping import kept
from loadgen_generic.campaigns.spreading.stage import (
    Stage,
    nodes_in_words,
    stage_for,
    with_nodes,
)
from loadgen_generic.campaigns.strategy import Attempt, Foreseeing, Strategy
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RequestError
from loadgen_generic.results.result import Result, read_result, write_json
from loadgen_generic.supervisor import interruptible, requested, run_name

__all__ = ["check_searchable", "search"]

_TRIALS = "trials"


def check_searchable(config: BenchmarkConfig) -> None:
    """Refuse what no search can do with.

    Raises:
        RequestError: naming the option.
    """
    if config.max_query_count is not None:
        raise RequestError(
            "would cut the tests of a search short.",
            flag="max_query_count",
            value=config.max_query_count,
            remedy="Leave it out; --loadgen_duration_sec sets how long the last tests are.",
        )


def search(
    config: BenchmarkConfig, audience: Audience, strategy: Strategy, file: str, suffix: str
) -> tuple[Result, dict[str, Any]]:
    """Search, or go on with the search that was interrupted in the same directory.

    Args:
        file: name of the journal.
        suffix: of a directory that the user did not name.

    Returns:
        The result that stands for the answer, and what the journal holds.

    Raises:
        RequestError: the directory holds another search.
        RunError: a trial failed.
        InterruptedRunError: SIGTERM or Ctrl-C; the finished trials are kept.
    """
    name = f"{run_name(config)}-{suffix}"
    with (
        interruptible(),
        open_journal(file, "search", config.output_dir, name, requested(config)) as journal,
        kept(journal, config, "trial"),
    ):
        if journal.resumed:
            audience.note(
                f"going on with the search in {journal.directory}: {journal.resumed} trial(s) "
                "are done"
            )
        _show(config, strategy, journal, audience)
        at_once = isinstance(strategy, Foreseeing)
        with stage_for(config, journal, audience, at_once) as stage:
            _try_all(config, strategy, journal, audience, stage)
        return _conclude(strategy, journal)


def _try_all(
    config: BenchmarkConfig,
    strategy: Strategy,
    journal: Journal,
    audience: Audience,
    stage: Stage,
) -> None:
    begun = time.monotonic()
    while wanted := _wanted(config, strategy, journal, stage.width):
        attempt = wanted[0]
        directory, result = journal.place(_TRIALS)
        try:
            if result is None:
                # A look at answers has a layout of its own, which says nothing of the others.
                quiet = OnlyProgress(audience, notes=not journal.runs and not attempt.about)
                attempt, result = stage.run(wanted, directory, quiet)
            elif "node" in result.host:
                attempt = _attempt_of(result, wanted)
        except InterruptedRunError:
            raise
        except LoadgenGenericError as error:
            if not attempt.may_fail:
                raise
            journal.add_failed(strategy.failed(attempt, error) | _took(begun), directory)
        else:
            if "fixed" not in journal.content:
                journal.content["fixed"] = strategy.fix(result)
            told = strategy.judge(result, attempt)
            journal.add(told | _took(begun), result, told.get("family", ""))
        begun = time.monotonic()
        strategy.keep(journal)
        _show(config, strategy, journal, audience)


def _wanted(
    config: BenchmarkConfig, strategy: Strategy, journal: Journal, width: int
) -> list[Attempt]:
    """The next trial, and others to try at once with it; empty when the search is over."""
    if config.trials_on == "ray" and isinstance(strategy, Foreseeing):
        return strategy.foreseen(journal, width)
    attempt = strategy.next(journal)
    return [] if attempt is None else [attempt]


def _attempt_of(result: Result, wanted: Sequence[Attempt]) -> Attempt:
    """Which of those that ran at once had finished when the command ended."""
    asked = result.config.requested
    for attempt in wanted:
        if json.loads(json.dumps(requested(attempt.config))) == asked:
            return attempt
    # One that led nowhere; it is not to settle the answer.
    return replace(wanted[0], full=False)


def _show(
    config: BenchmarkConfig, strategy: Strategy, journal: Journal, audience: Audience
) -> None:
    runs = journal.runs
    audience.table(*with_nodes(config, strategy.columns, strategy.cells(runs), runs))


def _took(begun: float) -> dict[str, float]:
    """What a trial cost, with all that led to it, in s."""
    return {"took_s": round(time.monotonic() - begun, 3)}


def _conclude(strategy: Strategy, journal: Journal) -> tuple[Result, dict[str, Any]]:
    """Write the answer and the result that stands for it."""
    found = strategy.answer(journal)
    result = read_result(journal.directory / found.run["directory"])
    result = result.model_copy(
        update={
            "output_dir": str(journal.directory),
            "doubts": [*result.doubts, *_disturbed(journal, found.better)],
            "notes": [*result.notes, *nodes_in_words(journal.runs)],
            **found.changes,
        }
    )
    write_json(result.path, result.model_dump())
    journal.finish(answer=found.document)
    return result, journal.content


def _disturbed(journal: Journal, better: str) -> list[str]:
    count, every = sum(bool(each["doubts"]) for each in journal.runs), len(journal.runs)
    told = f"the machine was disturbed in {count} of {every} trials, so {better}"
    return [told] if count else []
