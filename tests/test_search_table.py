"""The runs of a campaign on a terminal, and what a log gets instead."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import sample_tuning

from loadgen_generic.progress import Phase
from loadgen_generic.report.search_table import CampaignObserver, print_campaign
from loadgen_generic.telemetry.live import Glance

COLUMNS = ("trial", "load", "result")
ROWS = [("1", "100 queries/s", "passed"), ("2", "200 queries/s", "[b]failed[/b]")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(stream: io.StringIO, quiet: bool = False) -> str:
    with CampaignObserver(quiet=quiet, stream=stream) as observer:
        observer.table(COLUMNS, [])
        for done in range(len(ROWS) + 1):
            observer.table(COLUMNS, ROWS[:done])
            observer.update(Glance(Phase.LOADING))
            observer.update(Glance(Phase.TESTING, 1.0, 50))
        observer.note("[bold]a note[/bold]")
    return stream.getvalue()


def test_a_log_gets_a_line_for_each_run() -> None:
    assert watch(io.StringIO()) == (
        "LoadGen test started\n"
        "trial 1: 100 queries/s, passed\n"
        "trial 2: 200 queries/s, [b]failed[/b]\n"
        "[bold]a note[/bold]\n"
    )


def test_quiet_shows_nothing() -> None:
    assert watch(io.StringIO(), quiet=True) == ""
    assert watch(Terminal(), quiet=True) == ""


def test_a_terminal_gets_a_table_and_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # whatever the tests were started from
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", watch(Terminal()))
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", shown)]
    assert "trial load result" in lines
    assert "1 100 queries/s passed" in lines
    assert "2 200 queries/s [b]failed[/b]" in lines
    assert any("testing: 1 s, 50 samples" in line for line in lines)
    assert "[bold]a note[/bold]" in lines
    assert lines[-2 if not lines[-1] else -1] == "2 200 queries/s [b]failed[/b]", "the table stays"


def told(tmp_path: Path, **changes: object) -> str:
    """What print_campaign says of a tuned model."""
    base = sample_tuning.tuned(tmp_path).result
    assert base is not None
    assert base.tuning is not None
    tuning = base.tuning.model_copy(update=changes)
    stream = io.StringIO()
    print_campaign(base.model_copy(update={"tuning": tuning}), stream)
    return stream.getvalue()


def test_a_tuned_model_on_a_terminal(tmp_path: Path) -> None:
    tuning = sample_tuning.tuning(tmp_path)
    text = told(tmp_path)
    lines = text.splitlines()
    assert f"  tuned:     {tuning.sentence}" in lines
    assert "provider x1.11, precision x1.83, batch x0.970, threads not measured" in text
    assert f"  left out:  2, with the reasons in {tmp_path / 'report.html'}" in lines
    assert "  time:      412 s of 600 s; trials: 41, 2 disturbed" in lines
    assert f"  run it:    {tuning.command}" in lines
    assert f"  with cm:   {tuning.cm_command}" in lines
    assert f"  config:    {tuning.config_file}" in lines
    families = {each.family: each for each in tuning.candidates}
    for family in families:
        assert any(family in line for line in lines), family
    (winner,) = [line for line in lines if line.strip().startswith("winner")]
    assert re.search(r"openvino bfloat16 .*116 samples/s .*0\.013 .*verified", winner)
    (refused,) = [line for line in lines if "cpu int8" in line]
    assert "0.94" in refused
    assert "refused: an error of 0.94 where 0.05 is allowed" in refused
    shown = sum("threads, batch" in line for line in lines)
    assert f"  more:      {len(tuning.candidates) - shown} other candidate(s)" in text
    gain = "2.02 times as fast as the default, to within 1.3 %; full tests of the same lay up to"
    assert f"  gain:      {gain} 2.2 % apart" in lines
    assert "  gain:      not known" in told(tmp_path, gain=None)
    assert "trials: 41\n" in told(tmp_path, disturbed=0)


def test_a_narrow_terminal_folds_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    base = sample_tuning.tuned(tmp_path).result
    assert base is not None
    stream = Terminal()
    print_campaign(base, stream)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    table = plain.partition("which")[2].partition("  more:")[0].splitlines()
    assert max(map(len, table)) <= 100
    assert "bfloat16" in plain
