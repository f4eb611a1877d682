"""The directory tree of a submission, as the checker walks it.

::

    open/SUBMITTER/
      model_mapping.json                   which benchmark the model stands for
      systems/SYSTEM.json
      src/README.md
      results/SYSTEM/MODEL/SCENARIO/
        README.md  user.conf  measurements.json
        performance/run_1/                 LoadGen's summary and detail log
        accuracy/                          the same, the accuracy log cut, accuracy.txt
        TEST01/  TEST04/                   where the audit runs were made

The whole is written aside and renamed, so that there is a whole submission or none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.campaigns.compliance.checks import check_test01, check_test04
from loadgen_generic.campaigns.compliance.verification import keep_verification
from loadgen_generic.campaigns.submission.accuracy import headline, keep_truncated
from loadgen_generic.campaigns.submission.benchmarks import Benchmark
from loadgen_generic.campaigns.submission.gather import OneRun, Runs
from loadgen_generic.campaigns.submission.texts import (
    measurements,
    scenario_readme,
    source_readme,
    user_conf,
)
from loadgen_generic.errors import RequestError
from loadgen_generic.results.result import write_json, write_text

__all__ = ["Names", "check_free", "write_tree"]


@dataclass(frozen=True, slots=True)
class Names:
    """What the directories are called."""

    submitter: str
    system: str
    model: str


def check_free(output_dir: Path) -> None:
    """Raises:
    RequestError: something is there already.
    """
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise RequestError(
            "there is something already.",
            flag="output_dir",
            value=output_dir,
            remedy="Name a directory that is empty or does not exist.",
        )


def write_tree(
    output_dir: Path,
    names: Names,
    scenarios: Mapping[str, Runs],
    benchmark: Benchmark,
    system: Mapping[str, str],
    stated: Mapping[str, str],
) -> None:
    """Write the submission.

    Args:
        system: the description of the system.
        stated: what the submitter states of the model, over what the runs tell.

    Raises:
        RequestError: something is there already, or it cannot be written to.
    """
    with _aside(output_dir) as root:
        base = root / "open" / names.submitter
        for part in ("systems", "src"):
            (base / part).mkdir(parents=True)
        write_json(base / "systems" / f"{names.system}.json", dict(system))
        some = next(iter(scenarios.values())).only("performance").result
        write_text(base / "src" / "README.md", source_readme(some))
        if names.model != benchmark.name:
            write_json(base / "model_mapping.json", {names.model: benchmark.name})
        for scenario, runs in scenarios.items():
            directory = base / "results" / names.system / names.model / scenario
            _write_scenario(directory, runs, benchmark, stated)


def _write_scenario(
    directory: Path, runs: Runs, benchmark: Benchmark, stated: Mapping[str, str]
) -> None:
    performance, accuracy = runs.only("performance"), runs.only("accuracy")
    _copy(performance, directory / "performance" / "run_1")
    _copy(accuracy, directory / "accuracy")
    text = headline(accuracy.result)
    keep_truncated(accuracy.file("accuracy"), directory / "accuracy", text)
    for audit in runs.all("TEST01"):
        found = check_test01(performance.directory, accuracy.directory, audit.directory)
        keep_verification(audit.directory, directory / "TEST01", found)
        keep_truncated(audit.file("accuracy"), directory / "TEST01" / "accuracy", found[0].sentence)
    for audit in runs.all("TEST04"):
        passed = check_test04(performance.directory, audit.directory)
        keep_verification(audit.directory, directory / "TEST04", passed)
    write_json(directory / "measurements.json", measurements(performance.result, stated))
    write_text(directory / "user.conf", user_conf(performance, benchmark))
    write_text(directory / "README.md", scenario_readme(runs, benchmark, text))


def _copy(run: OneRun, directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in ("summary", "detail"):
        shutil.copyfile(run.file(name), directory / run.file(name).name)


@contextmanager
def _aside(output_dir: Path) -> Iterator[Path]:
    check_free(output_dir)
    aside = output_dir.with_name(f".{output_dir.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        if output_dir.exists():
            output_dir.rmdir()
        aside.rename(output_dir)
    except OSError as error:
        raise RequestError(
            f"cannot write there: {error.strerror or error}.",
            flag="output_dir",
            value=output_dir,
            remedy="Choose a directory that you may write to.",
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
