"""LoadGen's detail log, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.detail_log import read_detail_log
from loadgen_generic.results.result import read_result, write_json


def line(key: str, value: object, is_error: bool = False) -> str:
    metadata = {"is_error": is_error, "is_warning": False, "file": "x.cc", "line_no": 1}
    return ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": metadata})


WHOLE = [
    line("effective_scenario", "MultiStream"),
    line("effective_test_mode", "PerformanceOnly"),
    line("effective_samples_per_query", 8),
    line("power_begin", "12-31-2025 23:59:59.500"),
    line("power_end", "01-01-2026 00:00:01.250"),
    line("result_min_query_latency_ns", 1),
    line("result_mean_query_latency_ns", 2),
    line("result_max_query_latency_ns", 3),
    line("result_99.90_percentile_per_query_latency_ns", 7),
    line("result_50.00_percentile_per_query_latency_ns", 4),
    # Those of single samples, which are not what MultiStream is about.
    line("result_min_latency_ns", 91),
    line("result_mean_latency_ns", 92),
    line("result_max_latency_ns", 93),
    line("result_50.00_percentile_latency_ns", 94),
    line("error_runtime", "something", is_error=True),
    line("result_invalid_reason", " Min queries not satisfied. "),
    line("result_query_count", 5),
    line("result_scheduled_samples_per_sec", 0).replace('"value": 0', '"value": -nan'),
    line("result_validity", "INVALID"),
]


def written(directory: Path, lines: list[str]) -> Path:
    path = directory / "mlperf_log_detail.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_is_read(tmp_path: Path) -> None:
    log = read_detail_log(written(tmp_path, ["noise", *WHOLE]))
    assert (log.scenario, log.mode, log.valid) == ("MultiStream", "PerformanceOnly", False)
    assert log.duration_sec == 1.75
    assert (log.queries, log.samples) == (5, 40)
    assert log.latency_ns() == {"min": 1, "mean": 2, "max": 3, "p50": 4, "p99.9": 7}
    assert "result_scheduled_samples_per_sec" not in log.values
    assert log.errors == ("something",)
    assert log.invalid_reasons == ("Min queries not satisfied.",)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="left no detail log"):
        read_detail_log(tmp_path / "mlperf_log_detail.txt")


@pytest.mark.parametrize("lines", [[], WHOLE[:-1]])
def test_ends_early(lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="did not finish"):
        read_detail_log(written(tmp_path, lines))


def test_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="damaged"):
        read_detail_log(written(tmp_path, [*WHOLE[:-1], WHOLE[-1][:-10]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a result"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99; this package reads 1"),
    ],
)
def test_files_that_are_no_result(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(RequestError, match=message):
        read_result(tmp_path)
    with pytest.raises(RequestError, match="cannot read a result"):
        read_result(tmp_path / "other.json")


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": "\u00e9"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text("utf-8")) == {"a": "\u00e9"}
    assert list(tmp_path.iterdir()) == [path]
