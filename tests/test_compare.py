"""Is it faster? What the command says of results whose figures are known."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import DESKTOP, PHONE, chromium, opened
from command import Command
from hypothesis import given
from hypothesis import strategies as st
from past_results import peak_of, repeated, single
from playwright.sync_api import Browser

from loadgen_generic.cli import main
from loadgen_generic.results.comparison.interval import dropped_pairs, ratio

__all__ = ["chromium"]

# Five runs of a machine like others: within 1 %.
STEADY = (2.000e6, 2.004e6, 2.009e6, 2.013e6, 2.016e6)
Compare = Callable[..., tuple[int, dict[str, Any], str]]
VALUES = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=12)


def scaled(factor: float) -> list[float]:
    return [factor * value for value in STEADY]


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Compare:
    """The command with ``--json``: exit code, what it printed, and standard error."""

    def run(*words: object) -> tuple[int, dict[str, Any], str]:
        code = main(["compare", *map(str, words), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out or "{}"), captured.err

    return run


def below(first: int, second: int, rank: int) -> float:
    """Probability that fewer than ``rank`` pairs are the wrong way round, by counting all orders."""
    orders = list(itertools.combinations(range(first + second), first))
    counts = [
        sum(b < a for a in order for b in range(first + second) if b not in order)
        for order in orders
    ]
    return sum(count < rank for count in counts) / len(orders)


@pytest.mark.parametrize(
    ("first", "second"), [(1, 1), (2, 3), (3, 3), (3, 5), (4, 4), (5, 5), (4, 7)]
)
def test_interval_drops_as_many_pairs_as_its_confidence_allows(first: int, second: int) -> None:
    rank = dropped_pairs(first, second, 0.95)
    assert below(first, second, rank) <= 0.025 < below(first, second, rank + 1)
    assert dropped_pairs(second, first, 0.95) == rank


def test_many_runs_are_counted_like_few() -> None:
    exact = dropped_pairs(25, 25, 0.95)
    assert dropped_pairs(26, 25, 0.95) == pytest.approx(exact * 26 / 25, abs=3)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw, held, trials = random.Random(1), 0, 1000
    for _ in range(trials):
        # Runs are slow at times, and never fast.
        sides = [[factor * (1 + draw.expovariate(100)) for _ in range(5)] for factor in (1.0, 1.03)]
        interval = ratio(*sides, 0.95).interval
        assert interval is not None
        held += interval[0] <= 1.03 <= interval[1]
    assert 0.95 * trials <= held <= 0.985 * trials  # 96.8 % of trials


@given(VALUES, VALUES, st.floats(0.01, 100))
def test_a_ratio_turns_round_with_its_sides_and_scales_with_them(
    first: list[float], second: list[float], factor: float
) -> None:
    forth, back = ratio(first, second, 0.95), ratio(second, first, 0.95)
    assert forth.value * back.value == pytest.approx(1)
    assert (forth.interval is None) == (back.interval is None)
    if forth.interval and back.interval:
        assert forth.interval[0] <= forth.value * (1 + 1e-9)
        assert forth.interval[0] * back.interval[1] == pytest.approx(1)
    more = ratio(first, [factor * value for value in second], 0.95)
    assert more.value == pytest.approx(factor * forth.value)


@pytest.mark.parametrize(
    ("factor", "verdict", "percent"),
    [(1.03, "slower", -3.0), (0.97, "faster", 3.0), (1.0, "no difference", 0.0)],
)
def test_latencies(
    tmp_path: Path, compare: Compare, factor: float, verdict: str, percent: float
) -> None:
    first, second = repeated(tmp_path / "a", STEADY), repeated(tmp_path / "b", scaled(factor))
    code, found, _ = compare(first, second / "result.json")
    assert code == 0
    (against,) = found["against"]
    assert against["verdict"] == verdict
    assert against["change"]["percent"] == pytest.approx(percent)
    for change in (against["change"], against["latencies"]["p99"]):
        assert change["interval"][0] < percent < change["interval"][1]
    assert against["latencies"]["p99"]["percent"] == pytest.approx(percent, abs=1e-3)


def test_more_throughput_is_faster(tmp_path: Path, compare: Compare) -> None:
    sides = [repeated(tmp_path / n, scaled(f), "Offline") for n, f in (("a", 1), ("b", 1.1))]
    (against,) = compare(*sides)[1]["against"]
    assert (against["verdict"], against["latencies"]) == ("faster", {})
    assert against["change"]["percent"] == pytest.approx(10)


def test_a_sure_difference_too_small_to_matter_is_none(tmp_path: Path, compare: Compare) -> None:
    sides = [[f * (1e6 + n) for n in range(8)] for f in (1, 1.005)]
    a, b = (repeated(tmp_path / name, side) for name, side in zip("ab", sides, strict=True))
    (against,) = compare(a, b)[1]["against"]
    assert against["change"]["interval"][1] < 0
    assert against["verdict"] == "no difference"
    assert "less than the 1 %" in against["why"]


def test_one_slow_run_hides_no_difference(tmp_path: Path, compare: Compare) -> None:
    slow = [*scaled(1.03)[:4], 3 * STEADY[0]]
    found = compare(repeated(tmp_path / "a", STEADY), repeated(tmp_path / "b", slow))[1]
    assert found["against"][0]["verdict"] == "slower"


def test_single_runs_say_how_far_but_not_whether(tmp_path: Path, compare: Compare) -> None:
    a, b = single(tmp_path / "a", 2e6), single(tmp_path / "b", 2.2e6)
    code, found, _ = compare(a, b)
    (against,) = found["against"]
    assert (code, against["verdict"]) == (0, "cannot say")
    assert against["change"] == {"percent": pytest.approx(-10), "interval": None}
    command = "loadgen-generic run --model_path net.onnx --scenario SingleStream --repeat 5"
    assert f"A: {command}; B: {command}" in against["remedy"]


def test_server_compares_latency_at_the_same_load_only(tmp_path: Path, compare: Compare) -> None:
    a = repeated(tmp_path / "a", STEADY, "Server")
    b = repeated(tmp_path / "b", scaled(1.1), "Server")
    c = repeated(tmp_path / "c", STEADY, "Server", effective={"target_qps": 120.0})
    _, found, _ = compare(a, b, c)
    assert found["measure"] == {"name": "latency p99", "unit": "ns", "higher_is_better": False}
    assert [each["verdict"] for each in found["against"]] == ["slower", "cannot say"]
    assert "100 queries/s, C 120" in found["against"][1]["why"]
    assert "--mode find_peak" in found["against"][1]["remedy"]


def test_peaks_are_compared_by_load(tmp_path: Path, compare: Compare) -> None:
    sides = [
        peak_of(tmp_path / "a", 100),
        peak_of(tmp_path / "b", 150),
        peak_of(tmp_path / "c", None),
    ]
    _, found, _ = compare(*sides)
    assert found["measure"]["unit"] == "queries/s"
    assert found["against"][0]["change"]["percent"] == pytest.approx(50)
    assert found["against"][1]["why"] == "C measured nothing"


@pytest.mark.parametrize(
    ("scenario", "changes", "named"),
    [
        ("Offline", {}, "scenario"),
        ("SingleStream", {"effective": {"target_latency_percentile": 99.0}}, "percentile"),
        ("SingleStream", {"mode": "AccuracyOnly"}, "accuracy"),
    ],
)
def test_what_has_no_common_measure_is_refused(
    tmp_path: Path, compare: Compare, scenario: str, changes: dict[str, Any], named: str
) -> None:
    a, b = single(tmp_path / "a", 2e6), single(tmp_path / "b", 2e6, scenario, **changes)
    code, found, error = compare(a, b)
    assert (code, found) == (2, {})
    assert named in error
    assert str(b) in error


def test_unlike_results_are_listed_and_warned_about(tmp_path: Path, compare: Compare) -> None:
    host = {"name": "there", "cpu": "another", "cores_available": 4}
    other = repeated(
        tmp_path / "b",
        STEADY,
        effective={"batch_size": 4},
        packages={"onnxruntime": "1.31.0"},
        host=host,
        model={"path": "/models/net2.onnx", "sha256": "cd" * 32, "inputs": [], "outputs": []},
        valid=False,
        invalid_reasons=["too short"],
        doubts=["noisy"],
    )
    _, found, _ = compare(repeated(tmp_path / "a", STEADY), other)
    rows = {each["name"]: each["values"] for each in found["differences"]}
    assert rows["batch_size"] == ["1", "4"]
    assert rows["onnxruntime"] == ["1.32.0", "1.31.0"]
    assert rows["host"] == ["here", "there"]
    assert "cores available" not in rows
    warnings = " ".join(found["against"][0]["warnings"])
    for text in ("different models", "(host, processor)", "B is INVALID: too short", "noisy"):
        assert text in warnings


@pytest.mark.parametrize(
    ("factor", "limit", "code"),
    [(1.05, "3%", 3), (1.05, "3", 3), (1.02, "3%", 0), (0.9, "3%", 0)],
)
def test_gate(tmp_path: Path, compare: Compare, factor: float, limit: str, code: int) -> None:
    a, b = repeated(tmp_path / "a", STEADY), repeated(tmp_path / "b", scaled(factor))
    found = compare(a, b, "--fail_if_slower", limit)
    assert found[0] == code
    assert ("B is slower than" in found[2]) == bool(code)


def test_gate_lets_pass_what_may_be_chance(tmp_path: Path, compare: Compare) -> None:
    wild = [1.0e6, 1.2e6, 2.2e6, 2.8e6, 3.5e6]
    a, b = repeated(tmp_path / "a", STEADY), repeated(tmp_path / "b", wild)
    code, found, _ = compare(a, b, "--fail_if_slower", "3%")
    assert found["against"][0]["change"]["percent"] < -3
    assert code == 0
    assert "--repeat 10" in found["against"][0]["remedy"]


def test_gate_goes_by_the_figure_alone_where_there_is_one_run(
    tmp_path: Path, compare: Compare
) -> None:
    a, b = single(tmp_path / "a", 2e6), single(tmp_path / "b", 2.2e6)
    assert compare(a, b, "--fail_if_slower", "3%")[0] == 3


def test_gate_does_not_pass_what_it_cannot_judge(tmp_path: Path, compare: Compare) -> None:
    a = repeated(tmp_path / "a", STEADY)
    b = repeated(tmp_path / "b", STEADY, valid=False, invalid_reasons=["too short"])
    code, _, error = compare(a, b, "--fail_if_slower", "3%")
    assert code == 2
    assert "INVALID" in error


@pytest.mark.parametrize("limit", ["fast", "0", "-3", "100%", "nan"])
def test_limit_that_is_none(tmp_path: Path, compare: Compare, limit: str) -> None:
    a = single(tmp_path / "a", 2e6)
    code, _, error = compare(a, a, f"--fail_if_slower={limit}")
    assert code == 2
    assert f"--fail_if_slower {limit}: must be a percentage" in error


@pytest.mark.parametrize("content", ["", "[]", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_damaged_result(tmp_path: Path, compare: Compare, content: str) -> None:
    a = single(tmp_path / "a", 2e6)
    (tmp_path / "broken.json").write_text(content)
    code, _, error = compare(a, tmp_path / "broken.json")
    assert code == 2
    assert "broken.json" in error


def test_runs_that_are_gone_are_said(tmp_path: Path, compare: Compare) -> None:
    a, b = repeated(tmp_path / "a", STEADY), repeated(tmp_path / "b", scaled(1.1))
    (b / "runs" / "003" / "result.json").unlink()
    (against,) = compare(a, b)[1]["against"]
    assert against["verdict"] == "slower"
    assert "the single runs of B cannot be read" in against["warnings"][0]
    assert against["latencies"]["p50"]["interval"] is None


def test_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = repeated(tmp_path / "a", STEADY)
    b = repeated(tmp_path / "[b]", scaled(1.05), effective={"batch_size": 4})
    assert main(["compare", str(a), str(b)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("B is slower than A: 5.0 % slower (95 % interval 4.")
    for words in ("2.009 ms", "2.109 ms", "0.8 %", "baseline", "batch_size", str(b)):
        assert words in text
    assert "\x1b" not in text
    assert "Doubtful" not in text


def test_table_says_that_runs_were_disturbed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = repeated(tmp_path / "a", STEADY)
    b = repeated(tmp_path / "b", scaled(1.05), doubts=["others were busy"])
    assert main(["compare", str(a), str(b)]) == 0
    text = capsys.readouterr().out
    assert re.match(r"B is slower than A: .*\. Doubtful: see the warnings\.\n", text)
    assert "  warning:   B is doubtful: others were busy\n" in text


def test_page_shows_runs_and_change(tmp_path: Path, chromium: Browser) -> None:
    sides = [
        repeated(tmp_path / "<a>", STEADY),
        repeated(tmp_path / "b", scaled(1.05)),
        repeated(tmp_path / "c", STEADY),
    ]
    page = tmp_path / "page.html"
    assert main(["compare", *map(str, sides), "--html", str(page)]) == 0
    for size in (PHONE, DESKTOP):
        with opened(chromium, page, size) as watched:
            shown = watched.page
            assert (
                "B is slower than A: 5.0 % slower" in shown.locator(".verdict.slower").inner_text()
            )
            dots = shown.locator("svg").nth(0).locator("circle")
            assert dots.count() == 15
            assert dots.nth(0).text_content() == "run 1: 2.00 ms"
            places = [dots.nth(n).bounding_box() for n in (4, 5)]
            assert places[0]
            assert places[1]
            assert places[0]["x"] < places[1]["x"], "the slowest of A is left of the fastest of B"
            assert shown.locator("svg").nth(1).locator("circle.slower").count() == 1
            assert str(sides[0]) in shown.locator("table").nth(0).inner_text()
            assert shown.evaluate("document.documentElement.scrollWidth") <= size[0]
            shown.keyboard.press("Tab")
            assert shown.evaluate("document.activeElement.getAttribute('aria-label')") == "Results"


def test_page_that_cannot_be_written(tmp_path: Path, compare: Compare) -> None:
    a = single(tmp_path / "a", 2e6)
    code, _, error = compare(a, a, "--html", tmp_path / "nowhere" / "page.html")
    assert code == 2
    assert "--html" in error


def test_two_real_runs(command: Command) -> None:
    for name, latency, rate in (("a", 2000, 600), ("b", 8000, 150)):
        done = command.fake(
            f"latency_us={latency}",
            runner="inline",
            batch_size=1,
            loadgen_duration_sec=0.2,
            loadgen_expected_qps=rate,
            output_dir=name,
        )
        assert done.code == 0, done.stderr
    done = command("compare", "a", "b", fail_if_slower="30%")
    assert done.code == 3, done.stderr
    assert done.stdout.startswith("B and A: cannot say: ")
    assert "backend_options latency_us" in done.stdout


@pytest.mark.slow
def test_trial_with_a_known_truth(tmp_path: Path) -> None:
    """The benchmark's machinery; what the verdicts are is up to the machine, which is busy here."""
    program = Path(__file__).resolve().parent.parent / "benchmarks" / "compare.py"
    words = ["--trials", "1", "--runs", "4", "--seconds", "0.1", "--slower", "900"]
    done = subprocess.run(
        [sys.executable, str(program), *words, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (file,) = tmp_path.iterdir()
    report = json.loads(file.read_text("utf-8"))
    slower, equal = report["trials"]
    assert (slower["kind"], equal["kind"]) == ("slower", "equal"), done.stdout
    assert slower["right"] == (slower["verdict"] == "slower")
    assert equal["right"] == (equal["verdict"] == "no difference")
    assert [len(side) for side in equal["values"]] == [4, 4]
    assert f"a slowdown of 900 % found in {int(slower['right'])} of 1 trials" in done.stdout
