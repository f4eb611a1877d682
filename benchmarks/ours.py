"""Our side: runs of ``loadgen-generic``, and what its ``result.json`` says."""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab import Case, Lab, Measured, UnavailableError, busy_core, last_line
from models import MODELS
from search import Probe, highest_valid

from loadgen_generic.config import BenchmarkConfig, choices

__all__ = [
    "PROGRAM",
    "case",
    "command_of",
    "first_query_seconds",
    "peak_case",
    "server_case",
    "startup_case",
    "words_of",
]

PROGRAM = Path(sys.executable).with_name("loadgen-generic")
NO_FLAGS: Mapping[str, object] = MappingProxyType({})
# A little more than 1 / 0.97.
BEATEN = 1.0308
_KEPT = (
    "runner",
    "concurrency",
    "intra_op_threads",
    "batch_size",
    "distinct_samples",
    "execution_provider",
    "precision",
    "openvino_version",
    "devices",
    "data_location",
    "cuda_graph",
)


def case(
    key: str,
    model: str,
    scenario: str,
    flags: Mapping[str, object] = NO_FLAGS,
    *,
    busy: bool = False,
    memory: bool = False,
) -> Case:
    """One run; ``samples_per_sec``, ``ns_per_sample``, latency percentiles in ns, peak ``rss``.

    Args:
        key: name of the case.
        model: of the benchmark's models, or ``fake`` for the backend without a model.
        flags: options; without ``samples`` the run takes as long as the lab says.
        busy: keep one core busy elsewhere meanwhile.
        memory: look at the memory meanwhile, which disturbs the measured process.
    """

    def measure(lab: Lab) -> Measured:
        length = {} if "samples" in flags else {"loadgen_duration_sec": lab.seconds}
        with busy_core() if busy else nullcontext():
            result, rss, command = _run(
                lab, model, {"scenario": scenario, **length, **flags}, memory
            )
        figures = dict(result["latency_ns"])
        if scenario == "Offline":
            rate = result["metric"]["value"] * _rows_per_sample(model, result)
            figures = {"samples_per_sec": rate, "ns_per_sample": 1e9 / rate}
        figures["rss"] = rss
        return Measured(figures, command, _detail(result))

    return Case(key, measure)


def server_case(
    key: str,
    model: str,
    latency_ms: float,
    start: str = "",
    rival: str = "",
    flags: Mapping[str, object] = NO_FLAGS,
) -> Case:
    """``valid_qps``: the highest arrival rate whose 99th percentile stays within the bound.

    Args:
        start: key in the lab's memory of a throughput that is near.
        rival: the case that this one must not beat by much. It then gives ``share``, its rate
            as a share of the rival's, and searches only where it holds ``BEATEN`` of that rate.
    """

    def measure(lab: Lab) -> Measured:
        command = ""

        def probe(rate: float) -> Probe:
            nonlocal command
            given = {
                "scenario": "Server",
                "target_qps": f"{rate:.6g}",
                "target_latency_ms": latency_ms,
                "loadgen_duration_sec": lab.seconds,
                **flags,
            }
            result, _, command = _run(lab, model, given)
            why = "; ".join(result["invalid_reasons"])
            return Probe(result["valid"], result["latency_ns"]["p99"], why)

        theirs = lab.memory.get(rival, 0.0)
        if rival and not theirs:
            raise UnavailableError(f"{rival} found no rate to compare with")
        if rival:
            if not any(probe(theirs * BEATEN).valid for _ in range(2)):
                return Measured({"share": BEATEN}, command, {"at_most": True})
            lab.memory[key] = max(lab.memory.get(key, 0.0), theirs * BEATEN)
        found = highest_valid(probe, lab, key, start)
        figures = {"valid_qps": found.rate, "share": found.rate / theirs if rival else 1.0}
        return Measured(figures, command, {"probes": found.probes})

    return Case(key, measure)


def peak_case(key: str, model: str, flags: Mapping[str, object]) -> Case:
    """``valid_qps`` in Server as the command's own search finds it; ``flags`` have the bound."""

    def measure(lab: Lab) -> Measured:
        length = {"loadgen_duration_sec": lab.seconds}
        what = {"scenario": "Server", "mode": "find_peak", **length, **flags}
        content, _, command = _run(lab, model, what)
        answer = content["answer"]
        if answer["highest_valid"] is None:
            raise UnavailableError(answer["sentence"])
        kept = ("highest_valid", "lowest_invalid", "trials", "sentence")
        detail = {name: answer[name] for name in kept}
        return Measured({"valid_qps": answer["highest_valid"]}, command, detail)

    return Case(key, measure)


def startup_case(key: str, model: str) -> Case:
    """``seconds`` from the start of the command to the first query."""

    def measure(lab: Lab) -> Measured:
        with lab.scratch() as directory:
            command = [*command_of(lab, model, {"samples": 1}), "--output_dir", directory / "out"]
            done = lab.run(command, env={"TZ": "UTC"})
            if done.code:
                raise UnavailableError(last_line(done))
            seconds = first_query_seconds(directory / "out", done.started_at)
            return Measured({"seconds": seconds}, lab.show(command[:-2]))

    return Case(key, measure)


def first_query_seconds(logs: Path, started_at: float) -> float:
    """Seconds from ``started_at`` (Unix time) to LoadGen's first query, in a process in UTC."""
    text = (logs / "mlperf_log_detail.txt").read_text(encoding="utf-8")
    match = re.search(r'"key": "power_begin", "value": "([^"]+)"', text)
    if not match:
        raise UnavailableError("LoadGen's log does not say when the first query was")
    begin = datetime.datetime.strptime(match[1], "%m-%d-%Y %H:%M:%S.%f")
    return begin.replace(tzinfo=datetime.timezone.utc).timestamp() - started_at


def _run(
    lab: Lab, model: str, flags: Mapping[str, object], memory: bool = False
) -> tuple[dict[str, Any], float, str]:
    with lab.scratch() as directory:
        command = [*command_of(lab, model, flags), "--output_dir", directory / "out"]
        done = lab.run(command, watch_memory=memory)
        if done.code:
            raise UnavailableError(last_line(done).removeprefix("loadgen-generic: error: "))
        return json.loads(done.stdout), done.rss_bytes, lab.show(command[:-2])


def command_of(lab: Lab, model: str, flags: Mapping[str, object]) -> list[object]:
    """The command line; refuses options and choices that this version does not have."""
    for name, value in flags.items():
        if name == "config":  # a file of options, and none itself
            continue
        field = BenchmarkConfig.model_fields.get(name)
        if field is None:
            raise UnavailableError(f"this version has no --{name}")
        if choices(field) and value not in choices(field):
            raise UnavailableError(f"this version has no --{name} {value}")
    what: list[object] = ["--backend", "fake"] if model == "fake" else [lab.model(model)]
    return [PROGRAM, "run", *what, *words_of(flags), "--json", "--quiet"]


def words_of(flags: Mapping[str, object]) -> list[object]:
    """Flags as words of a command line."""
    words: list[object] = []
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}", value]
    return words


def _rows_per_sample(model: str, result: Mapping[str, Any]) -> int:
    """A graph with a fixed batch is one sample as a whole unless the run took its rows apart."""
    if model == "fake" or not MODELS[model].fixed_batch:
        return 1
    taken_apart = result["config"]["effective"].get("batch_size", 1) > 1
    return 1 if taken_apart else MODELS[model].fixed_batch


def _detail(result: Mapping[str, Any]) -> dict[str, Any]:
    effective = result["config"]["effective"]
    return {
        "valid": result["valid"],
        "picked": {name: effective[name] for name in _KEPT if name in effective},
        "reason": effective.get("runner_reason", ""),
        "phases": result.get("phases"),
    }
