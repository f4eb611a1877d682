"""The runs of a campaign on a terminal, and what a log gets instead."""

from __future__ import annotations

import io
import re

from loadgen_generic.progress import Phase
from loadgen_generic.report.search_table import CampaignObserver
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


def test_a_terminal_gets_a_table_and_a_live_line() -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", watch(Terminal()))
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", shown)]
    assert "trial load result" in lines
    assert "1 100 queries/s passed" in lines
    assert "2 200 queries/s [b]failed[/b]" in lines
    assert any("testing: 1 s, 50 samples" in line for line in lines)
    assert "[bold]a note[/bold]" in lines
    assert lines[-2 if not lines[-1] else -1] == "2 200 queries/s [b]failed[/b]", "the table stays"
