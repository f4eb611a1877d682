"""The benchmark's machinery, on the smallest model; its figures mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "benchmarks" / "bench.py"
CEILING, UPSTREAM = "offline/identity/ceiling", "offline/identity/upstream-inline"


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table and the JSON of a quick look at two rows."""
    directory = tmp_path_factory.mktemp("bench")
    where = ["--work", directory / "work", "--output", directory / "results"]
    quick = ["--quick", "--seconds", 0.1, "--rounds", 2, "--no-install"]
    done = bench(*quick, *where, "--only", CEILING, UPSTREAM)
    assert done.returncode == 0, done.stderr
    (file,) = (directory / "results").iterdir()
    return done.stdout, json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_row_has_figures_and_ratio(outcome: tuple[str, dict[str, Any]]) -> None:
    table, report = outcome
    row = next(row for row in report["rows"] if row["key"] == CEILING)
    assert row["reached"] == pytest.approx(row["ours"] / row["other"])
    assert f"{row['ours']:,.0f}" in table


@pytest.mark.slow
def test_every_figure_has_its_command_line(outcome: tuple[str, dict[str, Any]]) -> None:
    _, report = outcome
    measured = [case for case in report["cases"].values() if case["rounds"]]
    assert [len(case["rounds"]) for case in measured] == [2, 2]
    for case in measured:
        for found in case["rounds"]:
            assert "identity.onnx" in found["command"]
            assert found["figures"]


@pytest.mark.slow
def test_row_that_cannot_run_says_why(outcome: tuple[str, dict[str, Any]]) -> None:
    table, report = outcome
    row = next(row for row in report["rows"] if row["key"] == UPSTREAM)
    assert row["other"] is None
    assert row["holds"] is None
    assert "environment is absent" in row["note"]
    assert "environment is absent" in table


@pytest.mark.slow
def test_result_does_not_name_this_machine(outcome: tuple[str, dict[str, Any]]) -> None:
    _, report = outcome
    assert "name" not in report["machine"]
    assert str(BENCH.parent.parent) not in json.dumps(report)


def test_unknown_row_is_refused() -> None:
    done = bench("--only", "nothing/like/it")
    assert done.returncode == 2
    assert "--list" in done.stderr
