"""What a person sees on a terminal, and what a log gets instead."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from command import Command

from loadgen_generic.progress import Phase
from loadgen_generic.report.terminal import TerminalObserver


def test_a_log_gets_lines() -> None:
    stream = io.StringIO()
    with TerminalObserver(stream=stream) as observer:
        observer.update(Phase.LOADING, 0, 0.0)
        observer.note("[bold]20 samples[/bold]")
        for answered in range(5):
            observer.update(Phase.TESTING, answered, 1.0)
    assert stream.getvalue() == "[bold]20 samples[/bold]\nLoadGen test started\n"


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    with TerminalObserver(quiet=True, stream=stream) as observer:
        observer.note("text")
        observer.update(Phase.TESTING, 1, 1.0)
    assert stream.getvalue() == ""


def on_a_terminal(command: Command, *words: object) -> tuple[int, str]:
    """Exit code of a command and all that its terminal received."""
    ours, theirs = pty.openpty()
    program = str(Path(sys.executable).with_name("loadgen-generic"))
    process = subprocess.Popen(
        [program, *map(str, words)],
        cwd=command.directory,
        env={**command.environ, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not chunk:
            break
        received += chunk
    os.close(ours)
    return process.wait(60), received.decode("utf-8")


def test_a_terminal_gets_live_progress(command: Command, models: Callable[[str], Path]) -> None:
    code, text = on_a_terminal(
        command,
        *("run", models("matmul"), "--scenario=SingleStream", "--loadgen_duration_sec=1"),
        *("--output_dir", "out"),
    )
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "LoadGen test: " in plain
    assert re.search(r"[\d,]+ samples, [\d,.]+ samples/s", plain)
    assert "VALID: SingleStream" in plain
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


def test_a_quiet_terminal_gets_the_result(command: Command, models: Callable[[str], Path]) -> None:
    code, text = on_a_terminal(
        command, "run", models("matmul"), "--samples=5", "--quiet", "--output_dir", "out"
    )
    assert code == 0
    assert text.startswith("VALID: Offline")
    assert "\x1b" not in text
