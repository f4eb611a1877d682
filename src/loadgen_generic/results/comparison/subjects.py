"""What is compared: a result, and the runs behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.errors import RequestError
from loadgen_generic.results.comparison.records import Measure
from loadgen_generic.results.computation import Computation, computation_of
from loadgen_generic.results.detail_log import ACCURACY_MODE, HEADLINES
from loadgen_generic.results.result import Result, read_result

__all__ = ["PERCENTILES", "Subject", "read_subject"]

PERCENTILES = ("p50", "p90", "p99")
_REPEAT_FILE = "repeat.json"


@dataclass(frozen=True, slots=True)
class Subject:
    """A result and its runs.

    Attributes:
        path: as the user gave it.
        result: that stands for the runs.
        runs: all of them; the result alone if it is of one run, or if the others are not there.
        runs_missing: why the runs of a repeated test are not there; empty if they are.
    """

    path: str
    result: Result
    runs: Sequence[Result]
    runs_missing: str = ""

    @property
    def model(self) -> str:
        effective = self.result.config.effective
        if self.result.model.path:
            return Path(self.result.model.path).name
        return f"the {effective.get('backend', '')} backend"

    @property
    def computation(self) -> Computation:
        return computation_of(self.result.config.requested, self.result.config.effective)

    @property
    def measure(self) -> Measure:
        """What decides whether it is fast."""
        load = self._highest_load()
        if load is not None:
            return Measure(
                name="highest load within the bound", unit=load[1], higher_is_better=True
            )
        if self.result.scenario == "Server":
            return Measure(name=f"latency {self._percentile()}", unit="ns", higher_is_better=False)
        headline = HEADLINES[self.result.scenario]
        return Measure(
            name=headline.label, unit=headline.unit, higher_is_better=headline.higher_is_better
        )

    @property
    def values(self) -> list[float]:
        """Of the measure, one for each run; without those that measured nothing."""
        load, repeat = self._highest_load(), self.result.repeat
        if load is not None:
            found = [load[0]]
        elif self.result.scenario == "Server":
            found = self.latencies(self._percentile())
        else:
            found = repeat.values if repeat is not None else [self.result.metric.value]
        return [value for value in found if value > 0]

    def latencies(self, percentile: str) -> list[float]:
        """One for each run, in ns; empty if a run does not have it."""
        found = [run.latency_ns.get(percentile, 0) for run in self.runs]
        return [float(value) for value in found] if all(found) else []

    def _highest_load(self) -> tuple[float, str] | None:
        """Value, 0 if none passed, and unit, where the highest load was searched for."""
        search, tuning = self.result.search, self.result.tuning
        if search is not None and search.layout is None:
            return search.highest_valid or 0.0, search.unit
        if tuning is not None and tuning.bounds_a_load:
            return tuning.reached or 0.0, tuning.unit
        return None

    def _percentile(self) -> str:
        """LoadGen bounds it in Server."""
        share = self.result.config.effective.get("target_latency_percentile") or 99
        return f"p{float(share):g}"


def read_subject(path: Path) -> Subject:
    """Read a ``result.json``, or the one in the directory of a run or a campaign.

    Raises:
        RequestError: it is missing or damaged, or of a test that measures no speed.
    """
    result = read_result(path)
    if result.mode == ACCURACY_MODE:
        raise RequestError(
            f"{path} is of an accuracy run, which measures no speed.",
            remedy="Give results of runs with --mode performance.",
        )
    if result.repeat is None:
        return Subject(str(path), result, [result])
    directory = path if path.is_dir() else path.parent
    try:
        runs = _runs(directory)
    except (RequestError, OSError, ValueError, KeyError, TypeError) as error:
        return Subject(str(path), result, [result], f"{error}".rstrip("."))
    if len(runs) != result.repeat.runs:
        missing = f"{directory / _REPEAT_FILE} names {len(runs)} of {result.repeat.runs} runs"
        return Subject(str(path), result, [result], missing)
    return Subject(str(path), result, runs)


def _runs(directory: Path) -> list[Result]:
    """The results that the journal of a repetition names."""
    journal = json.loads((directory / _REPEAT_FILE).read_text(encoding="utf-8"))
    return [read_result(directory / run["directory"]) for run in journal["runs"]]
