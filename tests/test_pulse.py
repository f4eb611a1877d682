"""Timed queries: which ones, what is noted of them, and what a late reader gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen_generic.pulse import Pulse, PulseReader, how_often


def ignore(ids: Sequence[int], indices: Sequence[int]) -> None:
    """A runner that answers later."""


@pytest.mark.parametrize(
    ("rate", "queries", "every"),
    [
        (2.0, 100, 1),
        (200.0, 4000, 1),
        (201.0, 4010, 2),
        (20_000.0, 200_000, 100),
        (200.0, 1_000_000, 20),  # no more than 50,000 rows
        (None, 20, 1),
        (None, 4000, 20),
    ],
)
def test_fast_models_have_few_queries_timed(rate: float | None, queries: float, every: int) -> None:
    assert how_often(rate, queries) == every


@given(
    every=st.integers(1, 7),
    sizes=st.lists(st.integers(1, 9), max_size=40),
    late=st.integers(0, 20),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_so_many_queries_however_loadgen_joins_them(
    tmp_path: Path, every: int, sizes: list[int], late: int
) -> None:
    answered = 0
    pulse = Pulse(tmp_path / "p", every, 1, lambda: answered)
    reader = PulseReader(tmp_path / "p")
    issue = pulse.issue(ignore, several_at_once=True)
    timed, waiting, under_way = [], [], []
    for size in sizes:
        first = answered + len(under_way)
        ids = list(range(first, first + size))
        issue(ids, ids)
        under_way += ids
        timed += [number for number in ids if number % every == 0]
        waiting += [len(under_way) for number in ids if number % every == 0]
        assert set(pulse.due) == {number for number in timed if number in under_way}
        while len(under_way) > late:  # one at a time, oldest first
            pulse.saw([under_way.pop(0)])
            answered += 1
    pulse.saw(under_way or [-1])
    rows = reader.fetch()
    assert [row[0] for row in rows] == timed
    assert [row[3] for row in rows] == waiting
    assert all(row[2] >= 0 for row in rows)
    assert not pulse.due
    reader.close()


def test_a_query_of_several_samples_is_answered_with_its_last(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "p", 2, 4, lambda: 0)
    reader = PulseReader(tmp_path / "p")
    issue = pulse.issue(ignore, several_at_once=False)
    issue([1, 2, 3, 4], [0] * 4)
    pulse.saw([4, 1, 9])
    assert reader.fetch() == []
    pulse.saw([2, 3])
    ((number, issued_at, latency, waiting, batch),) = reader.fetch()
    assert number == 0
    assert issued_at == reader.begin_ns()
    assert (waiting, batch) == (4, 2)
    assert latency > 0
    issue([1, 2, 3, 4], [0] * 4)
    assert not pulse.due, "the second of two is not timed"
    issue([1, 2, 3, 4], [0] * 4)
    pulse.saw([1, 2, 3, 4])
    ((number, _, _, waiting, batch),) = reader.fetch()
    assert (number, waiting, batch) == (2, 12, 4)
    reader.close()


def test_without_timing_the_first_query_is_noted(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "p", 0, 1, lambda: 0)
    reader = PulseReader(tmp_path / "p")
    issue = pulse.issue(ignore, several_at_once=False)
    assert reader.begin_ns() == 0
    issue([1], [1])
    begin = reader.begin_ns()
    issue([2], [2])
    assert reader.begin_ns() == begin > 0
    assert not pulse.due
    assert reader.fetch() == []
    reader.close()


@given(
    every=st.integers(0, 5),
    per_query=st.integers(1, 4),
    queries=st.integers(0, 30),
    size=st.integers(1, 4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_after_another_a_query_begins_when_the_one_before_it_is_answered(
    tmp_path: Path, every: int, per_query: int, queries: int, size: int
) -> None:
    pulse = Pulse(tmp_path / "p", every, per_query, lambda: 0, in_turn=True)
    reader = PulseReader(tmp_path / "p")
    assert pulse.issue(ignore, several_at_once=False) is ignore, "the issue costs nothing"
    answered, look = 0, pulse.first_look
    assert reader.begin_ns() == 0
    for query in range(queries):
        while answered < (query + 1) * per_query:  # batches of a query
            batch = min(size, (query + 1) * per_query - answered)
            answered += batch
            if answered >= look:
                look = pulse.look(answered, batch)
    rows = reader.fetch()
    timed = [n for n in range(1, queries) if every and n % every == 0]
    assert [row[0] for row in rows] == timed
    assert (reader.begin_ns() > 0) == (queries > 0)
    for _, issued_ns, latency_ns, waiting, batch in rows:
        assert latency_ns > 0
        assert issued_ns > reader.begin_ns()
        assert waiting == per_query
        assert batch <= size
    reader.close()


@given(bursts=st.lists(st.integers(0, 20_000), min_size=1, max_size=4))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10
)
def test_a_late_reader_counts_what_it_lost(tmp_path: Path, bursts: list[int]) -> None:
    pulse = Pulse(tmp_path / "p", 1, 1, lambda: 0)
    reader = PulseReader(tmp_path / "p")
    issue = pulse.issue(lambda ids, indices: pulse.saw(ids), several_at_once=False)
    got: list[int] = []
    number = 0
    for burst in bursts:
        for _ in range(burst):
            issue([1], [1])
        number += burst
        got += [row[0] for row in reader.fetch()]
        assert len(got) + reader.lost == number
        if burst < 8000:
            assert got[len(got) - burst :] == list(range(number - burst, number))
    assert got == sorted(set(got))
    reader.close()
