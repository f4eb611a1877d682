"""Every runner, batch size and kind of batch dimension: each sample gets its own answer."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from command import Command, fake
from few import few
from recording import Recorder

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.progress import Phase
from loadgen_generic.runners import RUNNERS
from loadgen_generic.runners.auto import choose
from loadgen_generic.runners.batching import WorkQueue, cut
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import layout_by_rule, wish_of
from loadgen_generic.samples import SyntheticSamples

_POOL = 30
_SAMPLES = 120
_ALONE = Layout("inline", 1, 2, 1)
_ONE_PER_IMPLEMENTATION = ("inline", "threadpool", "threadpool+replication", "processpool")


def _negation(directory: Path, batch: int | str, width: int) -> Path:
    path = directory / f"negation-{batch}-{width}.onnx"
    path.write_bytes(tiny_models.negation(batch, width))
    return path


def _order(count: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(3).permutation(count)]


@pytest.mark.parametrize("runner", _ONE_PER_IMPLEMENTATION)
@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("width", [3, 9000], ids=["copied", "viewed"])
def test_answers_are_those_of_each_sample_alone(
    runner: str, batch: int | str, width: int, tmp_path: Path
) -> None:
    config = BenchmarkConfig(model_path=str(_negation(tmp_path, batch, width)), runner=runner)
    assembly = Assembly(config, str(config.model_path), cores=2)
    plan, _ = settle_plan(config, assembly, Layout("inline", 1, 2, 1))
    workers = 1 if runner == "inline" else 2
    for batch_size in [plan.fixed_batch] if plan.fixed_batch else [1, 4, 7]:
        samples = SyntheticSamples(plan, _POOL, seed=1, shared=runner == "processpool")
        samples.load(range(_POOL))
        inputs = samples.pool.arrays[0].copy().reshape(_POOL, width)
        running = assembly.build(Layout(runner, workers, 1, batch_size), samples, 3)
        record = Recorder()
        running.start(record.make_complete, record.fail)
        order = _order(_POOL)
        samples.load(order)
        # As LoadGen does: Offline in loaded order and repeated, Server one by one at random.
        offline = list(itertools.islice(itertools.cycle(order), _SAMPLES // 2))
        server = [int(i) for i in np.random.default_rng(5).integers(0, _POOL, _SAMPLES // 2)]
        running.issue(list(range(len(offline))), offline)
        for position, index in enumerate(server, start=len(offline)):
            running.issue([position], [index])
        running.flush()
        record.wait(_SAMPLES)
        running.close()
        assert not record.errors
        assert sorted(identity for identity, _ in record.answers) == list(range(_SAMPLES))
        asked = offline + server
        for identity, (answer,) in record.answers:
            np.testing.assert_array_equal(answer.reshape(-1), -inputs[asked[identity]])
    assembly.close()


@pytest.mark.parametrize(
    ("runner", "scenario"),
    few(
        itertools.product(
            sorted(RUNNERS.keys() - {"inflight", "ray"}),
            ["SingleStream", "MultiStream", "Server", "Offline"],
        ),
        3,
    ),
)
def test_every_runner_in_every_scenario(runner: str, scenario: str, command: Command) -> None:
    outcome = command.fake(
        runner=runner,
        scenario=scenario,
        samples=800,
        batch_size=4,
        distinct_samples=64,
        target_qps=2000 if scenario == "Server" else None,
        target_latency_ms=1000 if scenario == "Server" else None,
    )
    assert outcome.effective["runner"] == runner
    assert outcome.result.samples_completed == 800
    # Elsewhere each worker makes a session of its own, out of sight.
    assert (outcome.result.load_s is not None) == (runner in ("inline", "threadpool"))


@pytest.mark.parametrize("runner", _ONE_PER_IMPLEMENTATION)
def test_200_000_samples_are_all_answered(runner: str, command: Command) -> None:
    one_by_one = runner in ("inline", "threadpool")
    outcome = command.fake(
        runner=runner,
        scenario="SingleStream" if one_by_one else "Offline",
        samples=200_000,
        batch_size=1 if one_by_one else 16,
        distinct_samples=1000,
    )
    assert outcome.result.samples_completed == 200_000


@pytest.mark.parametrize("runner", _ONE_PER_IMPLEMENTATION)
def test_a_worker_that_fails_fails_the_run(runner: str, command: Command) -> None:
    outcome = command.fake("fail_at=20", runner=runner, samples=5000, warmup_queries=0)
    assert outcome.code == 1
    assert "failed, as it was told to" in outcome.stderr
    assert not (outcome.run_dir / "result.json").exists()


def test_a_worker_process_that_is_killed_fails_the_run(command: Command) -> None:
    outcome = command.fake("die_at=20", runner="processpool", samples=5000, warmup_queries=0)
    assert outcome.code == 1
    assert "worker-" in outcome.stderr
    assert f"exit code {-signal.SIGKILL}" in outcome.stderr
    assert not (outcome.run_dir / "result.json").exists()


@pytest.mark.parametrize("runner", _ONE_PER_IMPLEMENTATION)
def test_a_run_with_pinned_workers(runner: str, command: Command) -> None:
    outcome = command.fake(runner=runner, samples=50, pin=True)
    assert outcome.effective["pin"] is True


def test_what_loading_took_is_of_the_sessions_that_are_measured(tmp_path: Path) -> None:
    path = _negation(tmp_path, "N", 3)
    config = BenchmarkConfig(model_path=str(path))
    assembly = Assembly(config, str(path), cores=2)
    pool = Layout("threadpool", 2, 1, 1)
    took = []
    for layout in (_ALONE, pool):
        assembly.backend(layout)
        took.append(assembly.load_sec(layout))
    assert all(took)
    assert took[0] != took[1]
    assembly.keep_only(pool)
    assert assembly.load_sec(pool) == took[1]
    assert assembly.load_sec(Layout("threadpool+replication", 2, 1, 1)) is None
    assembly.close()


def test_a_model_that_mixes_its_samples_is_not_batched(tmp_path: Path) -> None:
    path = tmp_path / "mixing.onnx"
    path.write_bytes(tiny_models.mixes_its_batch())
    config = BenchmarkConfig(model_path=str(path))
    plan, notes = settle_plan(config, Assembly(config, str(path), 2), Layout("inline", 1, 2, 1))
    assert plan.largest_batch == 1
    assert "depends on the others in its batch" in notes[0]
    asked = BenchmarkConfig(model_path=str(path), batch_dim="N")
    with pytest.raises(RequestError, match="--batch_dim N: samples cannot be batched"):
        settle_plan(asked, Assembly(asked, str(path), 2), Layout("inline", 1, 2, 1))


def test_a_batch_larger_than_the_model_takes_is_refused(command: Command, tmp_path: Path) -> None:
    model = _negation(tmp_path, 4, 3)
    outcome = command.run(model, batch_size=8, samples=16)
    assert outcome.code == 2
    assert "--batch_size 8: the model's batch dimension is fixed at 4" in outcome.stderr


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_auto_chooses_what_it_measured_to_be_fastest(scenario: str, tmp_path: Path) -> None:
    path = _negation(tmp_path, "N", 3)
    config = BenchmarkConfig(model_path=str(path), scenario=scenario)
    assembly = Assembly(config, str(path), 2)
    plan, _ = settle_plan(config, assembly, Layout("inline", 1, 2, 1))
    samples = SyntheticSamples(plan, 256, 0, 8)
    samples.load(range(256))
    wish = wish_of(config, plan, 2, 0)
    layout, reason, rate = choose(
        wish, lambda chosen: assembly.build(chosen, samples, 3), range(256), assembly.beat
    )
    assert rate > 0
    assert "layouts tried" in reason
    if scenario in ("Server", "Offline"):
        assert layout.batch_size > layout_by_rule(wish).batch_size
    else:
        assert layout.runner == "inline"


def test_cut_keeps_every_sample_once_and_shares_the_rest() -> None:
    for total, size, workers in itertools.product((1, 2, 5, 64, 129), (1, 4, 64), (1, 2, 3)):
        spans = list(cut(total, size, workers))
        assert [i for span in spans for i in range(*span)] == list(range(total))
        assert all(1 <= end - first <= size for first, end in spans)
        shares = [end - first for first, end in spans if end - first < size]
        assert len(shares) <= workers
        assert not shares or max(shares) - min(shares) <= 1


def test_what_waits_is_joined_up_to_the_batch_size() -> None:
    waiting = WorkQueue(batch_size=4, batch_timeout_sec=0, workers=1)
    for query in ([0], [1], [2], [3], [4], [5], [6, 7, 8], [9, 10, 11, 12, 13], [14]):
        waiting.put(query, [10 * identity for identity in query])
    waiting.close()

    def taken() -> Iterator[list[int]]:
        while (work := waiting.take()) is not None:
            ids, indices = work
            assert list(indices) == [10 * identity for identity in ids]
            yield list(ids)

    assert list(taken()) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [12, 13, 14],
    ]


def test_a_query_in_batches_of_one_is_taken_apart() -> None:
    waiting = WorkQueue(batch_size=1, batch_timeout_sec=0, workers=2)
    waiting.put([5, 6, 7], [1, 2, 3])
    assert [waiting.take() for _ in range(3)] == [([5], [1]), ([6], [2]), ([7], [3])]


def test_a_batch_waits_for_more_if_told_to(command: Command) -> None:
    def median_latency_ns(timeout_us: int) -> int:
        outcome = command.fake(
            scenario="Server",
            target_qps=2000,
            target_latency_ms=1000,
            samples=1000,
            runner="threadpool",
            concurrency=1,
            batch_size=64,
            batch_timeout_us=timeout_us,
            distinct_samples=64,
            output_dir=f"waiting-{timeout_us}",
        )
        return outcome.result.latency_ns["p50"]

    assert median_latency_ns(20_000) > 2 * median_latency_ns(0)


def test_worker_processes_go_with_the_run(command: Command) -> None:
    flags = fake("latency_us=2000") | {"runner": "processpool", "batch_size": 1, "samples": 1000}
    running = command.start("run", **flags)
    running.wait_for(Phase.TESTING, answered=1)
    assert len(running.family) >= 3, "the measured process and its two workers"
    assert running.finish().code == 0
    assert running.orphans(2.0) == []
