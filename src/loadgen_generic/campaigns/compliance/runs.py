"""The runs that MLPerf's compliance tests compare, one after the other.

First performance and accuracy, then the audit runs TEST01 (some answers of a performance run
are logged: they have to be those of the accuracy run) and TEST04 (the same sample over and over:
it must not be faster). Each is an ordinary run in a directory of its own, where the
verification scripts of MLCommons look for it:

=======================  =================================================
``performance/run_1``    performance
``accuracy``             accuracy
``audits/TEST01``        audit run, beside its ``audit.config``
``audits/TEST04``        likewise
``TEST01``, ``TEST04``   what is submitted of them, with our verification
``compliance.json``      the journal, and the outcome
=======================  =================================================

A script of theirs takes the directory itself as ``-r`` and as ``-o``, ``audits/TEST01`` as ``-c``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadgen_generic.campaigns.audience import Audience, OnlyProgress
from loadgen_generic.campaigns.compliance.audits import (
    AUDIT_FILE,
    AUDIT_TESTS,
    SAME_SAMPLE,
    audit_text,
    find_audit,
)
from loadgen_generic.campaigns.compliance.checks import Check, check_test01, check_test04
from loadgen_generic.campaigns.compliance.verification import keep_verification
from loadgen_generic.campaigns.fixing import one_run, same_test
from loadgen_generic.campaigns.journal import Journal, entry_of, open_journal
from loadgen_generic.campaigns.keeping import kept
from loadgen_generic.campaigns.reported import run
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.result import Result, read_result, write_text
from loadgen_generic.settings import duration_sec
from loadgen_generic.supervisor import check_request, interruptible, requested, run_name
from loadgen_generic.wording import format_measured

__all__ = ["ACCURACY", "AUDITS", "COMPLIANCE_FILE", "PERFORMANCE", "Compliance", "compliance"]

COMPLIANCE_FILE = "compliance.json"
PERFORMANCE, ACCURACY, AUDITS = "performance/run_1", "accuracy", "audits"
_COLUMNS = ("run", "value", "length", "result")
_RUNS = 2 + len(AUDIT_TESTS)
_OFFICIAL_SEC = 600.0
# Which say what a performance run is, or which runs there are.
_NOT_HERE = {
    "mode": "performance and accuracy runs are both made",
    "audit": "the audit settings come from --audits, or with this harness",
    "repeat": "each run is made once",
    "save_outputs": "it is for a single accuracy run",
}
# What an accuracy run has no use for.
_OF_SPEED = ("profile", "trace", "verify_fraction", "send_answers")


@dataclass(frozen=True, slots=True)
class Compliance:
    """What came of it.

    Attributes:
        directory: of all runs.
        runs: their results, by name.
        checks: the outcome of each test.
        official: whether the runs are of the length that the rules ask for.
    """

    directory: Path
    runs: Mapping[str, Result]
    checks: tuple[Check, ...]
    official: bool

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def runs_in_words(self) -> str:
        performance = self.runs["performance"]
        value = format_measured(performance.metric.value, performance.metric.unit)
        return f"{performance.scenario}, {value}"

    def document(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "official": self.official,
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "runs": {name: str(result.path) for name, result in self.runs.items()},
        }


def compliance(
    config: BenchmarkConfig, audience: Audience, audits: Path | None = None
) -> Compliance:
    """Make the runs that are not there yet, and verify them.

    Args:
        config: the performance run; the others follow from it.
        audits: the ``compliance`` folder of a checkout of mlcommons/inference; None for the
            settings that come with this harness.

    Raises:
        RequestError, RunError, InterruptedRunError: as a run does; the finished runs are kept.
    """
    _check(config, audits)
    asked = requested(config) | ({"audits": str(audits)} if audits else {})
    with (
        interruptible(),
        open_journal(
            COMPLIANCE_FILE,
            "compliance campaign",
            config.output_dir,
            f"{run_name(config)}-compliance",
            asked,
        ) as journal,
        kept(journal, config, "run"),
    ):
        audience.note(_length(config, journal))
        audience.table(_COLUMNS, [_cells(each) for each in journal.runs])
        for name, inside, changes in _plan(config, audits, journal.directory):
            if any(each["name"] == name for each in journal.runs):
                _go_on(journal)
                continue
            directory, result = journal.place_at(inside)
            if result is None:
                options = _options(config, changes, journal.content.get("fixed", {}))
                if changes.get("audit") == str(directory / AUDIT_FILE):
                    text = audit_text(name, config.mlperf_model)
                    write_text(directory / AUDIT_FILE, text)
                quiet = OnlyProgress(audience, notes=not journal.runs)
                result = run(BenchmarkConfig.model_validate(options), quiet, directory)
            journal.content.setdefault("fixed", same_test(result))
            journal.add({"name": name, **entry_of(result)}, result)
            audience.table(_COLUMNS, [_cells(each) for each in journal.runs])
            _go_on(journal)
        outcome = verify(journal.directory, config.official)
        journal.finish(**{k: v for k, v in outcome.document().items() if k != "runs"})
        return outcome


def verify(directory: Path, official: bool) -> Compliance:
    """Look at finished runs, and write what is submitted of the audit tests."""
    runs = {
        "performance": read_result(directory / PERFORMANCE),
        "accuracy": read_result(directory / ACCURACY),
        **{test: read_result(directory / AUDITS / test) for test in AUDIT_TESTS},
    }
    performance, accuracy = directory / PERFORMANCE, directory / ACCURACY
    found = {
        "TEST01": check_test01(performance, accuracy, directory / AUDITS / "TEST01"),
        "TEST04": check_test04(performance, directory / AUDITS / "TEST04"),
    }
    for test, checks in found.items():
        keep_verification(directory / AUDITS / test, directory / test, checks)
    return Compliance(
        directory, runs, tuple(check for checks in found.values() for check in checks), official
    )


def _check(config: BenchmarkConfig, audits: Path | None) -> None:
    for name, why in _NOT_HERE.items():
        if name in config.model_fields_set:
            raise RequestError(
                f"it has no place in a compliance campaign: {why}.",
                flag=name,
                value=getattr(config, name),
                remedy="Leave it out.",
            )
    if audits is not None:
        for test in AUDIT_TESTS:
            find_audit(audits, test, config.mlperf_model)
    check_request(BenchmarkConfig.model_validate(one_run(config)))


def _go_on(journal: Journal) -> None:
    """Raises:
    RunError: an INVALID performance run, with which no test can pass.
    RequestError: too few samples for TEST04.
    """
    result = read_result(journal.directory / PERFORMANCE)
    if result.valid is False:
        tried = f" Try first: {result.next_command}." if result.next_command else ""
        raise RunError(
            f"the performance run is no measure for the others. {result.verdict}{tried} Then begin "
            "anew in another --output_dir."
        )
    issued = next(e.effective for e in result.settings if e.key == "performance_sample_count")
    if int(issued or 0) <= SAME_SAMPLE:
        raise RequestError(
            f"TEST04 repeats the sample number {SAME_SAMPLE + 1}, and there are only {issued}.",
            remedy="Give a larger --dataset or --distinct_samples, and another --output_dir.",
        )


def _plan(
    config: BenchmarkConfig, audits: Path | None, directory: Path
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, directory and changed options of each run, in the order of MLCommons."""
    yield "performance", PERFORMANCE, {"send_answers": True}
    yield "accuracy", ACCURACY, {"mode": "accuracy"}
    for test in AUDIT_TESTS:
        inside = f"{AUDITS}/{test}"
        if audits is None:
            file = directory / inside / AUDIT_FILE
        else:
            file = find_audit(audits, test, config.mlperf_model)
        yield test, inside, {"audit": str(file), "send_answers": True}


def _options(
    config: BenchmarkConfig, changes: Mapping[str, Any], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    options = {**one_run(config), **fixed, **changes}
    if changes.get("mode") == "accuracy":
        for name in _OF_SPEED:
            options.pop(name, None)
    return options


def _length(config: BenchmarkConfig, journal: Journal) -> str:
    done = [each["name"] for each in journal.runs]
    timed = [name for name in ("performance", *AUDIT_TESTS) if name not in done]
    each = max(duration_sec(config), _OFFICIAL_SEC if config.official else 0.0)
    least = each * len(timed)
    text = f"{_RUNS} runs (performance, accuracy, {', '.join(AUDIT_TESTS)}) in {journal.directory}"
    if done:
        text += f", {len(done)} of them done"
    if least:
        text += f"; at least {least / 60:.0f} min" if least >= 120 else f"; at least {least:.0f} s"
        if "accuracy" not in done:
            text += ", and as long as it takes to answer every sample once"
    if not config.official:
        text += "; a look only: --official makes runs of the length that the rules ask for"
    return text


def _cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        run["name"],
        format_measured(run["value"], run["unit"]),
        # Of an accuracy run it is the time of the last set of samples alone.
        f"{run['duration_s']:.1f} s" if run["valid"] is not None else "",
        {True: "VALID", False: "INVALID", None: ""}[run["valid"]],
    )
