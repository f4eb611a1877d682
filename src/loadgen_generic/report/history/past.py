"""One run as its files tell of it, whatever became of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import ValidationError

from loadgen_generic.child import HARNESS_LOG
from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.record import Record
from loadgen_generic.results.result import RESULT_FILE, SCHEMA_VERSION, Result
from loadgen_generic.supervisor import ERROR_FILE

__all__ = ["CLAIMS", "Alive", "Past", "State", "moment", "read_past"]

State = Literal["finished", "running", "failed", "interrupted", "damaged"]

_REQUEST = "request.json"
CLAIMS = (_REQUEST, RESULT_FILE)
_JOURNALS = ("repeat.json", "search.json", "tune.json", "compliance.json")
_NEXT_RUN = "run-"
_INTERRUPTED_CODE = 130


class Past(Record):
    """One run or campaign.

    Attributes:
        directory: as it was found below the one that was asked for.
        date: when it began, in ISO 8601; if it left no result, when its request was written.
        why: what is to be said of the state; empty if it finished.
        metric: what the value is; empty without one.
        spread: (largest - smallest) / median of repeated runs; null for others.
        tests: how many are behind the value.
        valid: null where that is not known, and in accuracy runs.
        computed_on: such as ``CUDA tf32``; empty for the CPU provider at the model's own
            precision, and where that is not known.
    """

    directory: str
    date: str
    state: State
    why: str = ""
    model: str = ""
    scenario: str = ""
    metric: str = ""
    value: float | None = None
    unit: str = ""
    spread: float | None = None
    tests: int = 0
    valid: bool | None = None
    host: str = ""
    computed_on: str = ""


class Alive:
    """Which runs are at work on this machine, found out once it matters."""

    def __contains__(self, directory: Path) -> bool:
        """Whether a test of a run or a campaign is, not one of another run inside it."""
        for log in self._logs:
            try:
                inside = log.relative_to(os.path.abspath(directory)).parts
            except ValueError:
                continue
            if not inside[0].startswith(_NEXT_RUN):
                return True
        return False

    @cached_property
    def _logs(self) -> set[Path]:
        """What measured processes write their messages to."""
        found = set()
        for process in psutil.process_iter(["name"]):
            if "python" not in (process.info["name"] or "").lower():
                continue
            try:
                files = process.open_files()
            except psutil.Error:  # it ended, or is someone else's
                continue
            found |= {Path(each.path) for each in files if Path(each.path).name == HARNESS_LOG}
        return found


def read_past(directory: Path, names: set[str], alive: Alive) -> Past:
    """What the files in a directory tell; ``names`` are those that are there."""
    if RESULT_FILE in names:
        return _with_result(directory)
    asked = _read(directory / _REQUEST) or {}
    journal = next((_read(directory / name) for name in _JOURNALS if name in names), None) or {}
    state, why = _end_of(directory, names, journal, alive)
    runs = journal.get("runs")
    return Past(
        directory=str(directory),
        date=_written(directory / _REQUEST),
        state=state,
        why=why,
        model=_model_asked(asked),
        scenario=str(asked.get("scenario", "Offline")) if asked else "",
        tests=len(runs) if isinstance(runs, list) else 0,
        valid=bool(journal["passed"]) if "passed" in journal else None,
    )


def moment(date: str) -> float:
    """Seconds since 1970; 0 for a date that cannot be read. Without a zone it is local time."""
    # Before Python 3.11, fromisoformat knows only +01:00.
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(date, form).timestamp()
        except ValueError:
            continue
    return 0.0


def _end_of(
    directory: Path, names: set[str], journal: Mapping[str, Any], alive: Alive
) -> tuple[State, str]:
    """How a run came to have no result."""
    if journal.get("state") == "finished":  # of compliance runs, which have no metric
        return "finished", "passed" if journal.get("passed") else "did not pass"
    if ERROR_FILE in names:
        error = _read(directory / ERROR_FILE)
        if error is None:
            return "failed", f"its {ERROR_FILE} is damaged"
        stopped = error.get("exit_code") == _INTERRUPTED_CODE
        return "interrupted" if stopped else "failed", str(error.get("error", ""))
    if directory in alive:
        return "running", ""
    return "interrupted", "it ended without a word, as when it is killed"


def _with_result(directory: Path) -> Past:
    file = directory / RESULT_FILE
    content = _read(file)
    if content is None:
        why = f"{RESULT_FILE} is not one JSON object"
    elif content.get("schema_version") != SCHEMA_VERSION:
        version = content.get("schema_version")
        why = f"{RESULT_FILE} has schema_version {version}; this package reads {SCHEMA_VERSION}"
    else:
        try:
            return _of_result(directory, Result.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            why = f"{RESULT_FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return Past(directory=str(directory), date=_written(file), state="damaged", why=why)


def _of_result(directory: Path, result: Result) -> Past:
    repeat, search, tuning = result.repeat, result.search, result.tuning
    headline = HEADLINES.get(result.scenario)
    same = headline is not None and headline.key == result.metric.name
    label = headline.label if headline and same else result.metric.name.replace("_", " ")
    value, unit, tests = result.metric.value, result.metric.unit, 1
    if repeat is not None:
        value, tests = repeat.median, repeat.runs
    if search is not None:
        tests = search.trials
        if search.highest_valid is not None:
            label, value, unit = "highest load", search.highest_valid, search.unit
    if tuning is not None:
        tests = tuning.trials
        if tuning.bounds_a_load and tuning.reached is not None:
            label, value, unit = "highest load", tuning.reached, tuning.unit
    return Past(
        directory=str(directory),
        date=result.started_at,
        state="finished",
        model=Path(result.model.path).name or str(result.config.effective.get("backend", "")),
        scenario=result.scenario,
        metric=label,
        value=value,
        unit=unit,
        spread=repeat.spread if repeat is not None else None,
        tests=tests,
        valid=result.valid,
        host=str(result.host.get("name", "")),
        computed_on=computation_of(result.config.requested, result.config.effective).short(),
    )


def _model_asked(asked: Mapping[str, Any]) -> str:
    path = asked.get("model_path")
    return Path(str(path)).name if path else str(asked.get("model") or asked.get("backend") or "")


def _written(file: Path) -> str:
    try:
        seconds = file.stat().st_mtime
    except OSError:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _read(file: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
