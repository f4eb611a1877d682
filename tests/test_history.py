"""Past runs: what the command finds in a tree, and what it says of each."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, fake
from past_results import peak_of, repeated, single
from test_terminal import on_a_terminal

from loadgen_generic.cli import main
from loadgen_generic.progress import Phase
from loadgen_generic.report.history import find_runs
from loadgen_generic.report.history.finding import os as scanned_with

List = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three finished runs, newest last, one of them repeated."""
    top = tmp_path / "results"
    for day, name, scenario in ((1, "first", "Offline"), (2, "second", "Server")):
        single(
            top / name,
            1e6,
            scenario,
            started_at=f"2026-01-0{day}T12:00:00+0000",
            host={"name": f"host-{day}"},
            valid=day == 1,
        )
    repeated(top / "deep" / "down" / "third", [3e6, 1e6, 2e6, 2e6])
    return top


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> List:
    """The runs that ``list ... --json`` prints."""

    def run(*words: object) -> list[dict[str, Any]]:
        assert main(["list", *map(str, words), "--json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    return run


def names(runs: list[dict[str, Any]]) -> list[str]:
    return [Path(run["directory"]).name for run in runs]


def test_newest_first_and_a_campaign_is_one_row(tree: Path, listed: List) -> None:
    runs = listed(tree)
    assert names(runs) == ["third", "second", "first"]
    assert {key: runs[0][key] for key in ("state", "tests", "value", "unit", "model")} == {
        "state": "finished",
        "tests": 4,
        "value": 2e6,
        "unit": "ns",
        "model": "net.onnx",
    }
    assert len(listed(tree, "--all")) == 7
    assert names(listed(tree / "first")) == ["first"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scenario", "server"], ["second"]),
        (["--valid"], ["third", "first"]),
        (["--invalid"], ["second"]),
        (["--host", "HOST-"], ["second", "first"]),
        (["--model", "NET"], ["third", "second", "first"]),
        (["--model", "other"], []),
        (["--since", "2026-01-02"], ["third", "second"]),
        (["--since", "2026-01-02T13:00:00"], ["third"]),
        (["--since", "52w", "--limit", "2"], ["third", "second"]),
        (["--limit", "1"], ["third"]),
    ],
)
def test_filters(tree: Path, listed: List, words: list[str], expected: list[str]) -> None:
    assert names(listed(tree, *words)) == expected


def test_since_a_time_ago(tree: Path, listed: List) -> None:
    single(tree / "new", 1e6, started_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    assert names(listed(tree, "--since", "1h")) == ["new"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "cannot look for runs in nowhere"),
        (["--since", "yesterday"], "--since yesterday: is neither"),
        (["--scenario", "Online"], "--scenario Online: there is no such scenario"),
        (["--limit", "0"], "--limit 0: must be a whole number"),
        (["--valid", "--invalid"], "not allowed with"),
        (["--newest"], "--newest: there is no such option"),
    ],
)
def test_wrong_requests(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_list(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for words, sentence in (
        ([str(empty)], f"There are no runs in {empty}."),
        ([], "There are no runs in results."),
        ([str(tree), "--model", "other"], f"None of the 3 run(s) in {tree} is like that."),
    ):
        assert main(["list", *words]) == 0
        assert capsys.readouterr().out == sentence + "\n"


@pytest.mark.parametrize(
    ("files", "state", "why"),
    [
        ({"request.json": "{}"}, "interrupted", "without a word"),
        ({"request.json": ""}, "interrupted", "without a word"),
        ({"error.json": '{"exit_code": 1, "error": "it broke"}'}, "failed", "it broke"),
        ({"error.json": '{"exit_code": 130, "error": "stopped"}'}, "interrupted", "stopped"),
        ({"error.json": "{"}, "failed", "error.json is damaged"),
        ({"result.json": '{"schema_version": 1, "star'}, "damaged", "not one JSON object"),
        ({"result.json": '{"schema_version": 1}'}, "damaged", "started_at"),
        ({"result.json": '{"schema_version": 7}'}, "damaged", "schema_version 7"),
        (
            {"compliance.json": '{"state": "finished", "passed": false, "runs": []}'},
            "finished",
            "did not pass",
        ),
        ({"repeat.json": '{"state": "unfinished", "runs": [1, 2]}'}, "interrupted", "without"),
    ],
)
def test_broken_runs_are_shown_as_such(
    tmp_path: Path, listed: List, files: dict[str, str], state: str, why: str
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    request = json.dumps({"model_path": "x/net.onnx", "scenario": "Server"})
    for name, content in ({"request.json": request} | files).items():
        (directory / name).write_text(content)
    (run,) = listed(tmp_path)
    assert run["state"] == state
    assert why in run["why"]
    if "request.json" not in files and "result.json" not in files:
        assert (run["model"], run["scenario"]) == ("net.onnx", "Server")


def test_a_running_test_is_told_from_one_that_was_killed(command: Command, listed: List) -> None:
    running = command.start(
        "run",
        **fake("latency_us=5000"),
        samples=10_000,
        loadgen_expected_qps=200,
        runner="inline",
        batch_size=1,
    )
    try:
        running.wait_for(Phase.TESTING)
        (run,) = listed(command.directory)
        assert (run["state"], run["model"], run["scenario"]) == ("running", "fake", "Offline")
        for process in (running.process, *running.family):
            os.kill(process.pid, signal.SIGKILL)
        running.process.wait()
        assert not running.orphans(within_sec=10)
        assert (running.run_dir / ".progress").exists()
        (run,) = listed(command.directory)
        assert run["state"] == "interrupted"
    finally:
        command.stop(running)


def test_the_second_run_of_a_directory_is_another_row(tree: Path, listed: List) -> None:
    single(tree / "first" / "run-2", 1e6, started_at="2025-01-01T00:00:00+0000")
    single(tree / "first" / "attempt-1", 1e6)
    assert names(listed(tree)) == ["third", "second", "first", "run-2"]


def test_a_run_is_not_searched_for_others(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[Path] = []
    real = os.scandir
    monkeypatch.setattr(
        scanned_with, "scandir", lambda path: (scanned.append(Path(path)), real(path))[1]
    )
    assert len(find_runs(tree)) == 3
    assert not [path for path in scanned if "runs" in path.parts]


def test_table_in_a_log_holds_everything(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peak_of(tree / "peak", 1234)
    shutil.copytree(tree / "first", tree / ("long-" * 40))
    assert main(["list", str(tree)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {name: line for line in lines for name in ("third", "second", "peak") if name in line}
    for words in ("latency", "2 ms", " 4 ", "VALID", "here", "net.onnx", "SingleStream"):
        assert words in rows["third"]
    assert "INVALID" in rows["second"]
    assert re.search(r"samples/s +1 +INVALID +host-2", rows["second"])
    assert re.search(r"highest load +1,234 queries/s +9 ", rows["peak"])
    assert any(str(tree / ("long-" * 40)) in line for line in lines)


def test_table_on_a_narrow_terminal_cuts_nothing(command: Command) -> None:
    single(command.directory / "results" / "a-directory-with-a-long-name", 1e6)
    narrow = Command(command.directory, {**command.environ, "COLUMNS": "60", "NO_COLOR": "1"})
    code, text = on_a_terminal(narrow, "list")
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(len(line) for line in plain.splitlines()) <= 60
    assert "…" not in plain
    letters = "".join(plain.split())
    for letter in "a-directory-with-a-long-name":
        assert letter in letters
    assert not re.search(r"\x1b\[(3|4|9)\d", text), "no colours"


def test_a_long_search_says_how_far_it_is(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loadgen_generic.commands.history._SAY_AFTER_SEC", 0.0)
    assert main(["list", str(tree), "--json"]) == 0
    captured = capsys.readouterr()
    assert f"looking for runs in {tree}: 1 directories so far" in captured.err
    assert len(json.loads(captured.out)) == 3


def test_table_says_what_is_wrong(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "first" / "result.json").write_text("{")
    (tree / "odd\x1b[31m").mkdir()
    (tree / "odd\x1b[31m" / "request.json").write_text("{}")
    assert main(["list", str(tree)]) == 0
    text = capsys.readouterr().out
    assert re.search(r" damaged .* \S+first *$", text, re.MULTILINE)
    assert f"  {tree / 'first'}: damaged: result.json is not one JSON object\n" in text
    assert "\x1b" not in text
    assert r"odd\x1b[31m: interrupted: it ended without a word" in text
