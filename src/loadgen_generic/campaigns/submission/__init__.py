"""A submission to the open division of MLPerf Inference, made from runs that are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen_generic.campaigns.submission.benchmarks import (
    BENCHMARKS,
    CHECKER_VERSION,
    benchmark_named,
)
from loadgen_generic.campaigns.submission.gate import problems, remarks
from loadgen_generic.campaigns.submission.gather import gather
from loadgen_generic.campaigns.submission.system import (
    NOT_STATED,
    STATUSES,
    SYSTEM_TYPES,
    describe_system,
    read_overrides,
)
from loadgen_generic.campaigns.submission.tree import Names, check_free, write_tree
from loadgen_generic.errors import RequestError

__all__ = ["BENCHMARKS", "STATUSES", "SYSTEM_TYPES", "Submission", "Submitted", "submit"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked for.

    Attributes:
        runs: directories with finished runs in them or below.
        output_dir: where to; empty, or not there yet.
        benchmark: the official one that the model stands for; None to take the runs'.
        model_name: the model's own; None for its file's.
        status: of the system: one of :data:`STATUSES`.
        system_type: one of :data:`SYSTEM_TYPES`.
        system_json, measurements_json: files of fields to state, over what is found.
    """

    runs: Sequence[Path]
    submitter: str
    system: str
    output_dir: Path
    benchmark: str | None = None
    model_name: str | None = None
    status: str = "available"
    system_type: str = "edge"
    system_json: Path | None = None
    measurements_json: Path | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was written, and what the submitter should know of it."""

    directory: Path
    scenarios: tuple[str, ...]
    remarks: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "scenarios": list(self.scenarios),
            "remarks": list(self.remarks),
            "checker": self.checker,
        }

    @property
    def checker(self) -> str:
        """The official checker's command line, in a checkout of mlcommons/inference."""
        return (
            "python3 -m tools.submission.submission_checker.main "
            f"--input {self.directory} --version {CHECKER_VERSION}"
        )


def submit(asked: Submission) -> Submitted:
    """Look at the runs, and write the submission if nothing keeps them from being one.

    Raises:
        RequestError: what is asked for cannot be, or the list of what is wrong with the runs.
        RunError: a log of LoadGen's is damaged.
    """
    for flag, name in (("submitter", asked.submitter), ("system", asked.system)):
        _check_name(flag, name)
    for flag, value, known in (
        ("status", asked.status, STATUSES),
        ("system_type", asked.system_type, SYSTEM_TYPES),
    ):
        if value not in known:
            raise RequestError(
                "the checker does not know this.",
                flag=flag,
                value=value,
                remedy=f"Choose one of: {'; '.join(known)}.",
            )
    check_free(asked.output_dir)
    fields = read_overrides(asked.system_json, "system_json")
    stated = read_overrides(asked.measurements_json, "measurements_json")
    scenarios = gather(asked.runs)
    some = next(run for runs in scenarios.values() for run in runs.every())
    benchmark = benchmark_named(asked.benchmark, some.result.config.effective.get("mlperf_model"))
    model = asked.model_name or re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(some.result.model.path).stem)
    _check_name("model_name", model)
    if found := problems(scenarios, benchmark):
        listed = "".join(f"\n  - {each}" for each in found)
        raise RequestError(f"these runs are no submission, and nothing was written:{listed}")
    performance = next(iter(scenarios.values())).only("performance").result
    system = describe_system(
        performance, asked.submitter, asked.system, asked.status, asked.system_type, fields
    )
    names = Names(asked.submitter, asked.system, model)
    write_tree(asked.output_dir, names, scenarios, benchmark, system, stated)
    return Submitted(asked.output_dir, tuple(scenarios), (*_unstated(system), *remarks(scenarios)))


def _check_name(flag: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "my-name"
        raise RequestError(
            "this becomes the name of a directory, of letters, digits, dots and dashes.",
            flag=flag,
            value=name,
            remedy=f"Such as {better}.",
        )


def _unstated(system: dict[str, str]) -> tuple[str, ...]:
    missing = sorted(key for key, value in system.items() if value == NOT_STATED)
    if not missing:
        return ()
    return (
        (
            f"the machine does not tell {', '.join(missing)}: state them in a JSON file, "
            "--system_json FILE"
        ),
    )
