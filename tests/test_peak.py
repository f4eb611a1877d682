"""The search for a peak: the arithmetic, a real search, and how it survives its end."""

from __future__ import annotations

import importlib.util
import json
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, Running, fake
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.campaigns.bisection import MOST_TRIALS, Trial, next_step, settled
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.loads import LoadSearch
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import read_result

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "src" / "main.py"
BENCH_MODELS = ROOT / "benchmarks" / "models.py"
# About 900 queries/s at most; every query of a second's test that waits behind 18 others is late.
SERVER: dict[str, object] = {
    **fake("latency_us=1000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "Server",
    "target_latency_ms": 20,
    "loadgen_duration_sec": 1,
    "mode": "find_peak",
}
# A query on its own is late: the first trial says that there is no answer.
HOPELESS = SERVER | {"target_latency_ms": 0.5}

Start = Callable[..., Running]


def four_digits(load: float) -> float:
    return float(f"{load:.4g}")


def whole(load: float) -> float:
    return float(max(1, round(load)))


def search(
    passes: Callable[[float, bool], bool],
    first: float,
    sustained: Callable[[float], float] = lambda load: 0.0,
    round_load: Callable[[float], float] = four_digits,
    least: float = 0.0,
) -> list[Trial]:
    """All trials of a search for a limit that ``passes(load, full)`` knows."""

    def trial(load: float, full: bool) -> Trial:
        return Trial(load, full, passes(load, full), sustained(load))

    trials = [trial(round_load(first), False)]
    while (step := next_step(trials, round_load, least)) is not None:
        trials.append(trial(step.load, step.full))
    return trials


LIMITS = st.floats(0.01, 1e7)
GUESSES = st.floats(0.125, 8)


@given(LIMITS, GUESSES, st.booleans())
def test_the_limit_is_met_within_four_percent(limit: float, guess: float, tells: bool) -> None:
    trials = search(
        lambda load, full: load <= limit,
        limit * guess,
        lambda load: limit if tells and load > 1.1 * limit else 0.0,
    )
    found = settled(trials)
    assert len(trials) <= MOST_TRIALS
    assert found.low is not None
    assert found.high is not None
    assert limit / 1.045 <= found.low <= limit < found.high


@given(LIMITS, st.floats(0.5, 2), st.floats(0.95, 1.05))
def test_short_trials_that_mislead_are_overruled(limit: float, guess: float, bias: float) -> None:
    """By five percent, to either side; the first trial is at half of what a probe measured."""
    found = settled(search(lambda x, full: x <= limit * (1 if full else bias), limit * guess))
    assert found.low is not None
    assert limit / 1.06 <= found.low <= limit


@given(LIMITS, st.floats(0.5, 2))
def test_a_machine_that_became_busy_meanwhile_gets_an_answer(limit: float, guess: float) -> None:
    """Nothing that short trials bore passes at full length."""
    found = settled(search(lambda x, full: x <= limit * (0.65 if full else 1), limit * guess))
    assert found.low is not None
    assert 0.6 * limit <= found.low <= 0.65 * limit


@given(LIMITS, st.floats(0.5, 2), st.floats(0.3, 1))
def test_however_busy_the_answer_is_near_what_failed(
    limit: float, guess: float, left: float
) -> None:
    found = settled(search(lambda x, full: x <= limit * (left if full else 1), limit * guess))
    if found.low is not None:
        assert found.high is not None
        assert found.high <= 1.4 * found.low


@given(LIMITS, GUESSES, st.randoms(use_true_random=False))
def test_whatever_the_trials_say_it_ends_and_claims_only_what_passed(
    limit: float, guess: float, chance: random.Random
) -> None:
    trials = search(lambda load, full: chance.random() < 0.5, limit * guess)
    assert len(trials) <= MOST_TRIALS
    assert len({(t.load, t.full) for t in trials}) == len(trials), "no trial is done twice"
    found = settled(trials)
    if found.low is not None:
        assert any(t.load == found.low and t.full and t.passed for t in trials)


@given(st.integers(1, 600), st.sampled_from([4, 8, 32]))
def test_whole_numbers(limit: int, first: int) -> None:
    trials = search(lambda load, full: load <= limit, first, round_load=whole, least=1.0)
    low = settled(trials).low
    assert low is not None
    assert low == int(low) <= limit
    assert low >= limit / 1.1 - 1


@given(LIMITS, GUESSES)
@settings(max_examples=30)
def test_no_load_is_tried_for_ever(limit: float, guess: float) -> None:
    trials = search(lambda load, full: False, limit * guess)
    assert len(trials) <= MOST_TRIALS
    assert settled(trials).low is None


def test_a_failure_on_a_disturbed_machine_gets_a_second_look() -> None:
    def last(doubtful: bool, then: bool = False) -> list[tuple[float, bool]]:
        trials = [Trial(100, True, True), Trial(103, True, False, doubtful=doubtful)]
        if then:
            trials.append(Trial(103, True, False, doubtful=True))
        step = next_step(trials, four_digits)
        return [] if step is None else [(step.load, step.full)]

    assert last(doubtful=True) == [(103, True)]
    assert last(doubtful=False) == []
    assert last(doubtful=True, then=True) == []


@pytest.mark.parametrize(("failed", "told"), [(500, True), (103, False)])
def test_a_gap_that_is_left_is_told(failed: float, told: bool, tmp_path: Path) -> None:
    """Where the trials are used up first: nobody is to think that the limit is at its lower end."""
    known: dict[str, Any] = {"full": True, "percentile_ns": 0, "sustained": 0.0, "hopeless": False}
    known |= {"doubts": [], "directory": "trials/001"}
    runs = [{"load": 100, "passed": True, **known}, {"load": failed, "passed": False, **known}]
    fixed = {"runner": "inline", "target_latency_ms": 20, "target_latency_percentile": 99}
    found = Journal(tmp_path, "search.json", {"runs": runs, "fixed": fixed})
    sentence = LoadSearch(BenchmarkConfig.model_validate(SERVER)).answer(found).document["sentence"]
    assert f"; {failed} does not" in sentence
    assert ("nothing between the two was tried" in sentence) is told


def journal(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "search.json").read_text("utf-8"))
    return content


def wait_for_trial(running: Running, number: int) -> None:
    """Until so many trials are under way."""
    end = time.monotonic() + 60
    while not (running.run_dir / "trials" / f"{number:03d}" / ".progress").exists():
        assert running.process.poll() is None, running.finish()
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
def test_a_search_from_end_to_end(command: Command) -> None:
    outcome = command("run", **SERVER)
    result, content = outcome.result, journal(outcome.run_dir)
    assert result.valid
    assert result.search is not None
    trials = content["runs"]
    assert len(trials) == result.search.trials <= MOST_TRIALS
    assert not trials[0]["full"], "short trials come first"
    best = result.search.highest_valid
    assert best is not None
    assert 300 < best < 1000, "the fake backend answers at most 1000 a second"
    assert result.config.effective["target_qps"] == best
    assert any(t["full"] and t["valid"] and t["load"] == best for t in trials)
    # A pass outweighs a failure at less, which a disturbance explains.
    passed = [t["load"] for t in trials if t["full"] and t["passed"]]
    assert best == max(passed)
    assert result.search.lowest_invalid is None or result.search.lowest_invalid > best
    assert content["state"] == "finished"
    disturbed = any("disturbed in" in doubt for doubt in result.doubts)
    assert disturbed == any(trial["doubts"] for trial in trials)
    for trial in trials:
        assert read_result(outcome.run_dir / trial["directory"]).valid is trial["valid"]
        assert f"trial {trial['number']}: {trial['load']:.4g} queries/s" in outcome.stderr

    assert outcome.stdout.startswith("VALID: Server")
    assert f"{best:.12g} queries/s is the highest load found" in outcome.stdout
    pasted = shlex.split(result.search.command)
    assert result.search.command in outcome.stdout
    again = command(*pasted[1:], output_dir="again")
    assert again.effective["target_qps"] == best
    assert again.effective["target_latency_ms"] == 20
    assert again.effective["runner"] == "inline"


@pytest.mark.slow
def test_killed_and_started_again_it_loses_the_trial_under_way(
    command: Command, start: Start
) -> None:
    running = start(**SERVER)
    wait_for_trial(running, 3)
    running.process.kill()
    running.finish()
    before = journal(running.run_dir)
    assert [t["number"] for t in before["runs"]] == [1, 2]
    results = list(running.run_dir.rglob("result.json"))
    assert len(results) == 2
    assert all(read_result(path) for path in results), "what is there is whole"

    other = command("run", **SERVER | {"target_latency_ms": 30})
    assert other.code == 2
    assert "--target_latency_ms 20" in other.stderr
    assert journal(running.run_dir) == before

    outcome = command("run", **SERVER)
    assert "2 trial(s) are done" in outcome.stderr
    after = journal(outcome.run_dir)
    assert outcome.result.valid
    assert after["runs"][:2] == before["runs"]
    assert len(after["runs"]) <= MOST_TRIALS
    assert (outcome.run_dir / "trials" / "003-unfinished-1").is_dir()
    assert not (outcome.run_dir / "run-2").exists()


def test_ctrl_c_says_how_to_go_on_and_keeps_others_out_meanwhile(
    command: Command, start: Start
) -> None:
    running = start(**SERVER)
    wait_for_trial(running, 2)
    second = command("run", **SERVER)
    assert second.code == 2
    assert "another command is at work" in second.stderr
    running.process.send_signal(signal.SIGINT)
    outcome = running.finish()
    assert outcome.code == 130
    assert "1 finished trial(s)" in outcome.stderr
    assert "run the same command again" in outcome.stderr
    assert outcome.error["exit_code"] == 130
    assert len(journal(outcome.run_dir)["runs"]) == 1


def test_a_bound_that_no_query_meets(command: Command) -> None:
    outcome = command("run", **HOPELESS, strict=True)
    assert outcome.code == 3
    assert len(journal(outcome.run_dir)["runs"]) == 1, "one trial is enough to see it"
    assert outcome.result.valid is False
    assert outcome.stdout.startswith("INVALID: no load stays within 500 us")
    assert "--target_latency_ms" in outcome.result.next_command
    lenient = command("run", **HOPELESS, json=True)
    assert lenient.code == 0
    assert json.loads(lenient.stdout) == journal(lenient.run_dir / "run-2"), "a new search"


def test_a_journal_that_cannot_be_read_is_not_overwritten(command: Command) -> None:
    directory = command.directory / "out"
    directory.mkdir()
    for name, text in (("request.json", "{}"), ("search.json", "[1]")):
        (directory / name).write_text(text)
    outcome = command("run", **HOPELESS)
    assert outcome.code == 2
    assert "search.json cannot be read" in outcome.stderr
    assert (directory / "search.json").read_text() == "[1]"


@pytest.mark.slow
def test_multistream_finds_the_largest_query(command: Command) -> None:
    """Nine samples take 9 ms and a little, ten are over the bound."""
    outcome = command(
        "run",
        **fake("per_sample_us=1000"),
        scenario="MultiStream",
        mode="find_peak",
        target_latency_ms=9.9,
        target_latency_percentile=50,
        loadgen_duration_sec=0.3,
        min_query_count=20,
    )
    search = outcome.result.search
    assert search is not None
    assert search.highest_valid is not None
    assert 6 <= search.highest_valid <= 9
    assert outcome.effective["samples_per_query"] == search.highest_valid


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"scenario": "Offline", "max_query_count": 5}, "--max_query_count 5"),
        ({"scenario": "MultiStream"}, "--target_latency_ms"),
        ({"scenario": "Server", "max_query_count": 5}, "--max_query_count 5"),
        ({"scenario": "Server", "repeat": 2}, "--repeat 2"),
    ],
)
def test_what_cannot_be_searched(flags: dict[str, object], words: str, command: Command) -> None:
    outcome = command("run", **fake(), mode="find_peak", **flags)
    assert outcome.code == 2
    assert words in outcome.stderr
    assert not outcome.run_dir.exists()


def test_through_the_request_of_cm(tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.json"
    options = {**HOPELESS, "output_dir": str(tmp_path / "out")}
    request.write_text(json.dumps({"options": options, "report": str(report)}))
    done = subprocess.run([sys.executable, str(MAIN), str(request)], check=False)
    assert done.returncode == 0
    told = json.loads(report.read_text())
    assert told == {"status": "ok", "result_json": str(tmp_path / "out" / "result.json")}
    assert read_result(Path(told["result_json"])).search is not None


@pytest.mark.slow
def test_killed_at_any_point(command: Command, start: Start) -> None:
    """Until it is through: what is finished is never lost or changed, one trial at most is."""
    chance, known, kills = random.Random(5), list[Any](), 0
    while True:
        running = start(**SERVER)
        try:
            running.process.communicate(timeout=chance.uniform(1.5, 8))
            break
        except subprocess.TimeoutExpired:
            kills += 1
            running.process.kill()
            running.process.communicate()
        if not (running.run_dir / "search.json").exists():
            continue
        found = journal(running.run_dir)["runs"]
        assert found[: len(known)] == known
        known = found
        for path in running.run_dir.rglob("result.json"):
            read_result(path)
    content = journal(running.run_dir)
    assert content["state"] == "finished"
    assert content["runs"][: len(known)] == known
    assert len(content["runs"]) <= MOST_TRIALS
    assert kills > 1
    unfinished = list((running.run_dir / "trials").glob("*-unfinished-*"))
    assert len(unfinished) <= kills


def bench_model(name: str, directory: Path) -> Path:
    """One of the models that the benchmarks measure."""
    spec = importlib.util.spec_from_file_location("bench_models", BENCH_MODELS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(BENCH_MODELS.parent))
    spec.loader.exec_module(module)
    path = directory / f"{name}.onnx"
    path.write_bytes(getattr(module, name)())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("who", ["fake", "mlp"])
def test_the_limit_of_a_fine_sweep(who: str, command: Command) -> None:
    """Highest rate that is VALID, in steps of 2 %, by tests of the same length."""
    flags = SERVER | {"loadgen_duration_sec": 4}
    if who == "mlp":
        for name in fake(""):
            del flags[name]
        del flags["backend_options"]
        # As many queries at once as are due would make the limit one of batching.
        flags |= {"model_path": bench_model("mlp", command.directory), "intra_op_threads": 1}
    found = command("run", **flags)
    answer = found.result.search
    assert answer is not None
    assert answer.trials <= MOST_TRIALS
    doubts = [doubt for trial in journal(found.run_dir)["runs"] for doubt in trial["doubts"]]
    limit = answer.highest_valid
    if limit is None:
        skip_if_disturbed(doubts)
    assert limit is not None, found.result.verdict
    swept = [0.0]
    for step in range(-2, 6):
        rate = four_digits(limit * 1.02**step)
        single = flags | {"mode": "performance", "target_qps": rate, "output_dir": f"s{step}"}
        result = command("run", **single).result
        doubts += result.doubts
        if result.valid:
            swept.append(rate)
    near = max(swept) / 1.05 <= limit <= max(swept) * 1.05
    if not near:
        skip_if_disturbed(doubts)
    assert near, (limit, swept)


def skip_if_disturbed(doubts: list[str]) -> None:
    if doubts:
        pytest.skip(f"the machine was disturbed, so the two cannot be compared: {doubts[0]}")
