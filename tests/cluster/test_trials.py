"""``--trials_on ray`` on a real cluster of three nodes on this machine."""

from __future__ import annotations

import json
import shlex
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Command, Running, fake
from nodes import Cluster

from loadgen_generic.results.result import read_result

pytestmark = pytest.mark.slow

_PATIENCE_SEC = 120.0
# Under the interpreter that has Ray, with what else the command needs from the one that tests.
_CODE = (
    "import sys; sys.path.append({packages!r}); from loadgen_generic.cli import main; "
    "sys.exit(main(sys.argv[1:]))"
)
_SOURCES = Path(__file__).resolve().parents[2] / "src"
RUNS: dict[str, object] = {
    **fake("latency_us=2000"),
    "runner": "inline",
    "batch_size": 1,
    "scenario": "SingleStream",
    "loadgen_expected_qps": 500,
}
Beside = Callable[[Cluster], Command]


@pytest.fixture
def joins(on_ray: Command, beside: Beside, ray: Path) -> Beside:
    """The command that joins a cluster itself, on the machine of its head."""

    def command(cluster: Cluster) -> Command:
        packages = sysconfig.get_path("purelib")
        python = ray / "ray" / "bin" / "python"
        program = shlex.join([str(python), "-c", _CODE.format(packages=packages)])
        shell = f'shift; set -- {program} "$@"'
        environ = {**on_ray.environ, "PYTHONPATH": str(_SOURCES)}
        there = beside(cluster).shell
        return Command(on_ray.directory, environ, "; ".join(filter(None, [shell, there])))

    return command


@pytest.fixture
def begin() -> Iterator[Callable[..., Running]]:
    """Starts runs in the background; those that a test leaves are ended."""
    started: list[tuple[Command, Running]] = []

    def start(command: Command, **flags: object) -> Running:
        running = command.start("run", **flags)
        started.append((command, running))
        return running

    yield start
    for command, running in started:
        command.stop(running)


def on(cluster: Cluster) -> dict[str, object]:
    return {"trials_on": "ray", "ray_address": cluster.address}


def journal(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def wait_for_runs(running: Running, name: str, count: int) -> None:
    """Until the journal names so many finished runs."""
    path = running.run_dir / name
    end = time.monotonic() + _PATIENCE_SEC
    while not path.exists() or len(journal(path)["runs"]) < count:
        assert running.process.poll() is None, running.finish()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_runs_of_a_model_on_all_nodes(
    cluster: Cluster, joins: Beside, models: Callable[[str], Path]
) -> None:
    """The model is only where the command runs."""
    model = models("matmul")
    outcome = joins(cluster).run(
        model, **on(cluster), scenario="Offline", samples=200, runner="inline", repeat=4
    )
    assert outcome.code == 0, outcome.stderr
    runs = journal(outcome.run_dir / "repeat.json")["runs"]
    assert outcome.result.repeat is not None
    assert outcome.result.repeat.values == [run["value"] for run in runs]
    assert len({run["node"] for run in runs}) == 3
    assert "3 node(s), one at a time on each" in outcome.stderr
    assert "4 tests were spread over nodes" in outcome.result.notes[-1]
    for run in runs:
        single = read_result(outcome.run_dir / run["directory"])
        assert single.model.path == str(model)
        assert all(Path(path).is_file() for path in single.loadgen_logs.values())
    if not cluster.together:
        assert all(list(node.cache.rglob("matmul.onnx")) for node in cluster.nodes[1:])


def test_a_search_that_is_interrupted_goes_on(
    cluster: Cluster, joins: Beside, begin: Callable[..., Running]
) -> None:
    flags = {
        **on(cluster),
        **fake("latency_us=10000"),
        "runner": "inline",
        "batch_size": 1,
        "scenario": "Server",
        "target_latency_ms": 60,
        "target_latency_percentile": 90,  # needs few queries
        "loadgen_duration_sec": 1,
        "mode": "find_peak",
    }
    command = joins(cluster)
    running = begin(command, **flags)
    wait_for_runs(running, "search.json", 2)
    running.process.send_signal(signal.SIGINT)
    outcome = running.finish()
    assert outcome.code == 130, outcome.stderr
    before = journal(outcome.run_dir / "search.json")["runs"]

    outcome = command("run", **flags)
    assert outcome.code == 0, outcome.stderr
    content = journal(outcome.run_dir / "search.json")
    assert content["state"] == "finished"
    assert content["runs"][: len(before)] == before
    assert len({run["node"] for run in content["runs"]}) > 1
    search = outcome.result.search
    assert search is not None
    assert search.highest_valid is not None
    # 100 a second for long; in a second the queue of a few more does not grow to the bound.
    assert 20 < search.highest_valid < 150


def test_a_node_that_dies_leaves_its_run_to_another(
    own_cluster: Callable[..., Cluster], joins: Beside, begin: Callable[..., Running]
) -> None:
    cluster = own_cluster(1, 1, 1)
    running = begin(joins(cluster), **on(cluster), **RUNS, loadgen_duration_sec=4, repeat=4)
    wait_for_runs(running, "repeat.json", 1)
    cluster.nodes[2].kill()  # the other runs are under way, one on each node
    outcome = running.finish()
    assert outcome.code == 0, outcome.stderr
    assert "is lost, and its test goes to another" in outcome.stderr
    runs = journal(outcome.run_dir / "repeat.json")["runs"]
    assert len(runs) == 4
    assert len({run["node"] for run in runs}) == 2
