"""The measured process: the story of one run, from the request to the end of the LoadGen test.

Started by the supervisor. It reads a job as one line of JSON on standard input, tells its
story as lines of JSON on standard output, and ends when standard input does, so that it
never outlives its supervisor.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic import __version__
from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.hashing import sha256_of
from loadgen_generic.progress import Phase, Progress
from loadgen_generic.pulse import PULSE_FILE, Pulse, how_often

if TYPE_CHECKING:
    from loadgen_generic.settings import TestSettings

__all__ = ["main", "measure"]

Tell = Callable[[str, Mapping[str, object]], None]


def measure(job: Mapping[str, Any], progress: Progress, tell: Tell) -> None:
    """Run one LoadGen test.

    Args:
        job: ``config`` (fields of BenchmarkConfig), ``model_path`` and ``run_dir``.
        progress: shared with the supervisor.
        tell: told of each note, of the facts once they are known, of nothing while the test
            runs, and of the answers after it.
    """
    hashing = ThreadPoolExecutor(1)
    sha256 = hashing.submit(lambda path: sha256_of(Path(path)) if path else "", job["model_path"])

    from loadgen_generic import loadgen
    from loadgen_generic.answers.inquiry import Inquiry
    from loadgen_generic.answers.logged import answers_as_bytes
    from loadgen_generic.assembly import Assembly
    from loadgen_generic.conditions import read_conditions
    from loadgen_generic.config import ONE_AT_A_TIME, BenchmarkConfig
    from loadgen_generic.feed import settle_feed
    from loadgen_generic.machine import (
        available_cores,
        describe_packages,
        last_level_cache_bytes,
    )
    from loadgen_generic.nodes import Nodes
    from loadgen_generic.passes import pass_with_profile, pass_with_split
    from loadgen_generic.remote import as_divided, check_padding
    from loadgen_generic.results.devices import shares_in_words, shares_of
    from loadgen_generic.results.profile import PROFILE_FILE
    from loadgen_generic.runners.auto import choose
    from loadgen_generic.runners.probe import probe
    from loadgen_generic.seams import Elsewhere
    from loadgen_generic.settings import (
        check_files,
        logs_answers,
        needs_probe,
        plan_settings,
        samples_per_query,
        with_conf,
    )

    config = BenchmarkConfig.model_construct(**job["config"])
    conf = loadgen.conf_values(config)
    file_notes = check_files(config)
    config, told = with_conf(as_divided(config), conf)
    file_notes += told
    cores = available_cores()

    progress.enter(Phase.LOADING)
    assembly = Assembly(config, job["model_path"], cores, progress.beat)
    rule = assembly.begin()
    backend, signature = assembly.backend(rule)
    if config.profile:
        backend.profiler()  # refused now, not after the test

    progress.enter(Phase.CALIBRATING)
    cache_bytes = last_level_cache_bytes()
    feed = settle_feed(config, assembly, rule, cache_bytes, progress.beat)
    plan, samples, notes = feed.plan, feed.samples, feed.notes
    check_padding(config, plan)
    # Its samples are somewhere else before the clock starts.
    if assembly.room or backend.effective().get("data_location", "host") != "host":
        samples.place()
    measured = assembly.spec(rule)
    inquiry = Inquiry(config, measured, signature, plan, samples, feed.known)
    samples.load(range(samples.resident()))
    layout, reason, rate = choose(
        assembly.wish(plan),
        lambda layout: assembly.build(layout, samples, warmup_queries=1),
        range(samples.resident()),
        progress.beat,
    )
    assembly.keep_only(layout)

    progress.enter(Phase.WARMING_UP)
    # Only queries that come one by one make batches of any size.
    every_size = config.scenario == "Server" and not plan.fixed_batch
    runner = assembly.build(layout, samples, config.warmup_queries, every_size)

    progress.enter(Phase.PROBING)
    estimate = None
    if needs_probe(config):
        per_query = samples_per_query(config)
        estimate = probe(runner, samples, layout, config.scenario, per_query, progress.beat)
        # Whatever disturbs a measurement makes it slower: the faster one is nearer the truth.
        estimate = replace(estimate, samples_per_sec=max(rate, estimate.samples_per_sec))
    witness = inquiry.watch(runner, progress.beat)
    settings = plan_settings(config, estimate, samples.count(), conf, samples.resident())
    digest = sha256.result()
    hashing.shutdown()

    backend, _ = assembly.backend(layout)
    backend.confirm(digest)
    elsewhere = backend if isinstance(backend, Elsewhere) else None
    notes = [
        *notes,
        *backend.notes(),
        *assembly.notes(layout),
        f"{layout} ({reason})",
        *file_notes,
        *settings.notes,
    ]
    for note in notes:
        tell("note", {"text": note})
    tell(
        "facts",
        {
            "effective": {
                **assembly.effective(layout),
                **backend.effective(),
                "backend": config.backend,
                "runner": layout.runner,
                "runner_reason": reason,
                "concurrency": layout.workers,
                "batch_size": layout.batch_size,
                "batch_dim": plan.batch_name,
                "batch_timeout_us": config.batch_timeout_us or 0.0,
                "pin": config.pin,
                **feed.effective,
                "last_level_cache_bytes": cache_bytes,
                "warmup_queries": config.warmup_queries,
                "stall_timeout_sec": config.stall_timeout_sec,
                "repeat": config.repeat,
                "trace": config.trace,
                "telemetry": config.telemetry,
                "profile": config.profile,
                "mlperf_model": config.mlperf_model,
                "official": config.official,
                "user_conf": config.user_conf,
                "audit": config.audit,
                "send_answers": config.send_answers,
                "dim": dict(config.dim),
                "shape": dict(config.shape),
                "range": dict(config.value_range),
                "fill": dict(config.fill),
                "distribution": dict(config.distribution),
                **inquiry.effective,
                **settings.as_effective(),
            },
            "notes": notes,
            "model": {
                # Of what a server has, nobody tells the hash.
                "path": job["model_path"] if elsewhere is None else elsewhere.model_place(),
                "sha256": digest if elsewhere is None else "",
                "inputs": [spec.describe() for spec in signature.inputs],
                "outputs": [spec.describe() for spec in signature.outputs],
            },
            "providers": backend.providers(),
            "load_s": assembly.load_sec(layout),
            # Of the code that runs, which need not be what is installed beside it.
            "packages": {**describe_packages(), "loadgen-generic": __version__},
            "python": platform.python_version(),
        },
    )

    run_dir = Path(job["run_dir"])
    take = inquiry.keeper.take if inquiry.keeper is not None else None
    if take is None and (config.send_answers or logs_answers(config)):
        take = partial(answers_as_bytes, plan)
    pulse = None
    if config.telemetry == "on":
        known = estimate is not None or config.loadgen_expected_qps is not None
        in_turn = layout.runner == "inline" and settings.scenario in ONE_AT_A_TIME
        pulse = _pulse(run_dir, settings, known, progress, in_turn)
    nodes = Nodes(backend)
    nodes.begin(config.telemetry == "on")
    before, name = asdict(read_conditions(nodes.roots)), nodes.network_name
    progress.enter(Phase.TESTING)
    loadgen.run_test(
        settings, runner, samples, run_dir, progress, take, config.trace, witness, pulse, name
    )
    tell("conditions", {"before": before, "after": asdict(read_conditions(nodes.roots))})
    nodes.tell(tell)
    progress.enter(Phase.VERIFYING)
    precision = str(backend.effective().get("precision", ""))
    tell("answers", inquiry.answer(runner, run_dir, progress.beat, precision))
    progress.enter(Phase.FINISHING)
    runner.close()
    if assembly.cards:  # told now that the workers are at rest, or the last batch is missed
        each = assembly.shares(layout, progress.answered_each())
        for text in shares_in_words(shares_of(each)):
            tell("note", {"text": text})
        tell("devices", {"each": each})
    pass_with_split(backend, samples, layout.batch_size, progress.beat, tell)
    profiler = backend.profiler() if config.profile else None
    assembly.close()
    if profiler is not None:
        file = run_dir / PROFILE_FILE
        pass_with_profile(profiler, samples, layout.batch_size, file, progress.beat, tell)


def _pulse(
    run_dir: Path, settings: TestSettings, speed_known: bool, progress: Progress, in_turn: bool
) -> Pulse:
    """Who times queries: none in Offline, which has one, and where only answers count."""
    rate, every = settings.target_qps, 0
    if settings.scenario != "Server":
        rate = settings.expected_qps / settings.samples_per_query
    if settings.scenario != "Offline" and not settings.accuracy:
        known = speed_known or settings.scenario == "Server"
        queries = max(settings.min_query_count, rate * settings.min_duration_ms / 1000)
        every = how_often(rate if known else None, queries)
    return Pulse(
        run_dir / PULSE_FILE, every, settings.samples_per_query, progress.answered, in_turn
    )


def main() -> None:
    """Entry point of the child process."""
    # Native code prints where it likes; the story keeps a channel of its own.
    story = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(event: str, content: Mapping[str, object]) -> None:
        story.write(json.dumps({"event": event, **content}) + "\n")
        story.flush()

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    progress = Progress(Path(job["progress"]))
    try:
        measure(job, progress, tell)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the supervisor must know
        tell("error", _describe(error, progress.phase(), job["config"]["execution_provider"]))
        sys.stderr.flush()
        # LoadGen may still be running, and leaving it by any other way aborts.
        os._exit(1)
    tell("done", {})
    sys.stderr.flush()
    os._exit(0)


def _describe(error: BaseException, phase: Phase, provider: str) -> dict[str, object]:
    if isinstance(error, LoadgenGenericError):
        return {"exit_code": error.exit_code, "message": str(error)}
    import traceback

    from loadgen_generic.diagnosis import explain_failure

    traceback.print_exception(error)
    when = {
        Phase.LOADING: "while loading the model",
        Phase.CALIBRATING: "while calibrating",
        Phase.WARMING_UP: "while warming up",
        Phase.PROBING: "while probing the model",
        Phase.TESTING: "in the middle of the test",
        Phase.VERIFYING: "while looking at the answers",
    }.get(phase, "in the harness")
    text = str(error).strip() or type(error).__name__
    known = explain_failure(provider, text)
    if known:
        return {"exit_code": 1, "message": f"the run failed {when}. {known}"}
    if isinstance(error, MemoryError) or "bad_alloc" in text or "allocate memory" in text.lower():
        return {"exit_code": 1, "message": f"out of memory {when}: {text}"}
    return {"exit_code": 1, "message": f"the run failed {when}: {text}"}


def _end_with_supervisor() -> None:
    sys.stdin.read()
    os._exit(1)
