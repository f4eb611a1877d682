"""The upstream script as the cmx4mlops package ships it, in an environment of its own.

``python benchmarks/upstream.py`` makes the environment, once. Offline goes through the script's
own ``main.py`` and flags; SingleStream and Server, which it does not offer, through
``upstream_driver.py``. Its flags ``--intraop`` and ``--interop`` are swapped on the way to ONNX
Runtime, so they are left at their defaults (0: every core), where that makes no difference.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from lab import Case, Lab, Measured, UnavailableError, last_line
from models import MODELS
from ours import first_query_seconds
from reporting import add_work
from search import Probe, highest_valid

__all__ = ["RUNNERS", "driver_case", "install", "offline_case", "server_case", "startup_case"]

RUNNERS = ("inline", "threadpool", "threadpool+replication", "processpool", "processpool+mp")
_HERE = Path(__file__).resolve().parent
_CONSTRAINTS = _HERE / "upstream-constraints.txt"
_PACKAGES = ("cmx4mlops", "mlcommons-loadgen", "numpy", "onnx", "onnxruntime", "psutil")
_SCRIPT = "cmx4mlops/repo/script/app-loadgen-generic-python/src"
# Its process pools pickle each sample and its futures are kept to the end: about 100 us each.
_MOST_SAMPLES = {"processpool": 100_000}
# What LoadGen's early stopping needs at the 99th percentile, as our own Server runs.
_SERVER_QUERIES = 662


def install(work: Path) -> None:
    """Make the environment unless it is there."""
    directory = work / "upstream"
    if _script(directory) is None:
        print("installing the upstream script into an environment of its own ...", file=sys.stderr)
        venv.create(directory, with_pip=True, clear=True)
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "-q"]
        quiet = ["--disable-pip-version-check", "-c", str(_CONSTRAINTS)]
        subprocess.run([*pip, *quiet, *_PACKAGES], check=True, stdout=sys.stderr)


def offline_case(key: str, model: str, runner: str, concurrency: int | None = None) -> Case:
    """``samples_per_sec`` of one Offline run through upstream's ``main.py``."""

    def measure(lab: Lab) -> Measured:
        python, script = _environment(lab)
        samples = min(lab.samples(model), _MOST_SAMPLES.get(runner, sys.maxsize))
        with lab.scratch() as directory:
            command = [python, script / "main.py", lab.model(model), "--runner", runner]
            command += ["--concurrency", concurrency or lab.cores, "--samples", samples]
            done = lab.run([*command, "--output", directory])
            if done.code:
                raise UnavailableError(f"it fails: {last_line(done)}")
            match = re.search(r"Samples per second: ([\d.e+]+)", done.stdout)
            if not match:
                raise UnavailableError("it printed no result")
            rate = float(match[1]) * max(MODELS[model].fixed_batch, 1)
            figures = {"samples_per_sec": rate}
            return Measured(figures, lab.show(command), {"samples": samples})

    return Case(key, measure)


def driver_case(key: str, model: str, scenario: str, samples: int = 0) -> Case:
    """``p50``, ``p90`` in ns, or ``ns_per_sample`` Offline, of upstream's classes in a scenario.

    Args:
        model: ``null`` for a model that does nothing.
        samples: length of an Offline run.
    """

    def measure(lab: Lab) -> Measured:
        if scenario == "Offline":
            length = ["--min_queries", samples]
        else:
            # LoadGen prepares queries for twice the duration: the first round finds how many.
            expected = lab.memory.get(key, 1.0 if model == "null" else 100.0)
            length = ["--seconds", lab.seconds, "--expected_latency_us", f"{expected:.6g}"]
        found, command = _drive(lab, model, scenario, *length)
        figures = {name: float(found[name]) for name in ("p50", "p90", "p99")}
        if scenario == "Offline":
            figures["ns_per_sample"] = 1e9 / found["samples_per_sec"]
        else:
            lab.memory[key] = figures["p50"] / 2000
        return Measured(figures, command, {"queries": found["queries"], "valid": found["valid"]})

    return Case(key, measure)


def server_case(key: str, model: str, latency_ms: float, start: str = "") -> Case:
    """``valid_qps`` of upstream's Harness with its inline runner, searched for as ours is."""

    def measure(lab: Lab) -> Measured:
        command = ""

        def probe(rate: float) -> Probe:
            nonlocal command
            given = ["--qps", f"{rate:.6g}", "--latency_ms", latency_ms, "--seconds", lab.seconds]
            found, command = _drive(lab, model, "Server", *given, "--min_queries", _SERVER_QUERIES)
            return Probe(found["valid"], found["p99"], found["why"])

        found = highest_valid(probe, lab, key, start)
        return Measured({"valid_qps": found.rate}, command, {"probes": found.probes})

    return Case(key, measure)


def startup_case(key: str, model: str) -> Case:
    """``seconds`` from the start of upstream's ``main.py`` to the first query."""

    def measure(lab: Lab) -> Measured:
        python, script = _environment(lab)
        with lab.scratch() as directory:
            command = [python, script / "main.py", lab.model(model), "--samples", 1]
            done = lab.run([*command, "--output", directory], env={"TZ": "UTC"})
            if done.code:
                raise UnavailableError(f"it fails: {last_line(done)}")
            logs = directory / f"{model}.onnx" / "inline"
            seconds = first_query_seconds(logs, done.started_at)
            return Measured({"seconds": seconds}, lab.show(command))

    return Case(key, measure)


def _drive(lab: Lab, model: str, scenario: str, *flags: object) -> tuple[Any, str]:
    python, script = _environment(lab)
    path = model if model == "null" else lab.model(model)
    command: list[object] = [
        python,
        _HERE / "upstream_driver.py",
        path,
        scenario,
        "--upstream",
        script,
    ]
    if model != "null":
        command += ["--pool", _pool(model)]
    command += [str(flag) for flag in flags]
    with lab.scratch() as directory:
        return lab.json_of([*command, "--output", directory]), lab.show(command)


def _pool(model: str) -> int:
    """As many distinct samples as ours reads."""
    from loadgen_generic.machine import last_level_cache_bytes
    from loadgen_generic.samples import pool_size

    rows = max(MODELS[model].fixed_batch, 1)
    return math.ceil(pool_size(4 * MODELS[model].floats, last_level_cache_bytes()) / rows)


def _environment(lab: Lab) -> tuple[Path, Path]:
    directory = lab.work / "upstream"
    script = _script(directory)
    if script is None:
        raise UnavailableError("the upstream environment is absent: run benchmarks/upstream.py")
    return directory / "bin" / "python", script


def _script(directory: Path) -> Path | None:
    found = [path for path in directory.glob(f"lib/python*/site-packages/{_SCRIPT}")]
    return found[0] if found and (found[0] / "main.py").is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_work(parser, "where it goes")
    install(parser.parse_args().work.resolve())


if __name__ == "__main__":
    main()
