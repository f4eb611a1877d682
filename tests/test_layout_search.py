"""The search for the best layout: what it proposes, a real search, and how it survives its end."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, Running, fake

from loadgen_generic.campaigns import layouts
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.layouts import MOST_SHORT, LayoutSearch
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.results.result import read_result
from loadgen_generic.runners.layout import Layout

Measure = Callable[[Layout], float | None]


def search(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    measure: Measure,
    first: Layout,
    cores: int,
    **flags: object,
) -> Journal:
    """All trials of a search where ``measure`` stands for a test and ``first`` is what a
    calibration chose."""
    monkeypatch.setattr(layouts, "available_cores", lambda: cores)
    config = BenchmarkConfig.model_validate({"backend": "fake", "mode": "find_peak", **flags})
    strategy = LayoutSearch(config)
    facts = {"threaded": True, "batch_size": 0, "bytes_per_sample": 4}
    journal = Journal(directory, "search.json", {"runs": [], "fixed": facts})
    layout = first
    while (attempt := strategy.next(journal)) is not None:
        asked = attempt.config
        if journal.runs:
            layout = Layout(
                asked.runner,
                asked.concurrency or 0,
                asked.intra_op_threads or 0,
                asked.batch_size or 0,
            )
        value = measure(layout)
        journal.runs.append(
            {
                "number": len(journal.runs) + 1,
                "layout": layouts._options(layout, threaded=True),
                "full": attempt.full,
                "passed": value is not None,
                "value": value,
                "unit": "",
                "why": "",
                "doubts": [],
            }
        )
    return journal


def short_trials(journal: Journal) -> list[Layout]:
    return [layouts._layout(run["layout"]) for run in journal.runs if not run["full"]]


def batches_and_workers_pay(layout: Layout) -> float:
    """Samples/s where a batch costs 2 ms, a sample 50 us, and threads help less than workers."""
    threads = layout.intra_op_threads**0.7
    return layout.workers * layout.batch_size / (2e-3 + 50e-6 * layout.batch_size / threads)


@pytest.mark.parametrize(("cores", "near"), [(2, 0.98), (8, 0.9)])
@pytest.mark.parametrize("seed", [0, 1])
def test_near_the_best_in_twenty_trials_from_a_bad_start(
    cores: int, near: float, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Layout("inline", 1, cores, 1)
    journal = search(
        tmp_path, monkeypatch, batches_and_workers_pay, start, cores, seed=seed, samples=10
    )
    tried = short_trials(journal)
    assert tried[0] == start
    assert Layout("threadpool", cores, 1, 1) in tried[1:4], "those of the rules come next"
    assert len(tried) == len(set(tried)) == MOST_SHORT
    assert all(layout.workers * layout.intra_op_threads <= cores for layout in tried)
    best = batches_and_workers_pay(Layout("threadpool", cores, 1, 1024))
    assert max(map(batches_and_workers_pay, tried)) >= near * best
    full = [layouts._layout(run["layout"]) for run in journal.runs if run["full"]]
    first, second = sorted(tried, key=batches_and_workers_pay, reverse=True)[:2]
    assert full == [first, second, second, first]


def test_the_same_values_lead_to_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trials(name: str) -> list[Layout]:
        (tmp_path / name).mkdir()
        start = Layout("threadpool", 4, 1, 16)
        return short_trials(
            search(tmp_path / name, monkeypatch, batches_and_workers_pay, start, 4, seed=3)
        )

    assert trials("one") == trials("two")


def test_a_layout_that_fails_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(layout: Layout) -> float | None:
        return None if layout.batch_size >= 64 else batches_and_workers_pay(layout)

    journal = search(tmp_path, monkeypatch, measure, Layout("inline", 1, 2, 4), 2)
    assert len(set(short_trials(journal))) == MOST_SHORT
    assert any(not run["passed"] for run in journal.runs)
    assert all(run["passed"] for run in journal.runs if run["full"])


def test_a_batch_is_no_larger_than_its_inference_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At ten samples a second a batch of 1024 would take minutes."""
    journal = search(
        tmp_path, monkeypatch, lambda layout: 5.0 * layout.workers, Layout("inline", 1, 2, 1), 2
    )
    assert max(layout.batch_size for layout in short_trials(journal)) <= 4


@pytest.mark.parametrize(
    ("flags", "runners", "workers", "threads", "batches"),
    [
        ({"runner": "processpool"}, {"processpool"}, {1, 2, 4}, {1, 2, 4}, None),
        ({"concurrency": 2}, None, {2}, {1, 2}, None),
        ({"intra_op_threads": 2}, None, {1, 2}, {2}, None),
        ({"batch_size": 24}, None, {1, 2, 4}, {1, 2, 4}, {24}),
        ({"concurrency": 8, "intra_op_threads": 3}, None, {8}, {3}, None),
        ({"scenario": "SingleStream"}, {"inline"}, {1}, {1, 2, 3, 4}, {1}),
    ],
)
def test_what_the_user_fixed_stays(
    flags: dict[str, object],
    runners: set[str] | None,
    workers: set[int],
    threads: set[int],
    batches: set[int] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Layout(
        next(iter(runners or {"threadpool"})), max(workers), min(threads), max(batches or {1})
    )
    journal = search(tmp_path, monkeypatch, batches_and_workers_pay, first, 4, **flags)
    tried = short_trials(journal)
    if runners is not None:
        assert {layout.runner for layout in tried} == runners
    assert {layout.workers for layout in tried} >= workers
    assert {layout.intra_op_threads for layout in tried} >= threads
    if len(workers) == 1:
        assert {layout.workers for layout in tried} == workers
    if len(threads) == 1:
        assert {layout.intra_op_threads for layout in tried} == threads
    if batches is not None:
        assert {layout.batch_size for layout in tried} == batches


def test_a_study_that_was_deleted_is_made_anew_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Layout("inline", 1, 2, 1)
    journal = search(tmp_path, monkeypatch, batches_and_workers_pay, start, 2)
    del journal.runs[10:]
    config = BenchmarkConfig.model_validate({"backend": "fake", "mode": "find_peak"})
    (tmp_path / "search.db").unlink()
    assert LayoutSearch(config).next(journal) is not None
    assert sorted(states(tmp_path).values()) == [1, 10], "one for each trial, and the next"
    (tmp_path / "search.db").write_text("no database, but long enough to look like one" * 9)
    with pytest.raises(RequestError, match=r"search\.db is not a study .* Delete it"):
        LayoutSearch(config).next(journal)


def test_a_trial_that_was_killed_comes_again_and_after_twice_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Layout("inline", 1, 2, 1)
    journal = search(tmp_path, monkeypatch, batches_and_workers_pay, start, 2)
    config = BenchmarkConfig.model_validate({"backend": "fake", "mode": "find_peak"})
    for done in (15, 8, 1):  # near the best, by a proposal, by a rule
        del journal.runs[done:]
        (tmp_path / "search.db").unlink(missing_ok=True)
        proposed = []
        for _ in range(3):  # each by a command of its own
            attempt = LayoutSearch(config).next(journal)
            assert attempt is not None
            given = attempt.config
            shape = given.concurrency, given.intra_op_threads, given.batch_size
            proposed.append((given.runner, *shape))
        assert proposed[0] == proposed[1] != proposed[2]


def states(directory: Path) -> dict[str, int]:
    """How many trials optuna's study has in each state."""
    with sqlite3.connect(directory / "search.db") as database:
        return dict(database.execute("select state, count(*) from trials group by state"))


# Three layouts: a runner of several, with as many workers and as large a batch as asked for.
FEW: dict[str, object] = {
    **fake("latency_us=2000"),
    "concurrency": 2,
    "batch_size": 8,
    "loadgen_duration_sec": 0.5,
    "mode": "find_peak",
}


def journal_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "search.json").read_text("utf-8"))
    return content


def without(command: Command, module: str) -> Command:
    """The command, where a module cannot be imported."""
    hiding = command.directory / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None\n")
    paths = [str(hiding), command.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    return Command(command.directory, {**command.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_all_layouts_where_there_are_few_and_one_of_them_fails(command: Command) -> None:
    broken = without(command, "loadgen_generic.runners.processpool")
    outcome = broken("run", **FEW)
    result, content = outcome.result, journal_of(outcome.run_dir)
    assert result.valid
    assert content["state"] == "finished"
    short = [run for run in content["runs"] if not run["full"]]
    assert {run["layout"]["runner"]: run["passed"] for run in short} == {
        "threadpool": True,
        "threadpool+replication": True,
        "processpool": False,
    }
    assert all(run["layout"]["concurrency"] == 2 for run in short)
    assert all(run["layout"]["batch_size"] == 8 for run in short)
    full = [run for run in content["runs"] if run["full"]]
    assert len(full) == 4
    assert result.search is not None
    assert result.metric.value == max(run["value"] for run in full)
    assert result.search.layout in [run["layout"] for run in full]
    assert result.search.trials == 7
    for run in content["runs"]:
        assert f"trial {run['number']}: {run['layout']['runner']}, 2 worker(s)" in outcome.stderr
    assert "failed: the run failed" in outcome.stderr
    assert "is the best of 3 layouts tried" in outcome.stdout

    assert result.search.command in outcome.stdout
    again = command(*shlex.split(result.search.command)[1:], output_dir="again")
    assert again.effective["runner"] == result.search.layout["runner"]
    assert again.effective["batch_size"] == 8


@pytest.mark.slow
def test_killed_and_started_again_it_loses_the_trial_under_way(
    command: Command, start: Callable[..., Running]
) -> None:
    running = start(**FEW)
    end = time.monotonic() + 60
    while not (running.run_dir / "trials" / "002" / ".progress").exists():
        assert running.process.poll() is None, running.finish()
        assert time.monotonic() < end
        time.sleep(0.005)
    running.process.kill()
    running.finish()
    before = journal_of(running.run_dir)
    assert [run["number"] for run in before["runs"]] == [1]
    assert states(running.run_dir) == {"COMPLETE": 1, "RUNNING": 1}

    other = command("run", **FEW | {"batch_size": 4})
    assert other.code == 2
    assert "--batch_size 8" in other.stderr

    outcome = command("run", **FEW, json=True)
    assert "1 trial(s) are done" in outcome.stderr
    after = journal_of(outcome.run_dir)
    assert json.loads(outcome.stdout) == after
    assert after["runs"][: len(before["runs"])] == before["runs"]
    assert len([run for run in after["runs"] if not run["full"]]) == 3
    assert (outcome.run_dir / "trials" / "002-unfinished-1").is_dir()
    assert states(outcome.run_dir) == {"COMPLETE": 3, "FAIL": 1}
    assert read_result(outcome.run_dir).valid


def test_singlestream_has_the_least_latency(command: Command, models: Any) -> None:
    outcome = command(
        "run",
        models("matmul"),
        scenario="SingleStream",
        mode="find_peak",
        samples=200,
        strict=True,
        quiet=True,
    )
    assert outcome.stderr == ""
    content, search = journal_of(outcome.run_dir), outcome.result.search
    assert search is not None
    assert search.layout is not None
    assert search.layout["runner"] == "inline"
    full = [run for run in content["runs"] if run["full"] and run["passed"]]
    assert outcome.result.metric.value == min(run["value"] for run in full)
    tried = {run["layout"]["intra_op_threads"] for run in content["runs"]}
    assert tried == set(range(1, len(os.sched_getaffinity(0)) + 1))


def test_without_optuna_it_says_what_to_install(command: Command) -> None:
    outcome = without(command, "optuna")("run", **FEW)
    assert outcome.code == 2
    assert 'pip install "loadgen-generic[search]"' in outcome.stderr
    assert not outcome.run_dir.exists()
    assert "Traceback" not in outcome.stderr


def test_contradicting_options_are_refused_before_anything_is_written(command: Command) -> None:
    outcome = command("run", **FEW, runner="inline")
    assert outcome.code == 2
    assert "--concurrency 2" in outcome.stderr
    assert not outcome.run_dir.exists()


def test_a_trial_that_is_too_short_to_compare_by_says_so(command: Command) -> None:
    outcome = command("run", **fake(), scenario="SingleStream", samples=10, mode="find_peak")
    assert outcome.code == 2
    assert "--samples 10: the first trial was too short" in outcome.stderr
    assert outcome.error["exit_code"] == 2


@pytest.mark.slow
def test_the_best_layout_of_a_backend_whose_best_is_known(
    command: Command, start: Callable[..., Running]
) -> None:
    """A worker for each core and the largest batch, whoever the workers are."""
    flags = {**fake("latency_us=2000,per_sample_us=20"), "loadgen_duration_sec": 1}
    running = start(**flags, mode="find_peak")
    running.process.communicate(timeout=900)
    found = read_result(running.run_dir)
    tried = [run for run in journal_of(running.run_dir)["runs"] if not run["full"]]
    assert len(tried) == MOST_SHORT
    cores = len(os.sched_getaffinity(0))
    best = {"runner": "threadpool", "concurrency": cores, "batch_size": 1024}
    known = command("run", **flags, **best, output_dir="known").result
    assert found.metric.value >= 0.93 * known.metric.value
