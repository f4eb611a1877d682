"""What a person sees on a terminal, and what a log gets instead."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from command import Command

from loadgen_generic.progress import Phase
from loadgen_generic.report.terminal import TerminalObserver, describe
from loadgen_generic.telemetry.live import Glance

GLANCE = Glance(
    Phase.TESTING,
    phase_sec=12.4,
    answered=123_456,
    unit="queries",
    rate=10_234.5,
    percentile="p99",
    latency_ns=12_345_678.0,
    verdict="within 20 ms so far",
)
WHOLE = "testing: 12 s, 123,456 queries, 10,200/s, p99 12.3 ms, within 20 ms so far"


def test_a_log_gets_lines() -> None:
    stream = io.StringIO()
    with TerminalObserver(stream=stream) as observer:
        observer.update(Glance(Phase.LOADING))
        observer.note("[bold]20 samples[/bold]")
        for tenths in range(15):
            observer.update(Glance(Phase.TESTING, tenths / 10, tenths))
    assert stream.getvalue() == "[bold]20 samples[/bold]\nLoadGen test started\n"


def test_a_log_of_a_long_test_is_not_flooded() -> None:
    stream = io.StringIO()
    with TerminalObserver(stream=stream) as observer:
        for tenths in range(6001):
            observer.update(replace(GLANCE, phase_sec=tenths / 10))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "LoadGen test started"
    seconds = [line.split()[1] for line in lines[1:]]
    by_ten, by_minute = [2, *range(10, 61, 10)], range(120, 601, 60)
    assert seconds == [str(second) for second in (*by_ten, *by_minute)]
    assert lines[2] == WHOLE.replace("12 s", "10 s")


def test_what_takes_long_before_the_test_is_told() -> None:
    stream = io.StringIO()
    with TerminalObserver(stream=stream) as observer:
        for tenths in range(60):
            observer.update(Glance(Phase.LOADING, tenths / 10))
    assert stream.getvalue() == "loading the model: 2 s\n"


def test_a_line_fits_a_terminal() -> None:
    assert describe(GLANCE) == WHOLE
    assert describe(GLANCE, len(WHOLE)) == WHOLE
    assert describe(GLANCE, 60) == WHOLE.removesuffix(", within 20 ms so far")
    assert describe(GLANCE, 20) == "testing: 12 s"
    assert describe(GLANCE, 5) == "testi"
    assert describe(Glance(Phase.LOADING)) == "loading the model"


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    with TerminalObserver(quiet=True, stream=stream) as observer:
        observer.note("text")
        observer.update(GLANCE)
    assert stream.getvalue() == ""


def on_a_terminal(command: Command, *words: object, **environ: str) -> tuple[int, str]:
    """Exit code of a command and all that its terminal received."""
    ours, theirs = pty.openpty()
    program = str(Path(sys.executable).with_name("loadgen-generic"))
    process = subprocess.Popen(
        [program, *map(str, words)],
        cwd=command.directory,
        env={**command.environ, "TERM": "xterm", **environ},
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
        *("run", models("matmul"), "--scenario=SingleStream", "--loadgen_duration_sec=3"),
        *("--output_dir", "out"),
    )
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"testing: \d s, [\d,]+ queries, [\d,.]+/s, p90 [\d.]+ [um]s, ", plain)
    assert "VALID: SingleStream" in plain
    before = text[: text.index("VALID: SingleStream")]
    assert before.endswith("\r\x1b[K"), "nothing of the line is left"


def test_the_live_line_stays_one_line(command: Command) -> None:
    code, text = on_a_terminal(
        command,
        *("run", "--backend=fake", "--backend_options=latency_us=1000", "--scenario=Server"),
        *("--target_qps=300", "--target_latency_ms=50", "--samples=1000", "--output_dir=out"),
        *("--runner=inline", "--concurrency=1", "--batch_size=1"),
        COLUMNS="80",
        NO_COLOR="1",
    )
    assert code == 0
    assert "within 50 ms so far" in text
    assert not re.search(r"\x1b\[[0-9;]*3\d[0-9;]*m", text), "no colours"
    lines = re.findall(r"\rtesting: ([^\r\n\x1b]*)", text)
    assert lines
    assert all(len("testing: " + line) < 80 for line in lines), "none is wrapped"


def test_a_dumb_terminal_is_a_log(command: Command) -> None:
    code, text = on_a_terminal(
        command,
        *("run", "--backend=fake", "--backend_options=latency_us=2000", "--samples=500"),
        *("--output_dir=out", "--runner=inline", "--concurrency=1", "--batch_size=1"),
        TERM="dumb",
    )
    assert code == 0
    assert "LoadGen test started" in text
    assert "\x1b" not in text


def test_a_log_and_json_have_no_control_characters(command: Command) -> None:
    outcome = command(
        *("run", "--backend=fake", "--backend_options=latency_us=100000", "--samples=25"),
        *("--batch_size=1", "--concurrency=1", "--runner=inline", "--json"),
    )
    assert json.loads(outcome.stdout)["samples_completed"] == 25
    assert re.search(r"\ntesting: 2 s, \d+ samples, [\d.]+/s, long enough\n", outcome.stderr)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", outcome.stderr)


def test_a_quiet_terminal_gets_the_result(command: Command, models: Callable[[str], Path]) -> None:
    code, text = on_a_terminal(
        command, "run", models("matmul"), "--samples=5", "--quiet", "--output_dir", "out"
    )
    assert code == 0
    assert text.startswith("VALID: Offline")
    assert "\x1b" not in text
