"""The command ``tune``, as a user types it, and what it answered."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ours
from lab import Lab, Measured, UnavailableError, busy_core, last_line
from table import Record
from tune_cases import FIGURES, TuneCase

__all__ = ["Tuned", "search"]

# Beyond the budget, for the end of a trial and the tests that confirm the answer.
_OVERTIME = 2.0


@dataclass(frozen=True)
class Tuned:
    """One search.

    Attributes:
        answer: the record of ``results/tuning.py``.
        doubts: what the result says against its own figures.
        seconds: from the start of the command to its end.
        config: the winner, for ``run --config``.
    """

    answer: Mapping[str, Any]
    doubts: list[str]
    budget_sec: float
    seconds: float
    command: str
    config: Path

    @property
    def winner(self) -> Mapping[str, Any]:
        number = self.answer["winner"]
        found: Mapping[str, Any] = next(
            each for each in self.answer["candidates"] if each["number"] == number
        )
        return found

    @property
    def refused(self) -> set[str]:
        """Families whose answers are wrong, as the grid calls its own."""
        return {
            each["family"].replace(" ", "-")
            for each in self.answer["candidates"]
            if each["stage"] == "refused"
        }

    @property
    def warnings(self) -> int:
        """Of a disturbed machine: trials that were, and doubts."""
        return int(self.answer["disturbed"]) + len(self.doubts)

    def confirmed(self, case: TuneCase) -> Record:
        """The winner's figure as the search itself confirmed it."""
        value = self.winner["value"]
        if value is None:
            return Record(unavailable="the search timed nothing")
        found = Measured({FIGURES[case.scenario][0]: value}, self.answer["command"])
        return Record([found])

    def as_json(self) -> dict[str, Any]:
        """With the winner's options."""
        options = json.loads(self.config.read_text(encoding="utf-8"))
        return {**asdict(self), "config": options}


def search(lab: Lab, case: TuneCase, budget_sec: float, *, busy: bool = False) -> Tuned:
    """One search in a new directory below the lab's, which stays: the winner's file is there.

    Args:
        busy: keep one core busy elsewhere meanwhile.

    Raises:
        UnavailableError: the command failed, or did not end.
    """
    flags: dict[str, object] = {"scenario": case.scenario, **case.flags()}
    if case.tolerance:
        flags["tolerance"] = case.tolerance
    flags |= {"loadgen_duration_sec": lab.seconds, "budget": f"{budget_sec:.0f}s"}
    command = [ours.PROGRAM, "tune", lab.model(case.model), *ours.words_of(flags)]
    command += ["--json", "--quiet"]
    kept = lab.work / "tuned"
    kept.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=kept, prefix=f"{case.name.replace('/', '-')}-")) / "out"
    with busy_core() if busy else nullcontext():
        begin = time.monotonic()
        patience = _OVERTIME * budget_sec + lab.patience
        done = lab.run([*command, "--output_dir", directory], patience=patience)
        seconds = time.monotonic() - begin
    if done.code:
        raise UnavailableError(last_line(done).removeprefix("loadgen-generic: error: "))
    answer = json.loads(done.stdout)["answer"]
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    config = directory / answer["config_file"]
    return Tuned(answer, result["doubts"], budget_sec, seconds, lab.show(command), config)
