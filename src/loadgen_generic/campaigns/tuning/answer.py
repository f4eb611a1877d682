"""What a tuning found: after each trial the best so far, and in the end the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.pasting import cm_command
from loadgen_generic.campaigns.strategy import Answer
from loadgen_generic.campaigns.tuning.candidates import candidates
from loadgen_generic.campaigns.tuning.finals import Verdict, decide
from loadgen_generic.campaigns.tuning.objective import Objective
from loadgen_generic.campaigns.tuning.runs import Runs, lasting
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Entry, Tried
from loadgen_generic.campaigns.tuning.worth import rungs, worths
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.build import command_line
from loadgen_generic.results.result import read_result, write_json
from loadgen_generic.results.tuning import Tuning
from loadgen_generic.wording import format_measured, format_value

__all__ = ["CONFIG_FILE", "answer", "columns", "keep", "rows"]

CONFIG_FILE = "tuned.json"

columns: tuple[str, ...] = ("trial", "phase", "what", "result", "outcome", "took")


def rows(runs: Sequence[Entry], objective: Objective) -> list[tuple[str, ...]]:
    """The table of trials."""
    return [
        (
            str(run["number"]),
            run["phase"],
            str(Setting.of(run["setting"])) if run.get("setting") else run["family"],
            _result(run, objective),
            _outcome(run),
            f"{run['took_s']:.0f} s",
        )
        for run in runs
    ]


def _result(run: Entry, objective: Objective) -> str:
    if run.get("load"):
        return format_value(run["load"], objective.unit)
    return format_measured(run["value"], objective.unit) if run.get("value") else "-"


def _outcome(run: Entry) -> str:
    if not run["passed"]:
        return f"{'refused' if run['phase'] == 'check' else 'failed'}: {run['why']}"
    if run["phase"] == "check":
        return "answers are right"
    return "passed" if run.get("load") else ""


def keep(story: Story, journal: Journal, runs: Runs) -> None:
    """After each trial: all that is known so far, and the options of the best."""
    best = story.best
    journal.content["candidates"] = [each.model_dump() for each in candidates(story, runs)]
    journal.content["budget_s"] = story.budget_s
    journal.content["used_s"] = round(story.used_s, 3)
    if best is not None:
        config = _config(story, runs, best)
        journal.content["best"] = {"number": best.number, "value": story.value(best)}
        write_json(journal.directory / CONFIG_FILE, lasting(config))
    journal.save()


def _config(story: Story, runs: Runs, each: Tried) -> BenchmarkConfig:
    """A test of full length of a setting; of a load, at the highest that passed."""
    threaded = story.facts(each.setting.family).threaded
    family = story.families[each.setting.family]
    config = runs.test(family, each.setting, threaded, story.bound)
    value = story.value(each)
    return config if value is None else story.objective.at(config, value)


def answer(story: Story, journal: Journal, runs: Runs) -> Answer:
    """The answer; all trials are done."""
    finalists = story.finalists
    verdict = decide(story, finalists)
    winner, default = verdict.winner, finalists[0]
    config = _config(story, runs, winner)
    kept = lasting(config)
    write_json(journal.directory / CONFIG_FILE, kept)
    disturbed = sum(bool(each["doubts"]) for each in story.runs)
    found = Tuning(
        sentence=_sentence(story, verdict, default),
        objective=story.objective.words(story.bound),
        unit=story.objective.unit,
        higher_is_better=story.objective.higher_is_better,
        winner=winner.number,
        gain=1.0 if winner is default and verdict.gain is not None else verdict.gain,
        noise=verdict.noise,
        spread=verdict.spread,
        tolerance=_tolerance(story),
        samples_verified=_verified(story),
        disturbed=disturbed,
        trials=len(story.runs),
        budget_s=story.budget_s,
        used_s=round(story.used_s, 3),
        candidates=candidates(story, runs),
        left_out=story.left_out,
        worth=worths(story, default, rungs(story, default.setting, winner.setting)),
        command=command_line(kept, {"output_dir": ""}),
        cm_command=cm_command(kept),
        config_file=str(journal.directory / CONFIG_FILE),
        file=str(journal.path),
    )
    run = _representative(story, winner)
    changes: dict[str, Any] = {"tuning": found}
    if verdict.best is None:
        why = "; ".join(dict.fromkeys(each["why"] for each in story.runs if each["full"]))
        changes |= {"valid": False, "invalid_reasons": [why], "verdict": f"INVALID: {why}"}
    verified = next((each for each in winner.of("final") if each.get("verification")), None)
    if verified is not None:
        of_answers = read_result(journal.directory / verified["directory"])
        changes["verification"] = of_answers.verification
    return Answer(run, "another setting may be as fast", changes, found.model_dump())


def _representative(story: Story, winner: Tried) -> Entry:
    """The test of full length that stands for the winner: the one nearest to its value."""
    whole = [each for each in winner.entries if not each.get("stopped")]
    full = [each for each in whole if each["phase"] == "final" and each["full"]]
    right = [each for each in full if each["passed"]] or full or whole
    value = story.value(winner) or 0.0
    key = "load" if story.objective.varies_load else "value"
    return min(right, key=lambda each: abs((each.get(key) or 0.0) - value))


def _sentence(story: Story, verdict: Verdict, default: Tried) -> str:
    winner, objective, noise = verdict.winner, story.objective, f"{100 * verdict.noise:.2g} %"
    tried = f"{len(story.tried)} settings tried"
    if verdict.best is None:
        return f"No test of full length passed ({tried})."
    value = story.value(winner, full=True)
    reached = format_measured(value, objective.unit) if value is not None else "no valid result"
    if winner is default:
        if verdict.best is default:
            return f"The default is the fastest of {tried}: {reached}."
        return (
            f"The default is as good as any of {tried}: {reached}; the fastest other was "
            f"{_percent(verdict.gain)} ahead, which is within the noise of {noise}."
        )
    words = f"{story.families[winner.setting.family].name}, {winner.setting.words()}"
    if verdict.gain is None:
        return f"{words} is the fastest of {tried}: {reached}; the default has no valid result."
    return (
        f"{words} is {verdict.gain:.3g} times as fast as the default: {reached} against "
        f"{format_measured(story.value(default, full=True) or 0.0, objective.unit)} "
        f"({tried}, noise {noise})."
    )


def _percent(gain: float | None) -> str:
    return f"{100 * ((gain or 1.0) - 1):.2g} %"


def _tolerance(story: Story) -> str:
    config = story.config
    if config.atol is not None or config.rtol is not None:
        return " and ".join(
            f"--{name} {value:g}"
            for name, value in (("atol", config.atol), ("rtol", config.rtol))
            if value is not None
        )
    words: dict[str, list[str]] = {}
    for name, check in story.checks.items():
        for output in (check.get("verification") or {}).get("outputs", []):
            words.setdefault(output["criterion"], []).append(name)
    if not words:
        return "answers were not compared"
    return "; ".join(f"{', '.join(dict.fromkeys(who))}: {what}" for what, who in words.items())


def _verified(story: Story) -> int:
    return max(
        (
            each["verification"]["samples"]
            for each in story.checks.values()
            if each.get("verification")
        ),
        default=0,
    )
