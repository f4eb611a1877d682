"""LoadGen's detail log: lines of ``:::MLLOG {json}``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loadgen_generic.errors import RunError

__all__ = ["ACCURACY_MODE", "HEADLINES", "DetailLog", "Headline", "read_detail_log"]

ACCURACY_MODE = "AccuracyOnly"
_PREFIX = ":::MLLOG "
# The numbers of all samples that were loaded: megabytes of a small model's, and nobody reads them.
# A line that is cut short ends otherwise.
_SAMPLES, _WHOLE = ':::MLLOG {"key": "loaded_qsl_set",', "}}"
# LoadGen divides by the time between the first query and the last, which is zero for one query.
_NOT_A_NUMBER = re.compile(r'"value": -?(nan|inf),')
# LoadGen goes on without a word when it cannot write.
_DISK_FULL = "If the disk is full, make room or choose another --output_dir."
_CLOCK = "%m-%d-%Y %H:%M:%S.%f"


@dataclass(frozen=True, slots=True)
class Headline:
    """The one number of a scenario: LoadGen's key for it, its unit, what to call it."""

    key: str
    unit: str
    label: str
    higher_is_better: bool


HEADLINES = {
    "Offline": Headline("result_samples_per_second", "samples/s", "throughput", True),
    "Server": Headline(
        "result_completed_samples_per_sec", "samples/s", "completed throughput", True
    ),
    "SingleStream": Headline("early_stopping_latency_ss", "ns", "latency", False),
    "MultiStream": Headline("early_stopping_latency_ms", "ns", "query latency", False),
}


@dataclass(frozen=True, slots=True)
class DetailLog:
    """What LoadGen wrote about one test.

    Attributes:
        values: key to its last value; without those that are not a number.
        errors, invalid_reasons: in the order they were logged.
    """

    values: dict[str, Any]
    errors: tuple[str, ...]
    invalid_reasons: tuple[str, ...]

    @property
    def scenario(self) -> str:
        return str(self.values["effective_scenario"])

    @property
    def mode(self) -> str:
        return str(self.values["effective_test_mode"])

    @property
    def valid(self) -> bool:
        return self.values.get("result_validity") == "VALID"

    @property
    def duration_sec(self) -> float:
        """From the first query to the last answer, to a millisecond; in an accuracy run of the
        last set of samples."""
        begin, end = (self.values.get(key) for key in ("power_begin", "power_end"))
        if begin is None or end is None:
            return 0.0
        return (datetime.strptime(end, _CLOCK) - datetime.strptime(begin, _CLOCK)).total_seconds()

    @property
    def queries(self) -> int:
        return int(self.values.get("result_query_count", 0))

    @property
    def samples(self) -> int:
        return self.queries * int(self.values.get("effective_samples_per_query", 1))

    def latency_ns(self) -> dict[str, int]:
        """``min``, ``mean``, ``max`` and percentiles such as ``p99`` and ``p99.9``, of a query
        in MultiStream and of a sample elsewhere, in ns."""
        # LoadGen logs those of single samples in MultiStream as well, without the word.
        per, of = ("per_query_", "query_") if self.scenario == "MultiStream" else ("", "")
        found = {}
        for name in ("min", "mean", "max"):
            found[name] = int(self.values[f"result_{name}_{of}latency_ns"])
        pattern = re.compile(rf"result_([\d.]+)_percentile_{per}latency_ns")
        for key, value in self.values.items():
            if match := pattern.fullmatch(key):
                found[f"p{float(match[1]):g}"] = int(value)
        return found


def read_detail_log(path: Path) -> DetailLog:
    """Read ``mlperf_log_detail.txt``.

    Raises:
        RunError: the file is missing, or LoadGen did not get as far as a result.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    reasons: list[str] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunError(f"LoadGen left no detail log: {error}") from None
    for line in text.splitlines():
        if not line.startswith(_PREFIX):
            continue
        if line.startswith(_SAMPLES) and line.endswith(_WHOLE):
            continue
        try:
            entry = json.loads(line[len(_PREFIX) :])
        except json.JSONDecodeError:
            if _NOT_A_NUMBER.search(line):
                continue
            raise RunError(f"{path} is damaged: cannot read {line[:80]!r}. {_DISK_FULL}") from None
        key, value = entry["key"], entry["value"]
        values[key] = value
        if entry["metadata"]["is_error"]:
            errors.append(str(value))
        if key == "result_invalid_reason":
            reasons.append(str(value).strip())
    # An accuracy run has no verdict, only the times at which sets of samples began and ended.
    last = "power_end" if values.get("effective_test_mode") == ACCURACY_MODE else "result_validity"
    if last not in values:
        raise RunError(f"{path} ends before the result: the test did not finish. {_DISK_FULL}")
    return DetailLog(values, tuple(errors), tuple(reasons))
