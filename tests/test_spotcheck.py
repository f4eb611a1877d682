"""Spot checks: which answers of a test are kept, and that what is wrong in them is found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from command import Command
from few import few
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.answers.spotcheck import Kept, SpotCheck, choose
from loadgen_generic.answers.verify import Question, verify
from loadgen_generic.config import SCENARIOS
from loadgen_generic.results.result import read_result
from loadgen_generic.runners import RUNNERS
from loadgen_generic.samples import Samples, SyntheticSamples
from loadgen_generic.tensors import Array, InputPlan, SamplePlan

PLAN = SamplePlan((InputPlan("x", np.dtype(np.float32), (2,)),), batched=True)
ENOUGH = 1 << 40
SERVER = {"target_qps": 500, "target_latency_ms": 100}

FRACTIONS = st.floats(0.001, 1)
SEEDS = st.integers(0, 1000)


def _chosen(fraction: float, most: int, seed: int, length: int) -> dict[int, int]:
    """Slot to position, of the first ``length`` items of a stream."""
    slots, at = {}, -1
    for further, slot in choose(fraction, most, seed):
        at += further
        if at >= length:
            return slots
        slots[slot] = at
    raise AssertionError("it never ends")


# --- the choice


@given(FRACTIONS, st.integers(1, 20), SEEDS, st.integers(0, 2000))
def test_the_choice_is_bounded_distinct_and_the_seeds(
    fraction: float, most: int, seed: int, length: int
) -> None:
    slots = _chosen(fraction, most, seed, length)
    assert set(slots) == set(range(len(slots)))
    assert len(slots) <= min(most, length)
    assert len(set(slots.values())) == len(slots)
    assert slots == _chosen(fraction, most, seed, length)


def test_all_are_chosen_if_all_are_wanted_and_fit() -> None:
    assert _chosen(1, 50, 3, 50) == {position: position for position in range(50)}


def test_another_seed_chooses_others() -> None:
    assert _chosen(0.1, 50, 3, 500) != _chosen(0.1, 50, 4, 500)


@pytest.mark.parametrize("fraction", [0.3, 0.01])
def test_the_share_is_what_was_asked_for(fraction: float) -> None:
    length = 100_000
    expected = fraction * length
    found = len(_chosen(fraction, length, 0, length))
    assert abs(found - expected) < 5 * expected**0.5


@pytest.mark.parametrize(("fraction", "most"), [(1, 20), (0.3, 20), (0.3, 1), (0.02, 1000)])
def test_every_part_of_the_test_is_as_likely(fraction: float, most: int) -> None:
    length, seeds = 1000, 400
    tenths = Counter(
        10 * at // length
        for seed in range(seeds)
        for at in _chosen(fraction, most, seed, length).values()
    )
    expected = min(most, fraction * length) * seeds / 10
    assert all(abs(tenths[part] - expected) < 5 * expected**0.5 for part in range(10)), tenths


@pytest.mark.parametrize(("fraction", "most"), [(1, 1), (1e-300, 1), (1e-9, 1000)])
def test_a_stream_of_any_length_is_served(fraction: float, most: int) -> None:
    stream = choose(fraction, most, 0)
    drawn = [next(stream) for _ in range(most + 2000)]
    assert all(further >= 1 and 0 <= slot < most for further, slot in drawn)


# --- keeping


class _Test:
    """Issues samples to a spot check and completes them; an answer is its index, twice."""

    def __init__(self, spot: SpotCheck, rows: int = 0) -> None:
        self.asked = 0
        self._rows, self._next = rows, 0
        self._buffer: Array = np.zeros(0)
        self.issue = spot.issue(lambda ids, indices: None)
        self._complete = spot.complete(lambda ids, outputs: None)

    def query(self, indices: Sequence[int], first_id: int = 0) -> None:
        ids = list(range(first_id, first_id + len(indices)))
        self.issue(ids, indices)
        self.answer(ids, indices)

    def answer(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        buffer = np.full((max(len(ids), self._rows), 2), -1.0)
        buffer[: len(ids)] = np.array(indices, float)[:, None]

        def outputs() -> list[Array]:
            self.asked += 1
            return [buffer]

        self._complete(ids, outputs)
        buffer[:] = -2  # by the next inference


def _spot(fraction: float, most: int = 1000, **more: int) -> SpotCheck:
    arguments = {"answer_bytes": 16, "seed": 0, "memory_bytes": ENOUGH} | more
    return SpotCheck(PLAN, fraction, most, **arguments)


def _right(kept: Kept) -> bool:
    return all(
        answer[0].tolist() == [index, index]
        for index, answers in kept.by_index.items()
        for answer in answers
    )


@given(FRACTIONS, st.integers(1, 30), SEEDS, st.lists(st.integers(1, 40), max_size=20))
def test_kept_are_the_chosen_however_queries_are_cut(
    fraction: float, most: int, seed: int, sizes: list[int]
) -> None:
    spot = _spot(fraction, most, seed=seed)
    test, at = _Test(spot), 0
    for size in sizes:
        test.query(range(at, at + size))  # with ids that every query uses again
        at += size
    kept = spot.kept()
    assert kept.answered == at
    assert sorted(kept.by_index) == sorted(_chosen(fraction, most, seed, at).values())
    assert _right(kept)


def test_batches_may_mix_queries_and_come_in_any_order() -> None:
    spot = _spot(0.5)
    test = _Test(spot)
    for first in range(0, 100, 10):
        test.issue(list(range(first, first + 10)), [1000 + k for k in range(first, first + 10)])
    order = np.random.default_rng(0).permutation(100)
    for batch in np.split(order, [7, 30, 31, 80]):
        test.answer(batch.tolist(), [1000 + k for k in batch.tolist()])
    kept = spot.kept()
    assert kept.answered == 100
    assert sorted(kept.by_index) == [1000 + k for k in sorted(_chosen(0.5, 1000, 0, 100).values())]
    assert _right(kept)


def test_outputs_are_not_asked_for_in_vain() -> None:
    spot = _spot(0.05)
    test = _Test(spot)
    for at in range(400):
        test.query([at])
    assert test.asked == len(spot.kept().by_index) < 50


def test_padding_is_not_kept() -> None:
    padded = replace(PLAN, fixed_batch=4)
    spot = SpotCheck(padded, 1, 10, 16, 0, ENOUGH)
    _Test(spot, rows=4).query([5, 6, 7])
    assert sorted(spot.kept().by_index) == [5, 6, 7]
    assert _right(spot.kept())


def test_memory_bounds_how_many_are_kept() -> None:
    assert _spot(1, 1000, answer_bytes=100, memory_bytes=4 * 1000).most == 10
    assert _spot(1, 1000, answer_bytes=100, memory_bytes=4).most == 1


def test_answers_that_turn_out_larger_stay_within_the_memory() -> None:
    spot = _spot(1, 100, answer_bytes=1, memory_bytes=4 * 16 * 10)
    test = _Test(spot)
    for at in range(500):
        test.query([at])
    kept = sorted(spot.kept().by_index)
    assert len(kept) == 10
    assert kept[-1] > 100


# --- comparing


class _Counting:
    """Right answers, and how often they were asked for."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def answer(self, index: int) -> list[Array]:
        self.asked[index] += 1
        return [np.full(2, index, np.float32)]


class _Echo:
    """A runner that is right, and fails if it is asked for nothing."""

    def start(self, make_complete: Callable[[], Callable[..., None]], fail: object) -> None:
        self._complete = make_complete()

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        assert len(ids)
        rows = np.repeat(np.array(indices, np.float32)[:, None], 2, axis=1)
        self._complete(ids, lambda: [rows])

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_several_answers_to_a_sample_cost_one_right_answer(scenario: str) -> None:
    source = SyntheticSamples(PLAN, 12, 0).source
    samples = Samples(PLAN, source, resident=2)  # at times two that only the test answered
    right = _Counting()
    good = {index: [np.full(2, index, np.float32)] for index in (3, 7, 8)}
    bad = [good[7][0] + 1]
    kept = Kept(90, {7: [good[7], good[7], bad], 3: [good[3]], 8: [good[8]]})
    found = verify(
        Question("reference", ["y"], scenario, 1),
        right,
        _Echo(),  # type: ignore[arg-type]
        samples,
        source,
        PLAN,
        [0, 3, 11],
        lambda: None,
        kept,
    )
    assert right.asked == {0: 1, 3: 1, 7: 1, 8: 1, 11: 1}
    assert (found.passed, found.samples, found.failed_samples) == (False, 3, 0)
    assert (found.spot_answered, found.spot_checked, found.spot_failed) == (90, 5, 1)
    assert (found.worst_sample, found.worst_output) == (7, "y")
    assert found.outputs[0].mismatches == 1
    assert found.sentence == (
        "verification failed: 1 of 5 answers kept during the test differ from the reference (CPU, "
        "not optimised), though all 3 samples agree when asked after it; the worst is sample 7, "
        "output y during the test: 8 in place of 7 at [0], 130 times the tolerance"
    )


# --- the command


@pytest.mark.parametrize(
    ("runner", "scenario"),
    few(product(sorted(RUNNERS.keys() - {"inflight", "ray"}), SCENARIOS), 3),
)
def test_right_answers_pass_in_each_runner(
    runner: str, scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(
        models("matmul"),
        scenario=scenario,
        runner=runner,
        samples=40,
        verify="reference",
        verify_samples=30,
        verify_fraction=1,
        warmup_queries=1,
        **(SERVER if scenario == "Server" else {}),
    )
    result = outcome.result
    found = result.verification
    assert found is not None
    assert found.passed
    assert (found.samples, found.spot_checked, found.spot_failed) == (30, 30, 0)
    assert found.spot_answered == result.samples_completed == 40
    assert "; 30 of the 40 answers given during the test were compared and" in outcome.stdout


def test_a_fixed_batch_and_a_dataset_larger_than_memory(
    command: Command, models: Callable[[str], Path]
) -> None:
    x = np.random.default_rng(0).random((20, 4), np.float32)
    np.savez(command.directory / "all.npz", x=x, y=x @ (np.arange(12) / 12).reshape(4, 3))
    flags = {"samples_in_memory": 6, "samples": 50, "verify": "data", "verify_fraction": 1}
    fixed = command.directory / "fixed.onnx"
    fixed.write_bytes(tiny_models.matmul(4))
    for model in (models("matmul"), fixed):
        outcome = command.run(model, dataset="all.npz", output_dir=model.stem, **flags)
        found = outcome.result.verification
        assert found is not None
        assert found.passed
        assert (found.samples, found.spot_checked) == (20, found.spot_answered)


def test_drawing_none_is_told(command: Command, models: Callable[[str], Path]) -> None:
    flags = {"samples": 5, "verify": "reference", "verify_fraction": 1e-6}
    outcome = command.run(models("matmul"), **flags)
    assert outcome.code == 0
    told = "of the 5 answers given during the test none was compared: --verify_fraction drew none"
    assert told in outcome.stdout
    assert outcome.result.verification is not None
    assert outcome.result.verification.spot_checked == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"verify_fraction": 0.1}, "--verify_fraction has no meaning without --verify"),
        (
            {"verify_fraction": 0.1, "verify": "reference", "mode": "accuracy"},
            "--verify_fraction 0.1 is for performance runs and has no meaning with --mode accuracy",
        ),
        ({"verify_fraction": 0, "verify": "reference"}, "--verify_fraction 0: "),
        ({"verify_fraction": 1.5, "verify": "reference"}, "--verify_fraction 1.5: "),
        ({"verify_fraction": "nan", "verify": "reference"}, "--verify_fraction nan: "),
    ],
)
def test_what_has_no_meaning_is_refused(
    flags: dict[str, object], words: str, command: Command, models: Callable[[str], Path]
) -> None:
    outcome = command.run(models("matmul"), samples=5, **flags)
    assert outcome.code == 2
    assert words in outcome.stderr


# Runs in every process of the command before anything else.
LATE = """
import sys
sys.path.append({tests!r})
import loadgen_generic.assembly
from wrong_answers import LateUnderLoad
make = loadgen_generic.assembly.create_runner
loadgen_generic.assembly.create_runner = lambda setup: LateUnderLoad(make(setup))
"""


@pytest.fixture
def late(command: Command) -> Command:
    """The command, with runners that give the previous answer under load alone."""
    injected = command.directory / "injected"
    injected.mkdir()
    code = LATE.format(tests=str(Path(__file__).parent))
    (injected / "sitecustomize.py").write_text(code, encoding="utf-8")
    paths = [str(injected), command.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    return Command(command.directory, {**command.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(
    ("runner", "scenario"),
    [
        ("inline", "SingleStream"),
        ("inline", "MultiStream"),
        ("threadpool", "Offline"),
        ("threadpool+replication", "Server"),
        ("processpool", "Offline"),
    ],
)
def test_what_is_wrong_under_load_alone_is_caught(
    runner: str, scenario: str, late: Command, models: Callable[[str], Path]
) -> None:
    flags = {
        "scenario": scenario,
        "runner": runner,
        "samples": 200,
        "verify": "reference",
        **({"batch_size": 4} if scenario == "Offline" else {}),
        **(SERVER if scenario == "Server" else {}),
    }
    unseen = late.run(models("matmul"), **flags, output_dir="unseen")
    assert unseen.code == 0, unseen.stderr
    assert unseen.result.verification is not None
    assert unseen.result.verification.spot_checked is None
    outcome = late.run(models("matmul"), **flags, verify_fraction=0.3)
    assert outcome.code == 1, outcome.stdout
    found = read_result(outcome.run_dir).verification
    assert found is not None
    assert (found.passed, found.failed_samples) == (False, 0)
    assert found.spot_failed
    assert f"worst is sample {found.worst_sample}, output y during the test: " in outcome.stderr
    assert "though all 64 samples agree when asked after it" in outcome.stderr
