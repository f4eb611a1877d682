"""Tests of a campaign over the nodes of a cluster, which here are threads of this process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command import fake
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.campaigns import carry_out
from loadgen_generic.campaigns.audience import SilentAudience
from loadgen_generic.campaigns.bisection import Trial, next_step, settled
from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.loads import LoadSearch
from loadgen_generic.campaigns.spreading import stage
from loadgen_generic.campaigns.spreading.foresight import ENOUGH, foresee
from loadgen_generic.campaigns.spreading.places import LostNodeError, Places, Ticket, names_of
from loadgen_generic.campaigns.spreading.there import describe, digests, trial
from loadgen_generic.cluster.files import model_here
from loadgen_generic.cluster.node import Node
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, RequestError, RunError
from loadgen_generic.results.result import Result, read_result

# Sleeps, so that its figures hardly depend on what else the machine does.
RUNS: dict[str, object] = {
    **fake("latency_us=2000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "SingleStream",
    "loadgen_expected_qps": 500,
    "loadgen_duration_sec": 0.3,
    "telemetry": "off",
    "trials_on": "ray",
}
SERVER: dict[str, object] = {
    **fake("latency_us=1000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "Server",
    "target_latency_ms": 20,
    "loadgen_duration_sec": 1,
    "mode": "find_peak",
    "trials_on": "ray",
}
CPUS = 4096  # unlike any number of threads that the environment of the tests may ask for


class Killed(BaseException):
    """What no handler catches, as SIGKILL."""


@dataclass
class Threads:
    """A cluster whose nodes are threads.

    Attributes:
        hosts: names of the nodes.
        says: what a node says in place of what is so, by its name and the function; an exception
            is raised.
        ends_after: raised in place of the next outcome, after so many tests.
        waited: how many calls were waited for at once, time after time.
        ran: the node of each test that was begun, in order.
    """

    hosts: Sequence[str]
    says: Mapping[tuple[str, Callable[..., object]], object] = field(default_factory=dict)
    ends_after: int = -1
    end: BaseException = field(default_factory=Killed)
    waited: list[int] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    left: bool = False

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(len(self.hosts))
        self._whole = {host: threading.Lock() for host in self.hosts}

    def nodes(self) -> list[Node]:
        return [Node(f"id-{host}", host, "10.0.0.1", CPUS, 0) for host in self.hosts]

    def share(self, value: object) -> object:
        return value

    def start(
        self, node: Node, work: Callable[..., object], *given: object, whole: bool = False
    ) -> Ticket:
        if whole:
            self.ran.append(node.host)
        return self._pool.submit(self._call, node.host, work, given, whole)

    def _call(
        self, host: str, work: Callable[..., object], given: tuple[object, ...], whole: bool
    ) -> object:
        said = self.says.get((host, work))
        if isinstance(said, Exception):
            raise said
        if said is not None:
            return said
        if not whole:
            return work(*given)
        assert self._whole[host].acquire(blocking=False), f"two tests at once on {host}"
        try:
            return work(*given)
        finally:
            self._whole[host].release()

    def first(self, tickets: Sequence[Ticket]) -> Ticket:
        if self.ends_after == 0:
            raise self.end
        self.ends_after -= 1
        self.waited.append(len(tickets))
        futures = [ticket for ticket in tickets if isinstance(ticket, Future)]
        done = wait(futures, return_when=FIRST_COMPLETED).done
        return next(each for each in futures if each in done)

    def outcome(self, ticket: Ticket) -> Any:
        assert isinstance(ticket, Future)
        return ticket.result()

    def close(self) -> None:
        self.left = True
        self._pool.shutdown()


class Watcher(SilentAudience):
    """Keeps what a user would see."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.columns: Sequence[str] = ()
        self.rows: Sequence[Sequence[str]] = ()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.columns, self.rows = columns, rows


Carry = Callable[..., Result]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def carry(tmp_path: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> Carry:
    """Carries a request out over a cluster; it goes to ``out``."""

    def begin(cluster: Threads, /, **options: object) -> Result:
        @contextmanager
        def nodes(config: BenchmarkConfig) -> Iterator[Places]:
            try:
                yield cluster
            finally:
                cluster.close()

        monkeypatch.setattr(stage, "_nodes_for", nodes)
        config = BenchmarkConfig.model_validate({"output_dir": str(tmp_path / "out"), **options})
        return carry_out(config, watcher).result

    return begin


def journal(result_or_directory: Result | Path, name: str = "repeat.json") -> dict[str, Any]:
    directory = (
        result_or_directory
        if isinstance(result_or_directory, Path)
        else result_or_directory.path.parent
    )
    content: dict[str, Any] = json.loads((directory / name).read_text("utf-8"))
    return content


def test_repeated_runs_go_to_all_nodes(carry: Carry, watcher: Watcher) -> None:
    cluster = Threads(["a", "b", "c"])
    result = carry(cluster, **RUNS, repeat=4)
    assert cluster.ran[0] == "a", "the first node has the run that says what test it is"
    assert sorted(cluster.ran[1:]) == ["a", "b", "c"]
    assert cluster.waited == [1, 3, 2, 1]
    assert cluster.left

    runs = journal(result)["runs"]
    assert result.repeat is not None
    assert result.repeat.values == [run["value"] for run in runs]
    assert sorted(run["node"] for run in runs) == ["a", "a", "b", "c"]
    assert any("3 node(s), one at a time on each: a, b, c" in note for note in watcher.notes)
    assert "the 4 tests were spread over nodes of a Ray cluster: a (2)" in result.notes[-1]
    assert watcher.columns[:2] == ("run", "node")
    assert [row[1] for row in watcher.rows] == [run["node"] for run in runs]


def test_a_run_that_came_home_names_paths_of_here(carry: Carry) -> None:
    result = carry(Threads(["a", "b"]), **RUNS | {"telemetry": "on"}, repeat=2)
    for run in journal(result)["runs"]:
        directory = result.path.parent / run["directory"]
        single = read_result(directory)
        assert single.output_dir == str(directory)
        assert single.telemetry is not None
        named = [*single.loadgen_logs.values(), single.telemetry.file]
        assert all(Path(path).parent == directory for path in named)
        assert all(Path(path).is_file() for path in named)
        assert single.host["node"] == run["node"]
        assert single.config.requested["output_dir"] == str(result.path.parent)
        assert "trials_on" not in single.config.requested
        assert json.loads((directory / "request.json").read_text()) == single.config.requested
        assert (directory / "report.html").is_file()
        assert not (directory / ".progress").exists()


def test_a_model_that_a_node_lacks_is_sent(
    carry: Carry,
    models: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(cache))
    model = models("matmul")
    monkeypatch.chdir(model.parent)
    result = carry(
        Threads(["a", "b"], says={("b", model_here): ""}),
        model_path=model.name,
        scenario="Offline",
        samples=20,
        runner="inline",
        batch_size=4,
        repeat=3,
        trials_on="ray",
    )
    sent = list(cache.rglob("matmul.onnx"))
    assert [path.read_bytes() for path in sent] == [model.read_bytes()]
    runs = journal(result)["runs"]
    assert {run["node"] for run in runs} == {"a", "b"}
    for run in runs:
        text = (result.path.parent / run["directory"] / "result.json").read_text("utf-8")
        single = Result.model_validate_json(text)
        assert single.model.path == str(model)
        assert single.config.requested["model_path"] == model.name
        assert str(sent[0]) not in text


def test_a_node_that_is_lost_leaves_its_run_to_another(carry: Carry, watcher: Watcher) -> None:
    cluster = Threads(["a", "b", "c"], says={("b", trial): LostNodeError("its raylet is gone")})
    result = carry(cluster, **RUNS, repeat=4)
    assert cluster.ran.count("b") == 1
    assert len(cluster.ran) == 5
    assert {run["node"] for run in journal(result)["runs"]} == {"a", "c"}
    assert "node b is lost, and its test goes to another (its raylet is gone)" in watcher.notes


def test_a_node_that_is_lost_before_the_first_run_is_left_out(
    carry: Carry, watcher: Watcher
) -> None:
    cluster = Threads(["a", "b"], says={("a", describe): LostNodeError("no answer")})
    result = carry(cluster, **RUNS, repeat=2)
    assert {run["node"] for run in journal(result)["runs"]} == {"b"}
    assert "node a is lost, and left out: no answer" in watcher.notes


def test_no_node_is_left(carry: Carry, tmp_path: Path) -> None:
    lost = LostNodeError("its raylet is gone")
    cluster = Threads(["a", "b"], says={("a", trial): lost, ("b", trial): lost})
    with pytest.raises(RunError, match="the last node, b, is lost"):
        carry(cluster, **RUNS, repeat=2)
    assert journal(tmp_path / "out")["runs"] == []
    assert cluster.left


def unlike(**facts: object) -> dict[str, Any]:
    return {**describe(), **facts}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"cores": 4096}, "node b is not like node a, .*: cores \\(4096, not"),
        ({"packages": {"onnxruntime": "0.1"}}, "packages \\(.*onnxruntime 0.1, not"),
        ({"version": "0.0.1"}, "node b has version 0.0.1 of loadgen-generic"),
    ],
)
def test_unlike_nodes_are_refused(said: dict[str, object], words: str, carry: Carry) -> None:
    cluster = Threads(["a", "b"], says={("b", describe): unlike(**said)})
    with pytest.raises(RunError, match=words):
        carry(cluster, **RUNS, repeat=2)
    assert cluster.ran == [], "before any test"


def test_a_node_without_the_package(carry: Carry) -> None:
    missing = RuntimeError("the function failed to import: no module named loadgen_generic")
    with pytest.raises(RunError, match=r"node b cannot run tests .*no module named"):
        carry(Threads(["a", "b"], says={("b", describe): missing}), **RUNS, repeat=2)


def test_the_journal_names_the_nodes_that_differ(carry: Carry) -> None:
    result = carry(Threads(["a", "b"]), **RUNS, repeat=2)
    content = journal(result)
    single = read_result(result.path.parent / content["runs"][0]["directory"])
    other = single.model_copy(
        update={"host": {**single.host, "node": "z", "cores_available": 4096}}
    )
    with pytest.raises(RunError, match=r"node z is not like node a, .*: cores"):
        Journal(result.path.parent, "repeat.json", content).add({}, other)


@pytest.mark.parametrize(("found", "words"), [([None], "no such file"), (["0"], "another file")])
def test_a_file_that_a_node_lacks(
    found: list[str | None], words: str, carry: Carry, tmp_path: Path
) -> None:
    conf = tmp_path / "user.conf"
    conf.write_text("*.SingleStream.target_latency = 2\n")
    cluster = Threads(["a", "b"], says={("b", digests): found})
    with pytest.raises(RequestError, match=f"--user_conf {conf}: node b has {words}"):
        carry(cluster, **RUNS, user_conf=str(conf), repeat=2)
    assert cluster.ran == []


@pytest.mark.parametrize(
    ("behaviour", "kind"), [("die_at=5", RunError), ("no_such_setting=1", RequestError)]
)
def test_a_test_that_fails(
    behaviour: str, kind: type[RunError | RequestError], carry: Carry, tmp_path: Path
) -> None:
    with pytest.raises(kind, match="on node a: ") as failure:
        carry(Threads(["a", "b"]), **RUNS | fake(behaviour), repeat=2)
    directory = tmp_path / "out" / "runs" / "001"
    for where in (directory, tmp_path / "out"):
        told = json.loads((where / "error.json").read_text("utf-8"))
        assert told == {"exit_code": kind.exit_code, "error": str(failure.value)}
    if kind is RunError:
        assert f"see {directory / 'harness.log'}" in str(failure.value)
        assert (directory / "harness.log").is_file()


def test_killed_half_way_it_goes_on(carry: Carry, watcher: Watcher, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        carry(Threads(["a", "b"], ends_after=2), **RUNS, repeat=4)
    before = journal(tmp_path / "out")["runs"]
    assert len(before) == 2
    assert len(list(tmp_path.rglob("result.json"))) == 2

    result = carry(Threads(["a", "b"]), **RUNS, repeat=4)
    assert any("2 of 4 runs are done" in note for note in watcher.notes)
    after = journal(result)["runs"]
    assert after[:2] == before
    assert len(after) == 4
    assert all((result.path.parent / run["directory"] / "report.html").is_file() for run in after)


def test_killed_before_the_journal_knows_of_a_run(
    carry: Carry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            carry(Threads(["b"]), **RUNS, repeat=2)
    value = read_result(tmp_path / "out" / "runs" / "001").metric.value
    result = carry(Threads(["a"]), **RUNS, repeat=2)
    runs = journal(result)["runs"]
    assert [run["node"] for run in runs] == ["b", "a"]
    assert runs[0]["value"] == value


def test_ctrl_c_leaves_the_cluster_and_keeps_the_runs(carry: Carry, tmp_path: Path) -> None:
    cluster = Threads(["a", "b"], ends_after=1, end=KeyboardInterrupt())
    with pytest.raises(InterruptedRunError, match="1 finished run"):
        carry(cluster, **RUNS, repeat=3)
    assert cluster.left
    assert len(journal(tmp_path / "out")["runs"]) == 1


@pytest.mark.parametrize(("threads", "kept"), [(3, False), (2, True)])
def test_what_ray_sets_for_its_workers_does_not_hold_a_test_back(
    threads: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of the user's own stays."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    options = {name: value for name, value in RUNS.items() if name != "trials_on"}
    told = trial({**options, "samples": 5}, 3)
    assert told.exit_code == 0, told.error
    assert ("OMP_NUM_THREADS" in os.environ) is kept


def test_names_tell_nodes_apart() -> None:
    def node(identity: str, host: str, address: str) -> Node:
        return Node(identity, host, address, 1, 0)

    nodes = [
        node("1", "a", "10.0.0.1"),
        node("2", "b", "10.0.0.2"),
        node("3", "b", "10.0.0.3"),
        node("4f", "c", "10.0.0.4"),
        node("5f", "c", "10.0.0.4"),
    ]
    names = names_of(nodes)
    assert list(names.values()) == [
        "a",
        "b (10.0.0.2)",
        "b (10.0.0.3)",
        "c (node 4f)",
        "c (node 5f)",
    ]


def four_digits(load: float) -> float:
    return float(f"{load:.4g}")


def alone(passes: Callable[[float, bool], bool], first: float) -> list[Trial]:
    """The search of one test after the other."""
    trials = [Trial(first, False, passes(first, False))]
    while (step := next_step(trials, four_digits)) is not None:
        trials.append(Trial(step.load, step.full, passes(step.load, step.full)))
    return trials


def spread(
    passes: Callable[[float, bool], bool], first: float, nodes: int
) -> tuple[list[Trial], int]:
    """The search over nodes whose tests all take as long; and how many times that it took."""
    trials, rounds = [Trial(first, False, passes(first, False))], 1
    while steps := foresee(trials, four_digits, 0.0, nodes):
        assert len(steps) <= nodes
        trials += [Trial(step.load, step.full, passes(step.load, step.full)) for step in steps]
        rounds += 1
    return trials, rounds


LIMITS = st.floats(0.01, 1e7)


@given(LIMITS, st.floats(0.125, 8), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_at_once_gives_the_answer_of_one_after_the_other(
    limit: float, guess: float, nodes: int
) -> None:
    first = four_digits(limit * guess)
    one = alone(lambda load, full: load <= limit, first)
    several, rounds = spread(lambda load, full: load <= limit, first, nodes)
    known, found = settled(one), settled(several)
    assert rounds <= len(one)
    assert known.low is not None
    assert found.low is not None
    assert known.low <= found.low
    assert found.high is not None
    assert limit / 1.045 <= found.low <= limit < found.high


def test_more_nodes_need_fewer_rounds() -> None:
    def rounds(nodes: int) -> int:
        limits = (1.7, 23.0, 456.0, 7890.0)
        return sum(spread(lambda load, full, at=at: load <= at, at / 2, nodes)[1] for at in limits)

    assert rounds(1) == sum(
        len(alone(lambda load, full, at=at: load <= at, at / 2))
        for at in (1.7, 23.0, 456.0, 7890.0)
    )
    assert rounds(3) < 0.75 * rounds(1)
    assert rounds(6) < rounds(3)


@given(LIMITS, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_whatever_tests_at_once_say_it_ends(first: float, nodes: int, chance: Any) -> None:
    trials, rounds = spread(lambda load, full: chance.random() < 0.5, four_digits(first), nodes)
    assert rounds <= len(trials) < ENOUGH + nodes
    assert len({(t.load, t.full) for t in trials}) == len(trials), "no trial is done twice"


def entry(load: float, full: bool, passed: bool) -> dict[str, Any]:
    return {
        "load": load,
        "full": full,
        "passed": passed,
        "sustained": 0.0,
        "hopeless": False,
        "doubts": [],
    }


def test_the_tests_that_a_search_wants_at_once(tmp_path: Path) -> None:
    """The next one, then the ones that follow it if it passes and if it fails."""
    strategy = LoadSearch(BenchmarkConfig.model_validate(SERVER))
    fixed = {"runner": "inline", "target_latency_ms": 20, "target_latency_percentile": 99}
    content = {"runs": [entry(400, False, True)], "fixed": fixed}
    known = Journal(tmp_path, "search.json", content)
    attempts = strategy.foreseen(known, 3)
    assert [each.config.target_qps for each in attempts] == [800, 3200, 565.7]
    assert [each.config.trials_on for each in attempts] == ["here"] * 3
    assert not any(each.full for each in attempts)
    known.runs.extend([entry(565.7, False, True), entry(800, False, False)])
    (then,) = strategy.foreseen(known, 1)
    assert then.config.target_qps == 672.7, "what is measured is not asked for again"


@pytest.mark.slow
def test_a_search_over_three_nodes(carry: Carry, watcher: Watcher) -> None:
    cluster = Threads(["a", "b", "c"])
    options = SERVER | fake("latency_us=5000") | {"target_latency_ms": 100}
    result = carry(cluster, **options)
    assert result.search is not None
    best = result.search.highest_valid
    assert best is not None
    assert 50 < best < 200, "the fake backend answers at most 200 a second"
    assert result.config.effective["target_qps"] == best
    runs = journal(result, "search.json")["runs"]
    passed = [run["load"] for run in runs if run["full"] and run["passed"]]
    assert best == max(passed)
    assert {run["node"] for run in runs} == {"a", "b", "c"}
    assert watcher.columns[:2] == ("trial", "node")
    assert max(cluster.waited) == 3
    assert "trials_on" not in result.search.command


def test_a_search_for_a_layout_stays_on_one_node(carry: Carry, watcher: Watcher) -> None:
    pytest.importorskip("optuna")
    cluster = Threads(["a", "b"], says={("a", trial): RunError("enough seen")})
    options = {**fake("latency_us=100"), "scenario": "Offline", "mode": "find_peak"}
    with pytest.raises(RunError, match="on node a: enough seen"):
        carry(cluster, **options, trials_on="ray")
    assert cluster.ran == ["a"]
    assert any("one node at a time, first to a" in note for note in watcher.notes)
