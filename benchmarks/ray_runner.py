"""What --runner ray costs, and how far it scales: the real command, on a cluster of this machine.

Starts a Ray cluster for itself, of as many logical processors as the most replicas, and ends that
one only. With the fake backend, in rounds: Offline at 20 ms a batch with more and more replicas,
of which each should do as much as one alone; SingleStream with one replica against the inline
runner, which is the round trip; Offline with batches that take no time, which is what the driver
spends on each, and at 1,024 samples a batch on each sample; and a million samples, over which the
measured process should not grow. ResNet-50 and the MLP run inline, for their time a batch. Prints
a table and writes a JSON file, whose costs ``cluster_model.py`` takes up.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from campaign import Campaign
from lab import Case, Lab, Measured, UnavailableError, last_line
from ours import command_of
from reporting import add_output, add_work, circumstances, machine_slug, write
from suite import Figure, Row, Suite
from table import Record, judge, render

from loadgen_generic.environments import how_to_make, named
from loadgen_generic.machine import available_cores

__all__ = [
    "Look",
    "Rig",
    "cluster",
    "cores_used",
    "costs",
    "figures_of",
    "find_ray",
    "growths",
    "look",
    "main",
    "suite",
]

_LEAST_SHARE, _MOST_GROWTH = 0.95, 1.05
_BATCH_US, _SCALING_BATCH = 20_000, 8
_LARGE = 1024
_REPLICAS, _QUICK_REPLICAS, _OVERHEAD_REPLICAS = (1, 2, 4, 8, 16), (1, 2, 4), (1, 2, 4)
_MEMORY_SAMPLES, _MEMORY_BATCH, _MEMORY_REPLICAS = 1_000_000, 64, 2
_SERVICE = {"resnet50": (1, 8, 64), "mlp": (1, 64, 1024)}
_ADDRESS = re.compile(r"ray start --address='([^']+)'")
_LOOK_SEC, _GOODBYE_SEC, _LAST_SEC = 1.0, 30.0, 5.0
_HEAD = "HEAD:PORT"  # in place of this machine's address


@dataclass(frozen=True)
class Rig:
    """Where to run.

    Attributes:
        program: the command of the environment that has Ray.
        address: of the cluster.
        head: number of its first process.
        command: that started it.
        environ: what its users have to have in their environment.
    """

    program: Path
    address: str
    head: int
    command: str
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Look:
    """At one moment.

    Attributes:
        at_s: since the epoch, or since the begin of a test.
        driver_cpu_s: processor time so far of the supervisor and the measured process.
        cluster_bytes: resident memory of the cluster's processes, Ray's own included.
    """

    at_s: float
    driver_cpu_s: float
    cluster_bytes: float


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    ray = find_ray()
    if ray is None:
        print(
            f"ray_runner.py: no environment has Ray and loadgen-generic; "
            f"{how_to_make('ray', 'ray')}",
            file=sys.stderr,
        )
        return 2
    rounds = given.rounds or (1 if given.quick else 3)
    seconds = given.seconds or (3.0 if given.quick else 5.0)
    lab = Lab(given.work.resolve(), available_cores(), seconds, given.patience, given.quick)
    lab.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOADGEN_GENERIC_CACHE", str(lab.work / "cache"))
    replicas = sorted({1, *(given.replicas or (_QUICK_REPLICAS if given.quick else _REPLICAS))})
    try:
        with cluster(ray, max(*replicas, *_OVERHEAD_REPLICAS)) as rig:
            planned = suite(rig, lab, replicas)
            campaign = Campaign(lab, list(planned.cases.values()), rounds)
            with suppress(KeyboardInterrupt):  # the table shows what there is
                campaign.run()
    except UnavailableError as error:
        print(f"ray_runner.py: {error}", file=sys.stderr)
        return 1
    verdicts = [judge(row, campaign.records) for row in planned.rows]
    measured = costs(campaign.records)
    print(render(verdicts))
    print(f"\ncosts: {json.dumps(measured)}")
    report = {
        **circumstances(),
        "command": " ".join(["ray_runner.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "cluster": rig.command,
        "ray": _version(ray),
        "rounds": rounds,
        "seconds": seconds,
        "rows": [verdict.as_json() for verdict in verdicts],
        "costs": measured,
        "cases": {key: record.as_json() for key, record in campaign.records.items()},
    }
    path = write(report, given.output / f"ray-{machine_slug()}.json")
    print(f"\nevery figure and command line: {path}")
    fell_short = any(verdict.holds is False for verdict in verdicts)
    missing = any(verdict.wanted is not None and verdict.holds is None for verdict in verdicts)
    return 1 if fell_short or missing else 0


def find_ray() -> Path | None:
    """The ``ray`` of this interpreter's environment, else of the one named ray."""
    own = named("ray")
    for python in (Path(sys.executable), own.python if own else None):
        if python and all(python.with_name(name).exists() for name in ("ray", "loadgen-generic")):
            return python.with_name("ray")
    return None


@contextmanager
def cluster(ray: Path, cpus: int) -> Iterator[Rig]:
    """A cluster of one node, which nobody else may use.

    Raises:
        UnavailableError: it does not start; in Ray's words.
    """
    # Said on both sides: left to itself, `ray start` asks for the user's own token if there is one,
    # and who joins by an address does not give it.
    environ = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory:
        words = ["start", "--head", "--block", "--port", "0", "--num-cpus", str(cpus)]
        words += ["--include-dashboard", "false", "--disable-usage-stats", "--temp-dir"]
        head = subprocess.Popen(
            [ray, *words, directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        try:
            address, command = _address_of(head), " ".join(["ray", *words, "DIR"])
            yield Rig(ray.with_name("loadgen-generic"), address, head.pid, command, environ)
        finally:
            _end(head)


def _address_of(head: subprocess.Popen[str]) -> str:
    """As it prints it, when the cluster is up; it goes on until it is told to end."""
    assert head.stdout is not None
    said = []
    for line in head.stdout:
        said.append(line.strip())
        if found := _ADDRESS.search(line):
            return found[1]
    raise UnavailableError(f"Ray does not start: {' '.join(said)[-1000:]}")


def _end(head: subprocess.Popen[str]) -> None:
    """End the cluster's processes and no others: ``ray stop`` ends every cluster's."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(head.pid).children(recursive=True)
    head.send_signal(signal.SIGTERM)
    try:
        head.wait(_GOODBYE_SEC)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()
    assert head.stdout is not None
    head.stdout.close()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, _LAST_SEC)


def suite(rig: Rig, lab: Lab, replicas: Sequence[int]) -> Suite:
    """Every case, in the order of a round, and the rows of the table."""
    found = Suite()
    for count in replicas:
        _add_scaling(found, rig, lab, count)
    lone: dict[str, object] = {"scenario": "SingleStream", "loadgen_duration_sec": lab.seconds}
    theirs = _case("round-trip/inline", rig, {**lone, "runner": "inline"})
    mine = _case("round-trip/ray", rig, {**lone, "runner": "ray", "concurrency": 1})
    found.compare("round-trip/p50", mine, theirs, "p50", "ns", None, lower=True, judge="excess")
    found.rows.append(_shown("round-trip/network", mine.key, "network_us", "us"))
    length = {"loadgen_duration_sec": lab.seconds}
    sizes = [(1, count) for count in _OVERHEAD_REPLICAS]
    for batch, count in [*sizes, (_LARGE, _OVERHEAD_REPLICAS[-1])]:
        flags = _offline(batch, count, **length)
        case = _case(f"overhead/batch-{batch}/{count}", rig, flags, looks=True)
        found.add(case)
        for name, unit in (
            ("batches_per_sec", "1/s"),
            ("wall_us_per_batch", "us"),
            ("cpu_us_per_batch", "us"),
        ):
            found.rows.append(_shown(f"{case.key}/{name}", case.key, name, unit))
    flags = _offline(_MEMORY_BATCH, _MEMORY_REPLICAS, samples=_MEMORY_SAMPLES)
    found.add(_case("memory", rig, flags, memory=True))
    for who, wanted in (("driver", _MOST_GROWTH), ("cluster", None)):
        ratio = Figure("memory", f"{who}_last_over_first")
        found.rows.append(Row(f"memory/{who}", ratio, (), "x", "value", wanted))
        found.rows.append(_shown(f"memory/{who}/grew", "memory", f"{who}_grew_mb", "MB"))
    for model, batches in _SERVICE.items():
        for size in batches if model == "mlp" or not lab.quick else ():
            how = {"scenario": "Offline", "runner": "inline", "batch_size": size, **length}
            case = _case(f"service/{model}/{size}", rig, how, model)
            found.add(case)
            found.rows.append(_shown(case.key, case.key, "wall_us_per_batch", "us"))
    return found


def _add_scaling(found: Suite, rig: Rig, lab: Lab, count: int) -> None:
    ideal = count * _SCALING_BATCH * 1e6 / _BATCH_US
    # Whole batches for all: a last one that only some have would look like a loss.
    each = max(1, round(lab.seconds * 1e6 / _BATCH_US))
    length = {"samples": count * _SCALING_BATCH * each, "loadgen_expected_qps": f"{ideal:g}"}
    flags = _offline(_SCALING_BATCH, count, backend_options=f"latency_us={_BATCH_US}", **length)
    case = _case(f"scaling/{count}", rig, flags, ideal=ideal)
    found.add(case)
    # Of which the late end of each sleep takes some on any runner.
    found.rows.append(_shown(f"scaling/{count}/of-ideal", case.key, "share_of_ideal", "share"))
    if count > 1:
        mine, one = Figure(case.key, "per_replica"), Figure("scaling/1", "per_replica")
        name = f"scaling/{count}/of-one"
        found.rows.append(Row(name, mine, (one,), "samples/s", wanted=_LEAST_SHARE, paired=True))


def _shown(key: str, case: str, figure: str, unit: str) -> Row:
    return Row(key, Figure(case, figure), (), unit, "value")


def _offline(batch: int, replicas: int, **more: object) -> dict[str, object]:
    how = {"runner": "ray", "concurrency": replicas, "batch_size": batch}
    return {"scenario": "Offline", **how, **more}


def _case(
    key: str,
    rig: Rig,
    flags: Mapping[str, object],
    model: str = "fake",
    *,
    ideal: float = 0.0,
    looks: bool = False,
    memory: bool = False,
) -> Case:
    """One run; see :func:`figures_of`.

    Args:
        ideal: samples/s that its replicas could give at most; gives ``share_of_ideal``.
        looks: see what processor time the driver takes; gives ``cpu_us_per_batch``.
        memory: see how the driver and the cluster grow; gives :func:`growths`.
    """

    def measure(lab: Lab) -> Measured:
        where = {"ray_address": rig.address} if flags["runner"] == "ray" else {}
        _, *words = command_of(lab, model, {**flags, **where})
        with lab.scratch() as directory, _watched(rig.head, looks or memory) as seen:
            out = directory / "out"
            done = lab.run([rig.program, *words, "--output_dir", out], env=rig.environ)
            if done.code:
                raise UnavailableError(last_line(done).removeprefix("loadgen-generic: error: "))
            result = json.loads(done.stdout)
            figures = figures_of(result, flags)
            if ideal:
                figures["share_of_ideal"] = figures["samples_per_sec"] / ideal
            if looks or memory:
                telemetry = json.loads((out / "telemetry.json").read_text("utf-8"))
                during = _of_test(seen, telemetry, result["duration_s"])
            if looks:
                figures["cpu_us_per_batch"] = cores_used(during) * figures["wall_us_per_batch"]
            if memory:
                figures |= growths(telemetry, during, result["duration_s"])
        command = lab.show([rig.program, *words]).replace(rig.address, _HEAD)
        detail = {"valid": result["valid"], "phases": result.get("phases")}
        return Measured(figures, command, detail)

    return Case(key, measure)


def figures_of(result: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, float]:
    """Latency percentiles in ns, or of an Offline run its rates and what a batch took; and how a
    request divides, where it is told."""
    figures = dict(result["latency_ns"])
    if flags["scenario"] == "Offline":
        rate, batch = result["metric"]["value"], flags["batch_size"]
        figures = {
            "samples_per_sec": rate,
            "per_replica": rate / flags.get("concurrency", 1),
            "batches_per_sec": rate / batch,
            "wall_us_per_batch": 1e6 * batch / rate,
        }
    phases = result.get("phases") or {}
    told = {name: phases.get(name) for name in ("network_us", "compute_us")}
    return figures | {name: value for name, value in told.items() if value is not None}


def _of_test(seen: Iterable[Look], telemetry: Mapping[str, Any], seconds: float) -> list[Look]:
    """The looks that fell into a test, with times since its begin."""
    begin = datetime.fromisoformat(telemetry["begin"]).timestamp()
    moved = (replace(look, at_s=look.at_s - begin) for look in seen)
    return [look for look in moved if 0 <= look.at_s <= seconds]


def cores_used(looks: Sequence[Look]) -> float:
    """By the driver, in the mean over a test.

    Raises:
        UnavailableError: it was looked at less than twice.
    """
    if len(looks) < 2:
        raise UnavailableError("nobody saw what the driver took: the test was too short")
    first, last = looks[0], looks[-1]
    return (last.driver_cpu_s - first.driver_cpu_s) / (last.at_s - first.at_s)


def growths(
    telemetry: Mapping[str, Any], looks: Iterable[Look], seconds: float
) -> dict[str, float]:
    """How the memory of the measured process and of the cluster grew over a test.

    Args:
        seconds: length of the test.
    """
    sides = {
        "driver": [
            (at, size)
            for line in telemetry["machine"]
            for series in line["series"]
            if line["title"] == "Memory" and series["name"] == "resident memory"
            for at, size in zip(line["at_s"], series["values"], strict=True)
            if size is not None
        ],
        "cluster": [(look.at_s, look.cluster_bytes) for look in looks],
    }
    found = {}
    for who, sizes in sides.items():
        first, last = (
            [size for at, size in sizes if low <= at / seconds <= low + 0.25] for low in (0, 0.75)
        )
        if not first or not last:
            raise UnavailableError(f"nobody saw the memory of the {who}: the test was too short")
        before, after = statistics.median(first), statistics.median(last)
        found[f"{who}_last_over_first"] = after / before
        found[f"{who}_grew_mb"] = (after - before) / 1e6
    return found


@contextmanager
def _watched(head: int, wanted: bool) -> Iterator[list[Look]]:
    """Looks at what runs meanwhile, again and again."""
    seen: list[Look] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_SEC):
            seen.append(look(head))

    watcher = threading.Thread(target=watch, daemon=True)
    if wanted:
        watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        if wanted:
            watcher.join()


def look(head: int) -> Look:
    """At a cluster, by its first process, and at all else that this process has started."""
    at_s, cpu_s, size = time.time(), 0.0, 0
    with suppress(psutil.NoSuchProcess):
        cluster_ = {psutil.Process(head), *psutil.Process(head).children(recursive=True)}
        for process in cluster_.union(psutil.Process().children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if process in cluster_:
                    size += process.memory_info().rss
                else:
                    times = process.cpu_times()
                    cpu_s += times.user + times.system
    return Look(at_s, cpu_s, size)


def costs(records: Mapping[str, Record]) -> dict[str, Any]:
    """What ``cluster_model.py`` needs, in us; None where it was not measured.

    The driver's cost of a batch is not more than a batch takes where several replicas compute
    nothing, nor more than the processor time that it takes: the smaller counts. That at one sample
    and that at 1,024 give what each sample adds. A lone replica that computes nothing takes at
    most the time from one batch to the next; a lone query of the inline runner at most that of its
    issue by LoadGen.
    """
    one, many = _serial(records, 1), _serial(records, _LARGE)
    each = None if one is None or many is None else max(0.0, (many - one) / (_LARGE - 1))
    mine, theirs = (_values(records, f"round-trip/{side}", "p50") for side in ("ray", "inline"))
    trips = [(a - b) / 1000 for a, b in zip(mine, theirs, strict=False)]
    service: dict[str, dict[str, float]] = {}
    for model, sizes in _SERVICE.items():
        for size in sizes:
            took = _median(_values(records, f"service/{model}/{size}", "wall_us_per_batch"))
            if took is not None:
                service.setdefault(model, {})[str(size)] = took
    lone = _values(records, "overhead/batch-1/1", "wall_us_per_batch")
    return {
        "issue_us_per_sample": _median([value / 1000 for value in theirs]),
        "driver_us_per_batch": None if one is None or each is None else one - each,
        "driver_us_per_sample": each,
        "replica_us_per_batch": _median(lone),
        "round_trip_us": _median(trips),
        "service_us": service,
    }


def _serial(records: Mapping[str, Record], batch: int) -> float | None:
    found = [
        _median(_values(records, key, figure))
        for key in records
        if key.startswith(f"overhead/batch-{batch}/")
        for figure in ("wall_us_per_batch", "cpu_us_per_batch")
    ]
    return min((value for value in found if value is not None), default=None)


def _values(records: Mapping[str, Record], key: str, figure: str) -> list[float]:
    return records[key].values(figure) if key in records else []


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _version(ray: Path) -> str:
    told = subprocess.run([ray, "--version"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ray_runner.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--replicas", type=_count, nargs="+", metavar="N", help="to scale to (1 2 4 8 16)")
    add("--rounds", type=_count, help="how often each case is measured (3)")
    add("--seconds", type=float, help="length of one run, but of the million samples (5)")
    add("--quick", action="store_true", help="a look: one round of 3 s, up to 4 replicas, the MLP")
    add("--patience", type=float, default=300.0, help="seconds until a run counts as hung (300)")
    add_work(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    # Where a time limit ends it, the cluster ends too, and the table shows what there is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
