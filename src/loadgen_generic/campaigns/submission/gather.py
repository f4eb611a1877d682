"""The runs that a submission is made of, found and told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadgen_generic.errors import RequestError
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.detail_log import ACCURACY_MODE, DetailLog, read_detail_log
from loadgen_generic.results.result import RESULT_FILE, Result, read_result

__all__ = ["KINDS", "OneRun", "Runs", "gather"]

KINDS = ("performance", "accuracy", "TEST01", "TEST04")


@dataclass(frozen=True, slots=True)
class OneRun:
    """One finished run. Its directory is where it was found, whatever its result says."""

    directory: Path
    result: Result
    log: DetailLog

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`, or ``other``."""
        if self.log.mode == ACCURACY_MODE:
            return "accuracy"
        if self.log.values.get("effective_performance_issue_same"):
            return "TEST04"
        if self.log.values.get("effective_accuracy_log_sampling_target"):
            return "TEST01"
        audited = self.result.config.effective.get("audit") is not None
        return "other" if audited else "performance"

    def file(self, log: str) -> Path:
        return self.directory / LOADGEN_LOGS[log]


@dataclass(slots=True)
class Runs:
    """All runs of one scenario, by kind, in the order in which they were found."""

    scenario: str
    of_kind: dict[str, list[OneRun]] = field(default_factory=dict)

    def all(self, kind: str) -> Sequence[OneRun]:
        return self.of_kind.get(kind, [])

    def only(self, kind: str) -> OneRun:
        (found,) = self.of_kind[kind]
        return found

    def every(self) -> list[OneRun]:
        return [run for kind in KINDS for run in self.all(kind)]


def gather(directories: Iterable[Path]) -> dict[str, Runs]:
    """The finished runs in these directories and below, by scenario.

    Raises:
        RequestError: no such directory, none in one, or a result that cannot be read.
        RunError: a log of LoadGen's is damaged.
    """
    found: dict[str, Runs] = {}
    seen: set[Path] = set()
    for directory in directories:
        if not directory.is_dir():
            raise RequestError("there is no such directory.", flag="runs", value=directory)
        results = sorted(directory.rglob(RESULT_FILE))
        # A campaign's own result stands for its runs, whose logs lie below.
        runs = [each.parent for each in results if (each.parent / LOADGEN_LOGS["detail"]).is_file()]
        if not runs:
            raise RequestError(
                "there is no finished run in it.",
                flag="runs",
                value=directory,
                remedy="Make the runs with: loadgen-generic compliance MODEL --official.",
            )
        for path in runs:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            run = OneRun(path, read_result(path), read_detail_log(path / LOADGEN_LOGS["detail"]))
            here = found.setdefault(run.result.scenario, Runs(run.result.scenario))
            here.of_kind.setdefault(run.kind, []).append(run)
    return found
