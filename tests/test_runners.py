"""Every runner: each sample is answered once, with what the model says about that sample."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from recording import Recorder

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.errors import RequestError
from loadgen_generic.runners import RUNNERS, create_runner
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.probe import measure_burst, measure_stream
from loadgen_generic.runners.rule import Wish, layout_by_rule
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend, Runner
from loadgen_generic.tensors import plan_samples

POOL = 40
# Requests in flight need a backend that sends them: test_remote.py.
HERE = sorted(RUNNERS.keys() - {"inflight", "ray"})


def build(
    name: str, path: Path | None, batch_size: int, workers: int, **options: str
) -> tuple[Runner, SyntheticSamples, Backend]:
    kind = "onnxruntime" if path else "fake"
    spec = BackendSpec(
        kind, str(path or ""), "CPUExecutionProvider", 1, 1, "sequential", options=options
    )
    backend = create_backend(spec)
    plan = plan_samples(backend.load(), {})
    samples = SyntheticSamples(plan, POOL, seed=3, shared=name.startswith("processpool"))
    samples.load(range(POOL))
    setup = RunnerSetup(
        runner=name,
        workers=1 if name == "inline" else workers,
        batch_size=batch_size,
        batch_timeout_sec=0,
        warmup_queries=0,
        pin=False,
        make_backends=[partial(create_backend, spec)],
        backends=[backend],
        samples=samples,
        beat=lambda: None,
    )
    return create_runner(setup), samples, backend


def wish(
    runner: str, workers: int | None, threads: int | None, scenario: str, cores: int = 8
) -> Wish:
    return Wish(
        scenario=scenario,
        runner=runner,
        workers=workers,
        intra_op_threads=threads,
        batch_size=None,
        largest_batch=0,
        fixed_batch=0,
        per_query=8 if scenario == "MultiStream" else 1,
        bytes_per_sample=4,
        waits=False,
        bound_sec=0.1,
        cores=cores,
        duration_sec=0,
        samples=1,
    )


@pytest.mark.parametrize("query", [1, 7, 200])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("model", ["matmul", "two_inputs", "identity"])
def test_outputs_are_those_of_a_plain_run(
    model: str, name: str, batch_size: int, query: int, models: Callable[[str], Path]
) -> None:
    runner, samples, _ = build(name, models(model), batch_size, workers=3)
    plain = ort.InferenceSession(str(models(model)))
    names = [node.name for node in plain.get_inputs()]
    recorder = Recorder()
    order = random.Random(1)
    indices = [order.randrange(POOL) for _ in range(200)]
    if query == 200:
        indices = [k % POOL for k in range(200)]  # Offline: in loaded order, repeated

    runner.start(recorder.make_complete, recorder.fail)
    for at in range(0, 200, query):
        ids = list(range(1000 + at, 1000 + min(at + query, 200)))
        runner.issue(ids, indices[at : at + query])
    runner.flush()
    recorder.wait(200)
    runner.close()

    assert recorder.errors == []
    assert sorted(identity for identity, _ in recorder.answers) == list(range(1000, 1200))
    assert max(recorder.sizes) <= batch_size
    assert query == 1 or max(recorder.sizes) == batch_size
    for identity, outputs in recorder.answers:
        arrays = samples.reader(1).batch([indices[identity - 1000]]).arrays
        expected = plain.run(None, dict(zip(names, arrays, strict=True)))
        for got, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(got.astype(np.float64), wanted[0], rtol=1e-6)


@pytest.mark.parametrize("name", HERE)
def test_one_sample_models(name: str, models: Callable[[str], Path]) -> None:
    runner, samples, _ = build(name, models("scalar"), 1, workers=2)
    recorder = Recorder()
    runner.start(recorder.make_complete, recorder.fail)
    runner.issue(list(range(POOL)), list(range(POOL)))
    recorder.wait(POOL)
    runner.close()
    for identity, (output,) in recorder.answers:
        assert output == 2 * samples.reader(1).batch([identity]).arrays[0]


def test_where_the_work_is_done() -> None:
    for name, workers in (("inline", 1), ("threadpool", 3), ("processpool", 2)):
        runner, _, _ = build(name, None, 1, workers, latency_us="2000")
        recorder = Recorder()
        runner.start(recorder.make_complete, recorder.fail)
        runner.issue(list(range(POOL)), list(range(POOL)))
        recorder.wait(POOL)
        runner.close()
        here = {threading.current_thread().name}
        if name == "inline":
            assert recorder.threads == here
        else:
            assert len(recorder.threads) == workers
            assert not recorder.threads & here


@pytest.mark.parametrize("name", HERE)
def test_a_runner_starts_again_after_it_was_closed(name: str) -> None:
    runner, _, _ = build(name, None, 2, workers=2)
    for _ in range(2):
        recorder = Recorder()
        runner.start(recorder.make_complete, recorder.fail)
        runner.issue(list(range(9)), list(range(9)))
        recorder.wait(9)
        runner.close()
        assert sorted(identity for identity, _ in recorder.answers) == list(range(9))
    assert not [t for t in threading.enumerate() if t.name.startswith("worker-")]


@pytest.mark.parametrize("name", HERE)
def test_the_first_error_is_told_and_the_rest_is_dropped(name: str) -> None:
    runner, _, _ = build(name, None, 1, workers=1, fail_at="5")
    recorder = Recorder()
    runner.start(recorder.make_complete, recorder.fail)
    runner.issue(list(range(20)), list(range(20)))
    recorder.wait(20)
    runner.issue([99], [0])
    runner.close()
    assert len(recorder.errors) == 1
    assert "as it was told to" in str(recorder.errors[0])
    assert [identity for identity, _ in recorder.answers] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", HERE)
def test_probes_see_the_limit_of_the_fake(name: str) -> None:
    runner, _, _ = build(name, None, 1, workers=2, latency_us="2000")
    stream = measure_stream(runner, range(POOL), 1, lambda: None)
    assert stream.latency_sec >= 0.002
    assert 0 < stream.samples_per_sec <= 500
    workers = 1 if name == "inline" else 2
    burst = measure_burst(runner, range(POOL), Layout(name, workers, 1, 1), "Offline", lambda: None)
    assert 0 < burst.samples_per_sec <= 500 * workers
    assert burst.samples_per_sec > stream.samples_per_sec * workers / 2


@pytest.mark.parametrize(
    ("request_", "name", "workers", "threads"),
    [
        (("auto", None, None, "SingleStream"), "inline", 1, 8),
        (("auto", None, None, "MultiStream"), "inline", 1, 8),
        (("auto", None, None, "Server"), "threadpool", 8, 1),
        (("auto", None, None, "Offline"), "threadpool", 8, 1),
        (("auto", 2, None, "Offline"), "threadpool", 2, 4),
        (("auto", 2, None, "SingleStream"), "threadpool", 2, 4),
        (("threadpool", 3, None, "Offline"), "threadpool", 3, 2),
        (("threadpool", 20, None, "Offline"), "threadpool", 20, 1),
        (("threadpool", 2, 7, "Offline"), "threadpool", 2, 7),
        (("inline", None, None, "Offline"), "inline", 1, 8),
        (("inline", 1, 3, "Offline"), "inline", 1, 3),
    ],
)
def test_what_is_filled_in(
    request_: tuple[str, int | None, int | None, str], name: str, workers: int, threads: int
) -> None:
    layout = layout_by_rule(wish(*request_))
    assert (layout.runner, layout.workers, layout.intra_op_threads) == (name, workers, threads)
    assert layout.batch_size == (8 if request_[3] == "MultiStream" else 1)


def test_inline_has_one_worker() -> None:
    with pytest.raises(RequestError, match=r"--concurrency 2: .*one worker"):
        layout_by_rule(wish("inline", 2, None, "Offline"))


def test_inline_cannot_wait_for_more() -> None:
    with pytest.raises(RequestError, match=r"--batch_timeout_us: .*another --runner"):
        layout_by_rule(replace(wish("inline", None, None, "Server"), waits=True))
