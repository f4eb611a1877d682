"""The peak: the highest load that stays VALID under the latency bound.

In Server the load is the rate of queries, in MultiStream the samples in each query. The trials
are ordinary runs, each in a directory of its own under ``trials``; the journal is
``search.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen_generic.campaigns.audience import Audience, OnlyProgress
from loadgen_generic.campaigns.bisection import Step, Trial, next_step, settled
from loadgen_generic.campaigns.journal import Journal, open_journal
from loadgen_generic.campaigns.keeping import kept
from loadgen_generic.campaigns.questions import Question, question_of
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.build import command_line
from loadgen_generic.results.result import Result, Search, read_result, write_json
from loadgen_generic.results.verdict import format_value
from loadgen_generic.supervisor import (
    check_request,
    interruptible,
    requested,
    run,
    run_name,
)

__all__ = ["SEARCH_FILE", "find_peak"]

SEARCH_FILE = "search.json"
_TRIALS = "trials"
_COLUMNS = ("trial", "load", "length", "percentile", "result")


def find_peak(config: BenchmarkConfig, audience: Audience) -> tuple[Result, dict[str, Any]]:
    """Search, or go on with the search that was interrupted in the same directory.

    Returns:
        The result of the best load, or of the last one tried if none can be borne; and what
        ``search.json`` holds.

    Raises:
        RequestError: not a question that has a peak, or the directory holds another search.
        RunError: a trial failed.
        InterruptedRunError: SIGTERM or Ctrl-C; the finished trials are kept.
    """
    question = question_of(config)
    check_request(question.trial(Step(question.first_load(), full=False), {}))
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
        _search(question, journal, audience)
        return _conclude(question, config, journal)


def _search(question: Question, journal: Journal, audience: Audience) -> None:
    audience.table(_COLUMNS, [_cells(each, question) for each in journal.runs])
    while (step := _next(question, journal)) is not None:
        fixed = journal.content.get("fixed", {})
        config = question.trial(step, fixed)
        directory, result = journal.place(_TRIALS)
        if result is None:
            result = run(config, OnlyProgress(audience, notes=not journal.runs), directory)
        if "fixed" not in journal.content:
            journal.content["fixed"] = question.fix(result)
        journal.add(question.judge(result, step), result)
        audience.table(_COLUMNS, [_cells(each, question) for each in journal.runs])


def _next(question: Question, journal: Journal) -> Step | None:
    if not journal.runs:
        return Step(question.first_load(), full=False)
    return next_step(_trials(journal), question.round_load, question.least)


def _trials(journal: Journal) -> list[Trial]:
    return [
        Trial(
            each["load"],
            each["full"],
            each["passed"],
            each["sustained"],
            each["hopeless"],
            bool(each["doubts"]),
        )
        for each in journal.runs
    ]


def _conclude(
    question: Question, config: BenchmarkConfig, journal: Journal
) -> tuple[Result, dict[str, Any]]:
    """Write the answer and the result that stands for it."""
    bracket = settled(_trials(journal))
    best = next(
        (e for e in journal.runs if e["full"] and e["passed"] and e["load"] == bracket.low), None
    )
    chosen = best or journal.runs[-1]
    result = read_result(journal.directory / chosen["directory"])
    winner = requested(question.trial(Step(chosen["load"], full=True), journal.content["fixed"]))
    command = command_line(winner, {"output_dir": ""}) if best else ""
    sentence = _sentence(question, journal, bracket.low, bracket.high)
    answer = Search(
        option=question.flag,
        unit=question.unit,
        highest_valid=bracket.low,
        lowest_invalid=bracket.high,
        trials=len(journal.runs),
        sentence=sentence,
        command=command,
        file=str(journal.path),
    )
    result = result.model_copy(
        update={
            "output_dir": str(journal.directory),
            "valid": best is not None,
            "invalid_reasons": [] if best else [sentence],
            "verdict": result.verdict if best else f"INVALID: {sentence}",
            "next_command": "" if best else question.easier(result),
            "doubts": [*result.doubts, *_disturbed(journal)],
            "search": answer,
        }
    )
    write_json(result.path, result.model_dump())
    journal.finish(answer=answer.model_dump())
    return result, journal.content


def _disturbed(journal: Journal) -> list[str]:
    count, every = sum(bool(each["doubts"]) for each in journal.runs), len(journal.runs)
    told = f"the machine was disturbed in {count} of {every} trials, so the peak may be higher"
    return [told] if count else []


def _sentence(question: Question, journal: Journal, low: float | None, high: float | None) -> str:
    count = len(journal.runs)
    bound = question.bound_in_words(journal.content["fixed"])
    if low is None:
        last = journal.runs[-1]
        tried = f"{min(each['load'] for each in journal.runs):.4g} {question.unit}"
        return (
            f"no load stays within {bound}: the least of {count} tried was {tried}, and "
            f"{last['why']}."
        )
    text = f"{low:.12g} {question.unit} is the highest load found that stays within {bound}"
    text += f"; {high:.12g} does not" if high is not None else "; how much more would is not known"
    return f"{text} ({count} trials)."


def _cells(run: Mapping[str, Any], question: Question) -> tuple[str, ...]:
    latency = format_value(run["percentile_ns"], "ns") if run["percentile_ns"] else "-"
    return (
        str(run["number"]),
        f"{run['load']:.4g} {question.unit}",
        "full" if run["full"] else "short",
        latency,
        "passed" if run["passed"] else f"failed: {run['why']}",
    )
