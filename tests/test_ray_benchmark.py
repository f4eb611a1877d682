"""The benchmark of --runner ray, on a stand-in for Ray and for the command; what it makes of their
figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import cluster_model
import ray_runner
from lab import Measured, UnavailableError
from ray_runner import Look
from table import Record

pytestmark = pytest.mark.slow

ADDRESS = "192.0.2.7:50123"
BEGIN = 1767225600.0  # 2026-01-01T00:00:00 UTC

# Prints what `ray start` prints, has a process below it, and goes on until it is told to end.
RAY = f"""
import os, subprocess, sys, time
if "--version" in sys.argv:
    print("ray, version 2.60.0")
    sys.exit()
if "RAY_BREAKS" in os.environ:
    sys.exit("no room in this directory")
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["RAY_BELOW"], "w") as file:
    file.write(str(below.pid))
with open(os.environ["RAY_BELOW"] + "-token", "w") as file:
    file.write(os.environ["RAY_AUTH_TOKEN"])
print("Local node IP: 192.0.2.7")
print("    ray start --address='{ADDRESS}'", flush=True)
time.sleep(600)
"""

# Works for 0.3 s of processor time, and then sleeps.
BUSY = """
import time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
time.sleep(600)
"""

# Scaling at a set share of the ideal; a batch that computes nothing takes 200 us, and 2 us for each
# sample.
COMMAND = """
import json, os, pathlib, sys
given = dict(zip(sys.argv[1:], sys.argv[2:]))
batch, workers = int(given.get("--batch_size", 1)), int(given.get("--concurrency", 1))
ray = given["--runner"] == "ray"
assert ("--ray_address" in given) == ray
assert os.environ["RAY_AUTH_TOKEN"] == open(os.environ["RAY_BELOW"] + "-token").read()
took_us = 200 + 2 * batch if ray else 50 + batch
rate = 1e6 * batch / took_us
if "latency_us" in given.get("--backend_options", ""):
    rate = workers * batch / 0.02 * float(os.environ["SHARE"]) ** (workers.bit_length())
seconds = 10
samples = int(rate * seconds)
out = pathlib.Path(given["--output_dir"])
out.mkdir()
series = {"name": "resident memory", "unit": "bytes", "values": [1e8, None, 1.01e8, 1.02e8]}
memory = {"title": "Memory", "at_s": [0.5, 3.0, 6.0, 9.5], "series": [series]}
telemetry = {"begin": "2026-01-01T00:00:00.000+00:00", "machine": [memory]}
(out / "telemetry.json").write_text(json.dumps(telemetry))
print(json.dumps({
    "valid": True,
    "metric": {"value": rate},
    "latency_ns": {"p50": 400_000 if ray else 8_000},
    "samples_completed": samples,
    "duration_s": seconds,
    "phases": {"network_us": 120.0, "compute_us": 3.0, "batch_size": batch} if ray else None,
}))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``ray`` of an environment."""
    directory = tmp_path / "environment"
    directory.mkdir()
    for name, text in (("ray", RAY), ("loadgen-generic", COMMAND)):
        program = directory / name
        program.write_text(f"#!{sys.executable}\n{text}", "utf-8")
        program.chmod(0o755)
    monkeypatch.setattr(ray_runner, "find_ray", lambda: directory / "ray")
    monkeypatch.setenv("RAY_BELOW", str(tmp_path / "below"))
    monkeypatch.setenv("SHARE", "0.99")
    # At the time that the stand-in says the test was: the driver takes half of one core.
    looks = [Look(BEGIN + at, 7.0 + at / 2, 2e8 + 1e6 * at) for at in range(-5, 15)]
    monkeypatch.setattr(ray_runner, "_watched", lambda head, wanted: _Looks(looks))
    return directory / "ray"


class _Looks:
    def __init__(self, looks: list[Look]) -> None:
        self._looks = looks

    def __enter__(self) -> list[Look]:
        return self._looks

    def __exit__(self, *_: object) -> None:
        pass


def benchmark(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the file."""
    results = tmp_path / "results"
    where = ["--work", str(tmp_path / "work"), "--output", str(results)]
    code = ray_runner.main(["--quick", *where, *words])
    (file,) = results.glob("ray-*.json")
    return code, json.loads(file.read_text("utf-8"))


@pytest.mark.usefixtures("stand_in")
def test_table_and_costs_of_a_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = benchmark(tmp_path)
    assert code == 0, [row["key"] for row in report["rows"] if row["holds"] is False]
    rows = {row["key"]: row for row in report["rows"]}
    assert rows["scaling/4/of-ideal"]["reached"] == pytest.approx(0.99**3)
    assert rows["scaling/4/of-one"]["reached"] == pytest.approx(0.99**2)
    assert "scaling/16/of-one" not in rows
    assert rows["round-trip/p50"]["reached"] == pytest.approx(392_000)
    assert rows["overhead/batch-1/4/cpu_us_per_batch"]["ours"] == pytest.approx(101, rel=0.01)
    assert rows["memory/driver"]["ours"] == pytest.approx(1.02)
    assert rows["memory/driver/grew"]["ours"] == pytest.approx(2)
    assert rows["memory/cluster/grew"]["ours"] == pytest.approx(7.75, abs=0.5)
    found = report["costs"]
    assert found["driver_us_per_batch"] == pytest.approx(100, rel=0.01)
    assert found["driver_us_per_sample"] == pytest.approx(1, rel=0.01)
    assert found["replica_us_per_batch"] == pytest.approx(202)
    assert found["round_trip_us"] == pytest.approx(392)
    assert found["issue_us_per_sample"] == pytest.approx(8)
    assert found["service_us"] == {
        "mlp": {str(size): pytest.approx(50 + size) for size in (1, 64, 1024)}
    }
    told = capsys.readouterr().out
    assert "scaling/2/of-one" in told
    assert "driver_us_per_batch" in told


@pytest.mark.usefixtures("stand_in")
def test_every_figure_has_its_command_without_the_address(tmp_path: Path) -> None:
    _, report = benchmark(tmp_path, "--replicas", "3")
    assert ADDRESS not in json.dumps(report)
    assert (tmp_path / "below-token").read_text("utf-8") not in json.dumps(report)
    command = report["cases"]["scaling/3"]["command"]
    assert "run --backend fake" in command
    assert "--runner ray --concurrency 3 --batch_size 8" in command
    assert "--ray_address HEAD:PORT" in command
    assert "--ray_address" not in report["cases"]["round-trip/inline"]["command"]
    assert report["cluster"].startswith("ray start --head --block")
    assert "--num-cpus 4" in report["cluster"]
    assert report["ray"] == "ray, version 2.60.0"


@pytest.mark.usefixtures("stand_in")
def test_less_than_linear_is_told_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARE", "0.9")
    code, report = benchmark(tmp_path)
    assert code == 1
    short = [row["key"] for row in report["rows"] if row["holds"] is False]
    assert short == [f"scaling/{count}/of-one" for count in (2, 4)]


@pytest.mark.usefixtures("stand_in")
def test_the_cluster_ends_with_all_that_it_started(tmp_path: Path) -> None:
    benchmark(tmp_path)
    below = int((tmp_path / "below").read_text("utf-8"))
    assert not psutil.pid_exists(below) or psutil.Process(below).status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("stand_in")
def test_cluster_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_BREAKS", "1")
    assert ray_runner.main(["--work", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "no room in this directory" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
def test_its_file_is_what_the_model_of_a_cluster_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark(tmp_path)
    monkeypatch.setattr(cluster_model, "_LEAST_QUERIES", 500)
    monkeypatch.setattr(cluster_model, "_MOST_QUERIES", 500)
    asked = ["--output", str(tmp_path / "results"), "--replicas", "2", "--faster", "1"]
    assert cluster_model.main(asked) == 0


def test_without_ray_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_runner, "named", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert ray_runner.main([]) == 2
    assert "make venv EP=ray" in capsys.readouterr().err


def test_ray_is_found_in_the_environment_of_that_name(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    environment = SimpleNamespace(python=stand_in.with_name("python"))
    monkeypatch.setattr(ray_runner, "named", {"ray": environment}.get)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert ray_runner.find_ray() == stand_in


@pytest.mark.parametrize("words", [["--replicas", "0"], ["--rounds", "none"]])
def test_flags_that_make_no_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ray_runner.main(words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_memory_that_nobody_saw_is_no_flat_memory() -> None:
    series = {"name": "resident memory", "values": [1e8]}
    line = {"title": "Memory", "at_s": [5.0], "series": [series]}
    telemetry = {"begin": "2026-01-01T00:00:00.000+00:00", "machine": [line]}
    with pytest.raises(UnavailableError, match="too short"):
        ray_runner.growths(telemetry, [], 10.0)


def test_processor_time_that_nobody_saw_is_not_nothing() -> None:
    with pytest.raises(UnavailableError, match="too short"):
        ray_runner.cores_used([Look(1.0, 5.0, 1e8)])


def test_costs_that_were_not_measured_are_not_made_up() -> None:
    records = {
        "overhead/batch-1/1": Record([Measured({"wall_us_per_batch": 300.0}, "")]),
        "overhead/batch-1024/4": Record(unavailable="no such thing here"),
    }
    found = ray_runner.costs(records)
    assert found["replica_us_per_batch"] == 300
    assert found["driver_us_per_batch"] is None
    assert found["driver_us_per_sample"] is None
    assert found["round_trip_us"] is None
    assert found["service_us"] == {}


def ours(head: int) -> list[psutil.Process]:
    """What this process started, besides the cluster; other tests may have a browser."""
    return [each for each in psutil.Process().children(recursive=True) if each.pid != head]


def test_look_tells_the_cluster_from_what_runs_on_it() -> None:
    started = [subprocess.Popen([sys.executable, "-c", BUSY], stdout=PIPE) for _ in range(2)]
    head, driver = started
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.read(4) == b"done"
        found = ray_runner.look(head.pid)
        assert driver.pid in {each.pid for each in ours(head.pid)}
        spent = sum(sum(each.cpu_times()[:2]) for each in ours(head.pid))
        assert found.driver_cpu_s == pytest.approx(spent, abs=0.3)
        assert found.driver_cpu_s >= 0.2
        assert found.cluster_bytes == pytest.approx(
            psutil.Process(head.pid).memory_info().rss, rel=0.1
        )
    finally:
        for process in started:
            process.kill()
            process.communicate()
