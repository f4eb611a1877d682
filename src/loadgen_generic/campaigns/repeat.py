"""The same test several times, each in a process of its own: how sure the number is.

The runs are ordinary ones, each in a directory of its own under ``runs``; the journal is
``repeat.json``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from loadgen_generic.campaigns.audience import Audience, OnlyProgress
from loadgen_generic.campaigns.fixing import one_run, same_test
from loadgen_generic.campaigns.journal import Journal, entry_of, open_journal
from loadgen_generic.campaigns.keeping import kept
from loadgen_generic.campaigns.spreading.stage import nodes_in_words, stage_for, with_nodes
from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.bootstrap import CONFIDENCE, median_interval, spread
from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.doubts import doubts_of_runs
from loadgen_generic.results.result import Repetition, Result, read_result, write_json
from loadgen_generic.supervisor import check_request, interruptible, requested, run_name
from loadgen_generic.wording import format_measured

__all__ = ["REPEAT_FILE", "repeat"]

REPEAT_FILE = "repeat.json"
_RUNS = "runs"
_COLUMNS = ("run", "value", "length", "result")


def repeat(config: BenchmarkConfig, audience: Audience) -> Result:
    """Run a test ``config.repeat`` times, or go on with what was interrupted.

    Returns:
        The median run's result (of an even number, the smaller of the two), VALID if all are.

    Raises:
        RequestError, RunError, InterruptedRunError: as a run does; the finished runs are kept.
    """
    check_request(BenchmarkConfig.model_validate(one_run(config)))
    with (
        interruptible(),
        open_journal(
            REPEAT_FILE,
            "repetition",
            config.output_dir,
            f"{run_name(config)}-repeat",
            requested(config),
        ) as journal,
        kept(journal, config, "run"),
    ):
        if journal.resumed:
            audience.note(
                f"going on in {journal.directory}: {journal.resumed} of {config.repeat} runs "
                "are done"
            )
        _show(config, journal, audience)
        with stage_for(config, journal, audience) as stage:
            while (left := config.repeat - len(journal.runs)) > 0:
                directory, result = journal.place(_RUNS)
                if result is None:
                    quiet = OnlyProgress(audience, notes=not journal.runs)
                    # The first one says what test it is.
                    count = min(left, stage.width) if "fixed" in journal.content else 1
                    _, result = stage.run([_next(config, journal)] * count, directory, quiet)
                journal.content.setdefault("fixed", same_test(result))
                journal.add(_entry(result), result)
                _show(config, journal, audience)
        return _conclude(config, journal)


def _next(config: BenchmarkConfig, journal: Journal) -> Attempt:
    options = {**one_run(config), **journal.content.get("fixed", {})}
    return Attempt(BenchmarkConfig.model_validate(options), full=True)


def _show(config: BenchmarkConfig, journal: Journal, audience: Audience) -> None:
    rows = [_cells(each) for each in journal.runs]
    audience.table(*with_nodes(config, _COLUMNS, rows, journal.runs))


def _conclude(config: BenchmarkConfig, journal: Journal) -> Result:
    results = [read_result(journal.directory / each["directory"]) for each in journal.runs]
    values = [result.metric.value for result in results]
    found = Repetition(
        runs=len(values),
        values=values,
        median=statistics.median(values),
        spread=spread(values),
        confidence=CONFIDENCE,
        interval=median_interval(values),
        file=str(journal.path),
    )
    middle = results[values.index(statistics.median_low(values))]
    failed = [(n, r) for n, r in enumerate(results, 1) if not r.valid]
    reasons = [
        f"run {number} of {len(results)}: {reason}"
        for number, result in failed
        for reason in result.invalid_reasons
    ]
    next_command = failed[0][1].next_command if failed else ""
    result = middle.model_copy(
        update={
            "output_dir": str(journal.directory),
            "valid": not failed,
            "invalid_reasons": reasons,
            "verdict": _sentence(middle, found, reasons),
            "next_command": next_command and f"{next_command} {_many(config)}",
            "notes": [*middle.notes, *nodes_in_words(journal.runs)],
            "config": middle.config.model_copy(
                update={
                    "requested": requested(config),
                    "effective": {**middle.config.effective, "repeat": config.repeat},
                }
            ),
            "doubts": doubts_of_runs(
                found.spread, found.runs, [(r.doubts, r.conditions) for r in results]
            ),
            "repeat": found,
            "verification": next(
                (r.verification for r in results if r.verification and not r.verification.passed),
                middle.verification,
            ),
        }
    )
    write_json(result.path, result.model_dump())
    journal.finish(repeat=found.model_dump(), doubts=result.doubts)
    return result


def _many(config: BenchmarkConfig) -> str:
    """The options of the campaign, which its single runs do not have."""
    words = f"--repeat {config.repeat}"
    if config.trials_on == "ray":
        words += " --trials_on ray"
        words += f" --ray_address {config.ray_address}" if config.ray_address else ""
    return words


def _sentence(middle: Result, found: Repetition, reasons: list[str]) -> str:
    unit = middle.metric.unit
    low, high = (format_measured(value, unit, found.spread) for value in found.interval)
    computed_on = computation_of(middle.config.requested, middle.config.effective)
    beside = "" if computed_on.usual else f" ({computed_on})"
    text = (
        f"{'INVALID' if reasons else 'VALID'}: {middle.scenario} "
        f"{format_measured(found.median, unit, found.spread)}{beside}, the median of {found.runs} runs "
        f"({100 * found.confidence:g} % interval {low} to {high}, spread "
        f"{format_measured(100 * found.spread, '%', 0.1)})"
    )
    return text + (f", but {'; '.join(reasons)}." if reasons else ".")


def _entry(result: Result) -> dict[str, Any]:
    return {**entry_of(result), "doubts": result.doubts}


def _cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(run["number"]),
        format_measured(run["value"], run["unit"]),
        f"{run['duration_s']:.1f} s",
        "VALID" if run["valid"] else "INVALID",
    )
