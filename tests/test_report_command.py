"""``loadgen-generic report``: the files it writes, and those that it does not."""

from __future__ import annotations

import csv
import io
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command import Command, Outcome
from test_reading import FINISHED, UNFINISHED, foreign

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A VALID Server run with a trace."""
    command = Command(tmp_path_factory.mktemp("run"), os.environ)
    target = {"target_qps": 500, "target_latency_ms": 2000}
    outcome = command.fake("latency_us=200", scenario="Server", samples=700, trace=True, **target)
    assert outcome.code == 0, outcome.stderr
    return outcome


class Words(HTMLParser):
    """The text of a page without its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data


def words(page: Path) -> str:
    parser = Words()
    parser.feed(page.read_text("utf-8"))
    return " ".join(parser.text.split())


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_page_is_made_again(command: Command, run: Outcome) -> None:
    page = run.run_dir / "report.html"
    page.write_text("an old one")
    outcome = command("report", run.run_dir)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.strip() == str(page)
    assert run.result.verdict in words(page)


def test_markdown_for_people(command: Command, run: Outcome) -> None:
    outcome = command("report", run.run_dir, format="md", output="-")
    assert outcome.code == 0, outcome.stderr
    result = run.result
    lines = outcome.stdout.splitlines()
    assert result.verdict in lines
    assert "| latency bound | 2 s |" in lines
    assert any(line.startswith("| p99 | ") and line.endswith("s |") for line in lines)
    names = [line.split(" | ")[0] for line in lines if line.startswith(("| min", "| p", "| max"))]
    assert names.index("| min") < names.index("| p50") < names.index("| p99.9")
    for doubt in result.doubts:
        assert f"- {doubt}" in lines


def test_json_for_programs(command: Command, run: Outcome) -> None:
    outcome = command("report", run.run_dir, format="json", output="-")
    found = json.loads(outcome.stdout)
    assert found["schema_version"] == 1
    assert found["metric"] == run.result.metric.model_dump()
    assert sum(found["latencies"]["histogram"]["counts"]) == 700
    assert found["result"] == json.loads((run.run_dir / "result.json").read_text())


def test_one_table_of_several_runs(command: Command, run: Outcome, tmp_path: Path) -> None:
    other = foreign("demo_single_stream", tmp_path)
    outcome = command("report", run.run_dir, other, format="csv")
    assert outcome.code == 0, outcome.stderr
    ours, theirs = table(outcome.stdout)
    assert ours["directory"] == str(run.run_dir)
    assert float(ours["throughput_samples_per_s"]) == run.result.metric.value
    assert ours["reported_latency_ns"] == ""
    assert ours["result"] == "VALID"
    assert float(theirs["reported_latency_ns"]) > 0
    assert theirs["throughput_samples_per_s"] == theirs["host"] == ""
    assert int(ours["latency_p99_ns"]) == run.result.latency_ns["p99"]


def test_the_table_of_one_run_lies_beside_it(command: Command, run: Outcome) -> None:
    assert command("report", run.run_dir, format="csv").code == 0
    assert len(table((run.run_dir / "report.csv").read_text())) == 1


def test_no_estimate_is_no_latency_of_zero(command: Command) -> None:
    made = command.fake(scenario="SingleStream", samples=10)
    assert made.result.valid is False
    (row,) = table(command("report", made.run_dir, format="csv", output="-").stdout)
    assert row["reported_latency_ns"] == ""
    assert row["result"] == "INVALID"
    text = command("report", made.run_dir, format="md", output="-").stdout
    assert "| latency | no estimate |" in text
    assert made.result.next_command in text


def test_a_picture_of_the_charts(command: Command, run: Outcome) -> None:
    outcome = command("report", run.run_dir, format="png", output="charts.png")
    assert outcome.code == 0, outcome.stderr
    assert (command.directory / "charts.png").read_bytes().startswith(PNG)


def test_logs_of_other_programs(command: Command, tmp_path: Path) -> None:
    directories = [foreign(name, tmp_path) for name in FINISHED]
    for kind in ("html", "md", "json"):
        outcome = command("report", *directories, format=kind)
        assert outcome.code == 0, outcome.stderr
    rows = table(command("report", *directories, format="csv").stdout)
    for directory, row in zip(directories, rows, strict=True):
        text = (directory / "report.md").read_text("utf-8")
        verdict = next(line for line in text.splitlines() if line.startswith(("VALID", "INVALID")))
        assert verdict in words(directory / "report.html")
        assert json.loads((directory / "report.json").read_text())["verdict"] == verdict
        assert verdict.startswith(row["result"])


@pytest.mark.slow
@pytest.mark.parametrize("name", FINISHED)
def test_pictures_of_logs_of_other_programs(command: Command, tmp_path: Path, name: str) -> None:
    directory = foreign(name, tmp_path)
    outcome = command("report", directory, format="png")
    if name == "upstream_offline":  # it completes all samples at once, at the end
        assert outcome.code == 1
        assert "nothing to draw" in outcome.stderr
    else:
        assert outcome.code == 0, outcome.stderr
        assert (directory / "report.png").read_bytes().startswith(PNG)


def test_several_runs_into_one_directory(command: Command, tmp_path: Path) -> None:
    for parent in ("a", "b"):
        foreign("upstream_offline", tmp_path / parent)
    where = [tmp_path / "a/upstream_offline", tmp_path / "b/upstream_offline"]
    outcome = command("report", *where, format="md", output="all")
    assert outcome.code == 0, outcome.stderr
    found = {path.name for path in (command.directory / "all").iterdir()}
    assert found == {"a-upstream_offline.md", "b-upstream_offline.md"}
    assert command("report", *where, format="md", output="all").code == 2


def test_nothing_is_overwritten_unasked(command: Command, run: Outcome) -> None:
    kept = command.directory / "kept.md"
    kept.write_text("mine")
    outcome = command("report", run.run_dir, format="md", output="kept.md")
    assert outcome.code == 2
    assert "--output kept.md: is there already" in outcome.stderr
    assert "--force" in outcome.stderr
    assert kept.read_text() == "mine"
    outcome = command("report", run.run_dir, format="md", output="kept.md", force=True)
    assert outcome.code == 0
    assert run.result.verdict in kept.read_text()


def test_one_bad_directory_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    good, bad = foreign("upstream_server", tmp_path), foreign(UNFINISHED, tmp_path)
    outcome = command("report", bad, good, "nowhere", format="md")
    assert outcome.code == 2
    assert "2 of 3 have no report" in outcome.stderr
    assert "ends before the result" in outcome.stderr
    assert "nowhere does not exist" in outcome.stderr
    assert (good / "report.md").exists()
    assert not (bad / "report.md").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"format": "png", "output": "-"}, "does not take png"),
        ({"format": "pdf"}, "invalid choice: 'pdf'"),
        ({"fromat": "md"}, "--format"),
    ],
)
def test_requests_that_cannot_be(
    command: Command, run: Outcome, flags: dict[str, object], told: str
) -> None:
    outcome = command("report", run.run_dir, **flags)
    assert outcome.code == 2
    assert told in outcome.stderr


def test_where_nothing_can_be_written(command: Command, run: Outcome) -> None:
    (command.directory / "file").touch()
    outcome = command("report", run.run_dir, format="md", output="file/inside.md")
    assert outcome.code == 1
    assert "cannot be written" in outcome.stderr


def test_the_help_teaches(command: Command) -> None:
    text = command("report", "--help").stdout
    for word in ("examples:", "exit codes:", "mlperf_log_detail.txt", "--format csv"):
        assert word in text
