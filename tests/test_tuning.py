"""The search of a tuning, on a machine that is made up: what it tries, and whom it names."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuning_world import BFLOAT16, CPU, OPENVINO, World

from loadgen_generic.campaigns.tuning.family import Choice, Family
from loadgen_generic.campaigns.tuning.objective import objective_of
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RunError
from loadgen_generic.results.tuning import TunedCandidate, Tuning


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def tuned(world: World, **options: object) -> Tuning:
    strategy = world.search(loadgen_duration_sec=10, budget_sec=600, **options)
    return world.answer(strategy, world.run(strategy, world.journal()))


def winner(found: Tuning) -> TunedCandidate:
    return next(each for each in found.candidates if each.number == found.winner)


@pytest.mark.slow
def test_the_fastest_is_found_and_confirmed_within_the_budget(world: World) -> None:
    found = tuned(world)
    best = winner(found)
    assert best.family == "openvino bfloat16"
    assert best.stage == "final"
    speed = world.true_speed(best.settings, best.family)
    assert speed >= 0.95 * max(world.speed("openvino bfloat16", 2, 1, 2**n) for n in range(11))
    assert found.used_s <= found.budget_s
    assert found.gain == pytest.approx(speed / world.speed("cpu float32", 2, 1, 16), rel=0.01)


def test_every_family_is_verified_before_any_is_timed(world: World) -> None:
    tuned(world)
    phases = [each.about["phase"] for each in world.attempts]
    assert phases[:3] == ["check"] * 3
    assert "check" not in phases[3:]


def test_a_family_with_wrong_answers_is_never_timed_and_stays_in_the_table(world: World) -> None:
    world.wrong = {"openvino bfloat16": "64 of 64 samples differ"}
    found = tuned(world)
    timed = {each.about["family"] for each in world.attempts if each.about["phase"] != "check"}
    assert timed == {"cpu float32", "openvino float32"}
    (refused,) = [each for each in found.candidates if each.stage == "refused"]
    assert refused.family == "openvino bfloat16"
    assert "64 of 64 samples differ" in refused.why
    assert refused.max_abs_error == 0.5
    assert refused.verified is False
    assert winner(found).family == "openvino float32"


@pytest.mark.slow
def test_a_family_that_finds_fewer_labels_is_refused(world: World) -> None:
    world.accuracy = {"cpu float32": 0.76, "openvino float32": 0.76, "openvino bfloat16": 0.70}
    found = tuned(world)
    (refused,) = [each for each in found.candidates if each.stage == "refused"]
    assert "70 % of the labels" in refused.why
    assert refused.accuracy == 0.70


def test_a_default_with_wrong_answers_ends_the_search(world: World) -> None:
    world.wrong = {"cpu float32": "64 of 64 samples differ"}
    with pytest.raises(RunError, match="64 of 64 samples differ"):
        tuned(world)


@pytest.mark.slow
def test_the_default_is_the_answer_where_nothing_beats_the_noise(world: World) -> None:
    world.families, world.noise = (CPU, OPENVINO), 0.03
    world.speed = lambda family, workers, threads, batch: 1000.0 + workers
    found = tuned(world)
    assert found.winner == 1
    assert found.gain == 1
    assert "default" in found.sentence


@pytest.mark.slow
def test_a_latency_is_better_when_it_is_small(world: World) -> None:
    world.speed = lambda family, workers, threads, batch: (
        {2: 150.0, 1: 100.0}[threads] * (1.3 if "bfloat16" in family else 1.0)
    )
    found = tuned(world, scenario="SingleStream")
    best = winner(found)
    assert (best.family, best.settings["intra_op_threads"]) == ("openvino bfloat16", 2)
    assert not found.higher_is_better


@pytest.mark.parametrize("scenario", ["Server"])
def test_the_highest_load_within_the_bound_is_found(world: World, scenario: str) -> None:
    strategy = world.search(
        scenario=scenario, target_latency_ms=20, loadgen_duration_sec=5, budget_sec=1200
    )
    found = world.answer(strategy, world.run(strategy, world.journal()))
    best = winner(found)
    assert best.family == "openvino bfloat16"
    assert best.value is not None
    # A larger batch would take more than half of the bound.
    top = world.speed("openvino bfloat16", 2, 1, 16)
    assert 0.9 * 0.95 * top <= best.value <= 0.9 * top
    assert "within 20 ms" in found.objective


def test_a_layout_that_short_tests_flatter_does_not_win(world: World) -> None:
    """Workers of two threads seem ahead until the tests of full length, where the next best is
    then asked too."""

    def speed(family: str, workers: int, threads: int, batch: int) -> float:
        of_family = {"openvino bfloat16": 2100.0}.get(family, 1000.0)
        return of_family * min(2.0, workers * threads**0.3) * batch / (batch + 4)

    world.speed, world.flattered = speed, 2.0
    strategy = world.search(
        scenario="Server", target_latency_ms=20, loadgen_duration_sec=5, budget_sec=1200
    )
    best = winner(world.answer(strategy, world.run(strategy, world.journal())))
    assert best.value is not None
    assert best.value >= 0.9 * 0.95 * speed("openvino bfloat16", 2, 1, 16)


def test_a_winner_whose_first_test_of_full_length_was_stopped_is_verified(world: World) -> None:
    world.families = (CPU,)
    world.speed = lambda family, workers, threads, batch: 1000.0 * (3 if threads > 1 else workers)
    world.flattered = 1.6
    strategy = world.search(
        scenario="Server", target_latency_ms=20, loadgen_duration_sec=5, budget_sec=1200
    )
    journal = world.run(strategy, world.journal())
    best = winner(world.answer(strategy, journal))
    assert best.settings["intra_op_threads"] == 2
    finals = [
        run
        for run in journal.runs
        if run["phase"] == "final" and run["setting"]["layout"]["intra_op_threads"] == 2
    ]
    full = [run for run in finals if run["full"]]
    assert full[0]["stopped"]
    whole = [run for run in full if not run.get("stopped")]
    assert [bool(run["verification"]) for run in whole][:2] == [True, False], "once"


@pytest.mark.slow
def test_finals_alternate_between_those_that_take_part(world: World) -> None:
    tuned(world)
    finals = [
        str(each.about["setting"]) for each in world.attempts if each.about["phase"] == "final"
    ]
    count = len(set(finals))
    assert count >= 2
    assert finals[:count] == finals[count : 2 * count][::-1]


@pytest.mark.slow
def test_the_way_to_the_winner_multiplies_to_its_gain(world: World) -> None:
    found = tuned(world)
    product = 1.0
    for each in found.worth:
        assert each.factor is not None
        product *= each.factor
    assert [each.choice for each in found.worth][:2] == ["provider", "precision"]
    assert product == pytest.approx(found.gain, rel=0.05)


def test_a_small_budget_leaves_out_the_search_and_keeps_the_finals(world: World) -> None:
    strategy = world.search(loadgen_duration_sec=10, budget_sec=60)
    found = world.answer(strategy, world.run(strategy, world.journal()))
    assert not any(each.about["phase"] == "search" for each in world.attempts)
    assert winner(found).stage == "final"


@pytest.mark.slow
def test_killed_after_any_trial_it_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, asked = World(tmp_path, monkeypatch), {"loadgen_duration_sec": 10, "budget_sec": 400}
    journal, planned = world.journal(), 0
    while True:
        # A new process knows the journal alone; what the killed one was at is lost.
        journal.content = copy.deepcopy(journal.content)
        if world.search(**asked).next(journal) is None:
            break
        planned += 1
        world.run(world.search(**asked), journal, most=5)
    timed = [each["setting"] for each in journal.runs if each["phase"] == "search"]
    assert len({str(each) for each in timed}) == len(timed)
    assert len(journal.runs) == len(world.attempts) > 5 * (planned - 1)
    best = winner(world.answer(world.search(**asked), journal))
    assert world.true_speed(best.settings, best.family) >= 0.95 * max(
        world.speed("openvino bfloat16", 2, 1, 2**n) for n in range(11)
    )


def test_the_best_so_far_is_on_the_disk_after_each_trial(world: World) -> None:
    strategy, journal = world.search(loadgen_duration_sec=10), world.journal()
    world.run(strategy, journal, most=4)
    assert (world.directory / "tuned.json").is_file()
    assert journal.content["best"]["number"] == 1
    assert journal.content["used_s"] > 0


@pytest.mark.slow
def test_choices_beyond_the_layout_are_tried(world: World) -> None:
    mode = Choice("execution_mode", ("sequential", "parallel"))
    world.families = (Family("cpu float32", "cpu", "float32", {}, choices=(mode,)),)
    found = tuned(world)
    assert {each.settings["execution_mode"] for each in found.candidates} == {
        "sequential",
        "parallel",
    }


@pytest.mark.slow
def test_a_disturbed_machine_is_told(world: World) -> None:
    world.disturbed = True
    found = tuned(world)
    assert found.disturbed == found.trials


@pytest.mark.slow
def test_no_candidate_beats_one_on_the_front(world: World) -> None:
    found = tuned(world)
    front = [each for each in found.candidates if each.on_front]
    assert {each.family for each in front} >= {BFLOAT16.name}
    for each in front:
        for other in found.candidates:
            if other.value is None or each.value is None:
                continue
            faster = other.value > each.value
            assert not (faster and (other.max_abs_error or 0) <= (each.max_abs_error or 0))


@pytest.mark.slow
def test_a_family_whose_automatic_layout_was_bad_gets_a_second_chance(world: World) -> None:
    def speed(family: str, workers: int, threads: int, batch: int) -> float:
        if family == "openvino bfloat16" and batch == 16:
            return 100.0
        return {"openvino bfloat16": 3000.0}.get(family, 1000.0) + batch

    world.speed = speed
    world.auto = {"openvino float32": (2, 1, 32)}
    best = winner(tuned(world))
    assert best.family == "openvino bfloat16"


IN_SERVER = {
    "model_path": "model.onnx",
    "scenario": "Server",
    "target_latency_ms": 5,
    "runner": "inline",
}


def short_test(load: float | None, passed: bool, late: float = 0.9) -> dict[str, object]:
    """The entry of one, of whose queries so many were late."""
    shared = {"full": False, "sustained": 0.0, "hopeless": False, "doubts": []}
    return {"load": load, "passed": passed, "over_share": 0.0 if passed else late, **shared}


@given(st.floats(10, 1e6), st.floats(0.001, 1), st.booleans())
def test_a_bound_that_was_missed_narrowly_is_tried_once_more(
    best: float, late: float, passes: bool
) -> None:
    config = BenchmarkConfig.model_validate(IN_SERVER)
    objective = objective_of(config)
    first = objective.short(config, [], best, layout_open=False)
    assert first is not None
    missed = short_test(first.target_qps, False, late)
    again = objective.short(config, [missed], best, layout_open=False)
    assert (again == first) is (late <= 0.05)
    entries = [missed, short_test(first.target_qps, passes, late)]
    then = objective.short(config, entries, best, layout_open=False)
    assert then != first
    assert objective.value(entries, full=False) == (first.target_qps if passes else None)


@given(st.floats(10, 1e6))
def test_who_holds_a_little_less_than_the_best_is_asked_for_more(best: float) -> None:
    """An automatic layout that failed far above, and then passed below."""
    config = BenchmarkConfig.model_validate(IN_SERVER)
    objective = objective_of(config)
    entries = [short_test(2 * best, False)]
    below = objective.short(config, entries, best, layout_open=True)
    assert below is not None
    assert below.target_qps == pytest.approx(0.8 * best, rel=1e-3)
    entries.append(short_test(below.target_qps, True))
    above = objective.short(config, entries, best, layout_open=True)
    assert above is not None
    assert above.target_qps == pytest.approx(1.03 * best, rel=1e-3)


@pytest.mark.slow
def test_a_second_chance_in_server_where_the_automatic_layout_kept_no_bound(world: World) -> None:
    world.speed = lambda family, workers, threads, batch: (
        {"openvino bfloat16": 3000.0}.get(family, 1000.0) + workers
    )
    world.auto, world.too_large = {"openvino bfloat16": (2, 1, 256)}, (256,)
    found = tuned(world, scenario="Server", target_latency_ms=5)
    (screened,) = {
        json.dumps(each.about["setting"]["layout"])
        for each in world.attempts
        if each.about["phase"] == "screen" and "setting" in each.about
        if each.about["family"] == "openvino bfloat16"
    }
    assert json.loads(screened)["batch_size"] == 256
    best = winner(found)
    assert best.family == "openvino bfloat16"
    assert best.value == pytest.approx(0.9 * 3000, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3, 7])
def test_a_search_in_server_learns_from_loads_that_were_not_held(seed: int, world: World) -> None:
    """Most challengers hold less than the best and are asked for no more than that."""

    def speed(family: str, workers: int, threads: int, batch: int) -> float:
        of_family = {"cpu float32": 1000.0, "openvino float32": 900.0, "openvino bfloat16": 1300.0}
        return of_family[family] * min(2.0, workers * threads**0.9) * batch / (batch + 24)

    world.speed, world.noise = speed, 0.01
    world.auto = {"openvino bfloat16": (1, 2, 64)}
    strategy = world.search(
        scenario="Server",
        target_latency_ms=400,
        loadgen_duration_sec=5,
        budget_sec=420,
        seed=seed,
    )
    best = winner(world.answer(strategy, world.run(strategy, world.journal())))
    assert best.family == "openvino bfloat16"
    assert best.value is not None
    assert best.value > 0.95 * 0.9 * speed(best.family, 1, 2, 256)


def test_a_setting_that_broke_on_the_way_is_left(world: World) -> None:
    """Its second test in Server, after a first one that ran."""
    strategy = world.search(
        scenario="Server", target_latency_ms=20, loadgen_duration_sec=5, budget_sec=1200
    )
    journal = world.journal()

    def ran() -> int:
        setting = attempt.about.get("setting")
        return sum(each.get("setting") == setting for each in journal.runs) if setting else 0

    attempt = strategy.next(journal)
    while attempt is not None and not (attempt.may_fail and ran()):
        world.run(strategy, journal, most=1)
        attempt = strategy.next(journal)
    assert attempt is not None
    broken = strategy.failed(attempt, RunError("out of memory"))
    number = len(journal.runs) + 1
    journal.runs.append({"number": number, "took_s": 1.0, "directory": "trials/x", **broken})
    then = strategy.next(journal)
    assert then is not None
    assert then.about.get("setting") != attempt.about["setting"]
