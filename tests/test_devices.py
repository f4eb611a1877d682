"""Several cards: which are planned, how work is spread over them, and what goes wrong on one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from command import Command, Outcome, fake
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder

from loadgen_generic import assembly as assembly_module
from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.backends.cards import visible_cards
from loadgen_generic.campaigns.space import Facts, Space
from loadgen_generic.config import SCENARIOS, BenchmarkConfig
from loadgen_generic.devices import planned_cards
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.results.result import read_result
from loadgen_generic.runners import RUNNERS
from loadgen_generic.runners.auto import choose
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import Wish, layout_by_rule, rivals, wish_of
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend
from loadgen_generic.tensors import SamplePlan

ANY_PLAN = SamplePlan((), batched=True)
POOL = 64


def on_cards(behaviour: str = "", devices: str = "0,1", **flags: object) -> BenchmarkConfig:
    options = dict(pair.split("=") for pair in behaviour.split(",") if pair)
    return BenchmarkConfig.model_validate(
        {"backend": "fake", "backend_options": options, "devices": devices, **flags}
    )


def prepared(config: BenchmarkConfig) -> tuple[Assembly, Layout, SyntheticSamples, Wish]:
    """What a run has before it calibrates."""
    assembly = Assembly(config, "", 2)
    rule = assembly.begin()
    plan, _ = settle_plan(config, assembly, rule)
    samples = SyntheticSamples(plan, POOL, seed=3, shared=config.runner.startswith("processpool"))
    samples.load(range(POOL))
    return assembly, rule, samples, wish_of(config, plan, 2, len(assembly.cards))


numbers = st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True)


@given(
    asked=st.one_of(st.none(), st.just("all"), numbers),
    present=st.integers(0, 9),
    provider=st.sampled_from(["cpu", "cuda", "tensorrt", "openvino"]),
    scenario=st.sampled_from(SCENARIOS),
    runner=st.sampled_from(["auto", *sorted(RUNNERS.keys() - {"inflight", "ray"})]),
    workers=st.one_of(st.none(), st.integers(1, 12)),
    cores=st.integers(1, 64),
)
def test_whatever_is_asked_each_card_has_work_or_the_request_is_refused(
    asked: Any,
    present: int,
    provider: str,
    scenario: str,
    runner: str,
    workers: int | None,
    cores: int,
) -> None:
    there = [f"card {n}" for n in range(present)]
    fields = {
        "execution_provider": provider,
        "scenario": scenario,
        "runner": runner,
        "concurrency": workers,
        "devices": asked,
    }
    if asked is not None and provider in ("cpu", "openvino"):
        with pytest.raises(ValueError, match="--devices"):
            BenchmarkConfig.model_validate(fields)
        return
    config = BenchmarkConfig.model_validate(fields)
    if asked is not None and (not there or (asked != "all" and max(asked) >= present)):
        with pytest.raises(LoadgenGenericError, match="--devices"):
            planned_cards(config, lambda: there)
        return
    cards = planned_cards(config, lambda: there)
    if asked is not None:
        assert list(cards) == (list(range(present)) if asked == "all" else asked)
    else:
        assert cards == ((0,) if provider in ("cuda", "tensorrt") else ())
    wish = wish_of(config, ANY_PLAN, cores, len(cards))
    alone = runner == "inline"
    if (workers and workers < len(cards)) or (alone and len(cards) > 1):
        with pytest.raises(RequestError, match="--devices"):
            layout_by_rule(wish)
        return
    if alone and workers and workers > 1:
        with pytest.raises(RequestError, match="has one worker"):
            layout_by_rule(wish)
        return
    rule = layout_by_rule(wish)
    for layout in (rule, *rivals(rule, wish)):
        assert layout.workers == workers or workers is None or layout.runner == "inline"
        if not cards:
            assert layout.cards == 0
        elif layout.runner == "inline":
            assert (layout.workers, layout.cards) == (1, 1)
            assert scenario in ("SingleStream", "MultiStream") or len(cards) == 1
        else:
            assert layout.cards == len(cards) <= layout.workers
            assert workers or layout.workers % len(cards) == 0, "each has as many"


def test_a_card_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(RequestError) as raised:
        Assembly(on_cards(devices="1,4,7", behaviour="cards=3"), "", 2)
    assert "--devices 1,4,7: there is no GPU 4, 7." in str(raised.value)
    assert "0 (fake card 0), 1 (fake card 1), 2 (fake card 2)" in str(raised.value)


def test_cards_are_counted_where_the_driver_can() -> None:
    assert Assembly(on_cards(devices="all", behaviour="cards=3"), "", 2).cards == (0, 1, 2)
    assert Assembly(on_cards(devices="1"), "", 2).cards == (1,)


class StandInDriver:
    """Plays libcuda's entry points that count cards."""

    def __init__(self, names: list[bytes], code: int = 0) -> None:
        self._names, self._code = names, code

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's names
        return self._code

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._names)
        return 0

    def cuDeviceGet(self, card: Any, number: int) -> int:  # noqa: N802
        card._obj.value = 40 + number  # a handle is not the number
        return 0

    def cuDeviceGetName(self, text: Any, size: int, card: Any) -> int:  # noqa: N802
        text.value = self._names[card.value - 40][: size - 1]
        return 0

    def cuGetErrorString(self, code: int, words: Any) -> int:  # noqa: N802
        words._obj.value = b"system not yet initialized"
        return 0


def test_the_driver_names_its_cards_or_says_why_not() -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert visible_cards(lambda _: StandInDriver([b"One", b"Two"])) == ["One", "Two"]
    assert visible_cards(lambda _: StandInDriver([], code=100)) == []
    with pytest.raises(RunError, match=r"cuInit with system not yet initialized \(802\)"):
        visible_cards(lambda _: StandInDriver([b"One"], code=802))
    with pytest.raises(RunError, match=r"NVIDIA's driver, does not load .*doctor"):
        visible_cards(absent)


IN_PROCESSES = pytest.param("processpool", marks=pytest.mark.slow)


@pytest.mark.parametrize("runner", ["threadpool", "threadpool+replication", IN_PROCESSES])
def test_every_sample_is_answered_right_and_once_by_cards_of_unequal_speed(runner: str) -> None:
    config = on_cards("latency_us=500,slow_device=1,slow_factor=4", runner=runner)
    assembly, rule, samples, _ = prepared(config)
    inputs = samples.pool.arrays[0].copy().reshape(POOL)
    running = assembly.build(Layout(runner, rule.workers, 1, 4), samples, warmup_queries=3)
    record = Recorder()
    running.start(record.make_complete, record.fail)
    offline = [k % POOL for k in range(300)]
    server = [int(k) for k in np.random.default_rng(5).integers(0, POOL, 100)]
    running.issue(list(range(300)), offline)
    for at, index in enumerate(server, start=300):
        running.issue([at], [index])
    running.flush()
    record.wait(400)
    running.close()
    assembly.close()
    assert not record.errors
    assert sorted(identity for identity, _ in record.answers) == list(range(400))
    for identity, (answer,) in record.answers:
        assert answer.item() == inputs[(offline + server)[identity]]


def shares(outcome: Outcome) -> dict[int, int]:
    assert outcome.result.devices is not None
    return {share.number: share.samples for share in outcome.result.devices}


@pytest.mark.parametrize(
    ("scenario", "runner"),
    [
        ("Offline", None),
        pytest.param("Server", None, marks=pytest.mark.slow),
        pytest.param("Offline", "processpool", marks=pytest.mark.slow),
    ],
)
def test_a_slower_card_takes_less(scenario: str, runner: str | None, command: Command) -> None:
    outcome = command.fake(
        "latency_us=5000,slow_device=3,slow_factor=4,cards=4",
        devices="2,3",
        scenario=scenario,
        runner=runner,
        concurrency=4,
        samples=1200,
        batch_size=4,
        distinct_samples=64,
        # More than both can do, so that the cards are never idle.
        target_qps=3000 if scenario == "Server" else None,
        target_latency_ms=9000 if scenario == "Server" else None,
    )
    answered = shares(outcome)
    assert list(answered) == outcome.effective["devices"] == [2, 3]
    assert sum(answered.values()) == outcome.result.samples_completed >= 1200
    assert 0.1 < answered[3] / sum(answered.values()) < 0.3, "about one of five"
    assert "on 2 cards" in outcome.stderr
    assert f"GPU 3 {answered[3]:,} samples" in outcome.stderr


def test_one_query_at_a_time_uses_one_card(command: Command) -> None:
    outcome = command.fake(devices="1,0", scenario="SingleStream", samples=64)
    assert outcome.effective["devices"] == [1]
    assert "one query at a time uses one card: GPU 1; idle: GPU 0" in outcome.stderr
    assert shares(outcome) == {1: 64}


def test_without_cards_nothing_is_said_of_any() -> None:
    assembly = Assembly(BenchmarkConfig(backend="fake"), "", 2)
    rule = assembly.begin()
    assert assembly.effective(rule) == {"devices": []}
    assert assembly.notes(rule) == []
    assert "card" not in str(rule)


@pytest.mark.parametrize("runner", ["threadpool", IN_PROCESSES])
def test_an_error_names_its_card(runner: str, command: Command) -> None:
    outcome = command.fake(
        "latency_us=500,fail_at=20,fail_device=1", devices="0,1", runner=runner, samples=2000
    )
    assert outcome.code == 1
    assert "on GPU 1: the fake backend failed" in outcome.stderr
    assert not (outcome.run_dir / "result.json").exists()


@pytest.mark.parametrize("runner", ["threadpool", "threadpool+replication"])
def test_a_card_that_does_not_load_is_named_and_the_others_are_left(runner: str) -> None:
    assembly, rule, samples, _ = prepared(on_cards("fail_on_load=1,fail_device=1", runner=runner))
    before = threading.active_count()
    with pytest.raises(RunError, match="on GPU 1: the fake backend could not load"):
        assembly.build(rule, samples, warmup_queries=3)
    assert threading.active_count() == before, "no worker waits for ever"


def test_a_card_that_hangs_is_noticed(command: Command) -> None:
    outcome = command.fake(
        "latency_us=500,hang_at=20,fail_device=1",
        devices="0,1",
        concurrency=2,
        batch_size=1,
        runner="threadpool",
        warmup_queries=0,
        samples=200,
        stall_timeout_sec=3,
    )
    assert outcome.code == 1
    assert "the run hung: nothing happened for 3 s while testing" in outcome.stderr


def test_workers_are_counted_over_all_cards() -> None:
    with pytest.raises(RequestError, match=r"--concurrency 2: --devices names 3 GPUs"):
        Assembly(on_cards("cards=3", devices="all", concurrency=2), "", 2).begin()
    with pytest.raises(RequestError, match=r"--runner inline: .* --devices names 2"):
        Assembly(on_cards(runner="inline"), "", 2).begin()


def test_samples_that_are_on_their_card_already_are_not_copied() -> None:
    def fastest(location: str) -> float:
        assembly, rule, samples, _ = prepared(
            on_cards("latency_us=1000,copy_in_us=20000", data_location=location)
        )
        worker, batch = assembly.backend(rule)[0].worker(), samples.reader(1).batch([0])

        def timed() -> float:
            begin = time.perf_counter()
            worker.infer(batch)
            return time.perf_counter() - begin

        return min(timed() for _ in range(3))

    assert fastest("device") < fastest("host") / 2


def test_a_calibration_on_cards_says_how_many_and_survives_what_does_not_fit() -> None:
    # The batch is worth its size: 2 ms, whatever is in it.
    assembly, rule, samples, wish = prepared(on_cards("latency_us=2000,most_samples=8"))
    built: list[Layout] = []

    def build(layout: Layout) -> Any:
        built.append(layout)
        return assembly.build(layout, samples, warmup_queries=1)

    layout, reason, rate = choose(wish, build, range(POOL), assembly.beat)
    assert (layout.batch_size, layout.cards) == (8, 2)
    assert rate > 0
    assert "layouts tried on 2 cards" in reason
    assert f"out of memory with threadpool, {rule.workers} worker(s) on 2 cards" in reason
    assert {each.workers for each in built} == {2, 4, 8}, "1, 2 and 4 a card"
    assert len({each.intra_op_threads for each in built}) == 1, "the sessions are shared"
    assembly.close()


def test_a_calibration_does_not_survive_what_is_broken() -> None:
    assembly, _, samples, wish = prepared(on_cards("latency_us=1000,fail_at=1000,fail_device=1"))
    with pytest.raises(RunError, match="on GPU 1: the fake backend failed"):
        choose(wish, lambda each: assembly.build(each, samples, 1), range(POOL), assembly.beat)


class Loads:
    """Stands for ``create_backend``: what is made, loaded and closed, under any provider."""

    def __init__(self, providers: Callable[[BackendSpec], list[str]]) -> None:
        self.loaded: list[BackendSpec] = []
        self.closed: list[BackendSpec] = []
        self._providers = providers

    def __call__(self, spec: BackendSpec) -> Backend:
        loads, providers = self, self._providers(spec)

        class Counted(type(create_backend(FAKE))):  # type: ignore[misc]
            def load(self) -> Any:
                loads.loaded.append(spec)
                return super().load()

            def providers(self) -> list[str]:
                return providers

            def close(self) -> None:
                loads.closed.append(spec)

        return Counted(FAKE)  # type: ignore[return-value]


FAKE = BackendSpec("fake", "", "", 1, 1, "sequential", options={"latency_us": "300"})


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Loads]:
    started = getattr(request, "param", None)
    made = Loads(lambda spec: started(spec) if started else [])
    monkeypatch.setattr(assembly_module, "create_backend", made)
    yield made
    assert len(made.closed) == len(made.loaded), "what was loaded is closed"


def test_a_session_that_is_made_for_its_workers_is_made_once(loads: Loads) -> None:
    config = BenchmarkConfig(execution_provider="openvino", model_path="m.onnx")
    assembly = Assembly(config, "m.onnx", 4)
    rule = assembly.begin()
    plan, _ = settle_plan(config, assembly, rule)
    samples = SyntheticSamples(plan, POOL, seed=3)
    samples.load(range(POOL))
    layout, _, _ = choose(
        wish_of(config, plan, 4, 0),
        lambda each: assembly.build(each, samples, 1),
        range(POOL),
        assembly.beat,
    )
    shapes = [(spec.workers, spec.intra_op_threads) for spec in loads.loaded]
    assert len(shapes) == len(set(shapes)), "none twice"
    assert set(shapes) == {(4, 1), (1, 4), (1, 1), (2, 2)}
    assembly.keep_only(layout)
    kept = {(layout.workers, layout.intra_op_threads)}
    assert {(spec.workers, spec.intra_op_threads) for spec in loads.closed} == set(shapes) - kept
    assembly.close()


@pytest.mark.parametrize(
    "loads", [lambda spec: ["CPUExecutionProvider"]], indirect=True, ids=["none starts"]
)
def test_a_run_that_fell_back_is_laid_out_for_the_processor(loads: Loads) -> None:
    config = BenchmarkConfig(execution_provider="cuda", allow_fallback=True, model_path="m.onnx")
    assembly = Assembly(config, "m.onnx", 4)
    assert assembly.cards == (0,)
    rule = assembly.begin()
    assert (rule.workers, rule.intra_op_threads, rule.cards) == (4, 1, 0)
    assert assembly.effective(rule) == {"devices": []}
    assembly.close()


def test_a_search_tries_as_many_workers_on_each_card() -> None:
    wish = wish_of(on_cards(), ANY_PLAN, 2, 2)
    first = Layout("threadpool", 4, 1, 64, 2)
    space = Space(wish, Facts(threaded=True, batch_size=0, bytes_per_sample=4, cards=2), {first: 9})
    assert {layout.workers for layout in space} == {2, 4, 6, 8}
    assert {layout.intra_op_threads for layout in space} == {1}
    assert "inline" not in {layout.runner for layout in space}
    assert {layout.workers for layout in space.by_rule(4)} == {2, 4, 8}


def test_a_search_leaves_out_what_cannot_pay() -> None:
    def runners(provider: str, **flags: Any) -> set[str]:
        config = BenchmarkConfig(execution_provider=provider, **flags)
        wish = wish_of(config, ANY_PLAN, 2, 0)
        first = Layout("threadpool", 2, 1, 4)
        return set(Space(wish, Facts(True, 0, 4), {first: 9.0}).runners)

    assert runners("openvino") == {"inline", "threadpool"}
    assert runners("cpu") > runners("openvino")
    assert runners("cpu") - runners("cuda", data_location="device") == {"processpool"}


@pytest.mark.slow
def test_a_search_on_cards_ends_with_a_command_that_names_them(command: Command) -> None:
    flags = fake("latency_us=500") | {"devices": "all", "mode": "find_peak"}
    running = command.start("run", **flags, loadgen_duration_sec=0.5)
    stdout, stderr = running.process.communicate(timeout=900)
    assert running.process.returncode == 0, stderr
    result = read_result(running.run_dir)
    assert result.search is not None
    assert result.config.effective["devices"] == [0, 1]
    assert "--devices 0,1" in stdout
