"""The typed result and its file, ``result.json``.

A new block that may be missing or null keeps the version of the format; a field that goes, or
that changes what it means in the runs that had it, raises it. History:

1  first version; since then ``accuracy``, ``verification`` and ``statistics``, null where they
   do not apply, and in accuracy runs, which are new, ``valid`` is null; in ``verification`` the
   ``spot_`` fields, null where nothing was kept during the test; ``settings``, empty before;
   ``telemetry`` and ``profile``, null where they were not asked for and before; ``devices``
   and ``phases``, null before and where a run is on no card; ``tuning``, null where it was not
   asked for and before; ``load_s``, null where it is not known and before; ``cluster``, null
   where a run is on none and before.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from loadgen_generic.errors import RequestError
from loadgen_generic.results.cluster import Cluster
from loadgen_generic.results.devices import DeviceShare
from loadgen_generic.results.many_runs import Repetition, Search
from loadgen_generic.results.phases import Phases
from loadgen_generic.results.profile import Profile
from loadgen_generic.results.record import Record
from loadgen_generic.results.telemetry import TelemetrySummary
from loadgen_generic.results.tuning import Tuning

__all__ = [
    "RESULT_FILE",
    "SCHEMA_VERSION",
    "Accuracy",
    "LoadGenSetting",
    "Metric",
    "OutputComparison",
    "Repetition",
    "Result",
    "Search",
    "Statistics",
    "Verification",
    "read_result",
    "write_json",
    "write_text",
]

SCHEMA_VERSION = 1
RESULT_FILE = "result.json"


class Metric(Record):
    """The headline: LoadGen's own key, its value as logged, and the unit."""

    name: str
    value: float
    unit: str


class ConfigPair(Record):
    """What the user asked for, and every option as it was in force."""

    requested: dict[str, Any]
    effective: dict[str, Any]


class LoadGenSetting(Record):
    """One of LoadGen's settings, as LoadGen logged it.

    Attributes:
        key: LoadGen's name, without the scenario.
        requested: what this harness told LoadGen; null where LoadGen derives it.
        effective: what LoadGen made of it; null where LoadGen does not log that.
    """

    key: str
    requested: bool | int | float | str | None
    effective: bool | int | float | str | None


class ModelFacts(Record):
    """Inputs and outputs as ``name: type[shape]``; the hash is empty for a model without file."""

    path: str
    sha256: str
    inputs: list[str]
    outputs: list[str]


class Accuracy(Record):
    """What an accuracy run found.

    Attributes:
        samples: that were answered.
        labelled: of those, how many have a label.
        judged: of those, how many have an output that looks like a classifier's: one axis and
            two or more floats.
        correct: of those, how many have the label's class as their largest value.
        outputs_file: path of ``outputs.npz``; empty if it was not asked for.
    """

    samples: int
    labelled: int
    judged: int
    correct: int
    outputs_file: str = ""

    @property
    def top_1(self) -> float | None:
        return self.correct / self.judged if self.judged else None


class OutputComparison(Record):
    """One output of the model, over all answers that were compared.

    Attributes:
        element_type: numpy's name of it.
        criterion: by what an answer passes, in words.
        mismatches: answers that do not pass.
        max_abs_error, max_rel_error: null where one of two values is not a finite number, or
            the right one is 0.
        min_cosine: least cosine similarity; null for strings.
        top_1_agreement: share of answers where both name the same class; null unless it looks
            like a classifier's output.
    """

    name: str
    element_type: str
    criterion: str
    mismatches: int
    max_abs_error: float | None
    max_rel_error: float | None
    min_cosine: float | None
    top_1_agreement: float | None


class Verification(Record):
    """Outputs of the measured runner against right ones.

    Attributes:
        against: ``data``, ``reference``, or the path of another model.
        samples: that were compared.
        failed_samples: of those, with an output that does not pass.
        worst_sample, worst_output: furthest beyond what is allowed; -1 and empty if passed.
        sentence: the outcome in plain words.
        accuracy: top-1 on the labels of these samples; null without labels.
        spot_answered, spot_checked, spot_failed: samples answered during the test, how many of
            these answers were kept and compared as well, and how many of those do not pass;
            null without ``--verify_fraction``. ``samples``, ``failed_samples`` and ``accuracy``
            are without them, all else is over both.
    """

    against: str
    passed: bool
    samples: int
    failed_samples: int
    worst_sample: int
    worst_output: str
    sentence: str
    outputs: list[OutputComparison]
    accuracy: float | None
    spot_answered: int | None = None
    spot_checked: int | None = None
    spot_failed: int | None = None


class Statistics(Record):
    """LoadGen's figures, computed again from the latency of each sample in its trace.

    Attributes:
        samples: in the trace.
        checked: how many of LoadGen's figures were compared.
        agree: whether all of them are the same, within the digits that LoadGen writes.
        differences: where not, one sentence each.
        latencies_file: path of ``latencies.csv``, a line for each sample.
    """

    samples: int
    checked: int
    agree: bool
    differences: list[str]
    latencies_file: str


class Result(Record):
    """One finished LoadGen test.

    Attributes:
        valid: whether the numbers stand, ``invalid_reasons`` says why not; None in accuracy
            mode, which measures no speed that could be valid.
        verdict: the result in one sentence.
        next_command: the command line to try next; empty if valid.
        latency_ns: ``min``, ``mean``, ``max``, ``p50`` ... ``p99.9``, in ns.
        duration_s: from the first query to the last answer.
        settings: LoadGen's own settings, requested against effective; empty in results from
            before they were kept.
        notes: the arithmetic behind the test's size, and each setting that LoadGen changed.
        loadgen_logs: name to path of LoadGen's own files.
        accuracy: in accuracy mode.
        verification: where ``--verify`` asked for it.
        doubts: why the number may not be that of the model alone, one sentence each.
        conditions: what the machine did meanwhile; null where that is not known.
        manifest: command line, environment, and state of the checkouts.
        repeat: where ``--repeat`` asked for several runs; the rest is the median run's.
        search: of ``--mode find_peak``; the rest is the best load's test.
        tuning: of ``--mode tune``; the rest is the winner's last test of full length.
        statistics: where ``--trace`` asked for it, in performance mode.
        devices: the cards of the run and what each answered; null where it ran on none.
        cluster: its nodes and what each answered; null where the run was on none.
        telemetry: what was seen of the machine meanwhile; null with ``--telemetry off``.
        profile: where ``--profile`` asked for it.
        phases: of an inference on a GPU, or of a request to a server that tells; null elsewhere.
        load_s: what making the sessions of the test took; null where its workers made them on
            threads or in processes of their own.
    """

    schema_version: int = SCHEMA_VERSION
    started_at: str
    scenario: str
    mode: str
    valid: bool | None
    invalid_reasons: list[str]
    verdict: str
    next_command: str
    metric: Metric
    latency_ns: dict[str, int]
    samples_completed: int
    queries_completed: int
    duration_s: float
    config: ConfigPair
    settings: list[LoadGenSetting] = Field(default_factory=list)
    notes: list[str]
    model: ModelFacts
    providers: list[str]
    host: dict[str, Any]
    packages: dict[str, str]
    output_dir: str
    loadgen_logs: dict[str, str]
    accuracy: Accuracy | None = None
    verification: Verification | None = None
    statistics: Statistics | None = None
    doubts: list[str] = Field(default_factory=list)
    conditions: dict[str, Any] | None = None
    manifest: dict[str, Any] = Field(default_factory=dict)
    repeat: Repetition | None = None
    search: Search | None = None
    tuning: Tuning | None = None
    devices: list[DeviceShare] | None = None
    cluster: Cluster | None = None
    telemetry: TelemetrySummary | None = None
    profile: Profile | None = None
    phases: Phases | None = None
    load_s: float | None = None

    @property
    def path(self) -> Path:
        return Path(self.output_dir) / RESULT_FILE


def write_json(path: Path, content: object) -> None:
    """Write aside and rename, so that a reader finds the whole file or none."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """As :func:`write_json`, text."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def read_result(path: Path) -> Result:
    """Read a ``result.json`` or the one in a directory.

    Raises:
        RequestError: it is missing, damaged, or of a version that this package does not know.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read a result from {file}: {error.strerror}.") from None
    except ValueError as error:  # no JSON, or no text
        raise RequestError(f"{file} is not a result: {error}.") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{file} has schema_version {version}; this package reads {SCHEMA_VERSION}."
        )
    try:
        return Result.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError(f"{file} is damaged: {where}: {first['msg']}.") from None
