"""The measured process: the story of one run, from the request to the end of the LoadGen test.

Started by the supervisor. It reads a job as one line of JSON on standard input, tells its
story as lines of JSON on standard output, and ends when standard input does, so that it
never outlives its supervisor.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.progress import Phase, Progress
from loadgen_generic.seams import Estimate, Runner, SampleLibrary, Worker

__all__ = ["main", "measure"]

Tell = Callable[[str, Mapping[str, object]], None]
_HASH_CHUNK = 1 << 20


def measure(job: Mapping[str, Any], progress: Progress, tell: Tell) -> None:
    """Run one LoadGen test.

    Args:
        job: ``config`` (fields of BenchmarkConfig), ``model_path`` and ``run_dir``.
        progress: shared with the supervisor.
        tell: told of each note, of the facts once they are known, and of nothing while the
            test runs.
    """
    hashing = ThreadPoolExecutor(1)
    sha256 = hashing.submit(_sha256, job["model_path"])

    from loadgen_generic import loadgen
    from loadgen_generic.backends import BackendSpec, create_backend
    from loadgen_generic.config import BenchmarkConfig
    from loadgen_generic.machine import available_cores, last_level_cache_bytes
    from loadgen_generic.runners import RUNNERS, plan_runner
    from loadgen_generic.samples import SyntheticSamples, pool_size
    from loadgen_generic.settings import needs_probe, plan_settings, samples_per_query
    from loadgen_generic.tensors import plan_samples

    config = BenchmarkConfig.model_construct(**job["config"])
    cores = available_cores()
    dispatch = plan_runner(
        config.runner, config.concurrency, config.intra_op_threads, config.scenario, cores
    )
    parallel = config.execution_mode == "parallel"

    progress.enter(Phase.LOADING)
    backend = create_backend(
        BackendSpec(
            name=config.backend,
            model_path=job["model_path"],
            execution_provider=config.execution_provider,
            intra_op_threads=dispatch.intra_op_threads,
            inter_op_threads=config.inter_op_threads or (cores if parallel else 1),
            execution_mode="parallel" if parallel else "sequential",
            options=config.backend_options,
        )
    )
    signature = backend.load()
    plan = plan_samples(signature, config.dim)
    per_query = samples_per_query(config)
    batch_size = per_query if plan.batched else 1
    samples = SyntheticSamples(
        plan, pool_size(plan.bytes_per_sample, last_level_cache_bytes()), config.seed
    )
    samples.load(range(samples.count()))
    workers = [backend.worker() for _ in range(dispatch.workers)]
    runner = RUNNERS[dispatch.name](workers, samples, batch_size)

    progress.enter(Phase.WARMING_UP)
    _warm_up(workers, samples, batch_size, config.warmup_queries, progress)

    digest = sha256.result()
    hashing.shutdown()
    progress.enter(Phase.PROBING)
    estimate = None
    if needs_probe(config):
        estimate = _probe(runner, samples, config.scenario, per_query, dispatch.workers, progress)
    settings = plan_settings(config, estimate)
    for note in settings.notes:
        tell("note", {"text": note})
    tell(
        "facts",
        {
            "effective": {
                **backend.effective(),
                "backend": config.backend,
                "runner": dispatch.name,
                "runner_reason": dispatch.reason,
                "concurrency": dispatch.workers,
                "batch_size": batch_size,
                "distinct_samples": samples.count(),
                "warmup_queries": config.warmup_queries,
                "stall_timeout_sec": config.stall_timeout_sec,
                "dim": dict(config.dim),
                "seed": config.seed,
                "scenario": settings.scenario,
                "loadgen_expected_qps": settings.expected_qps,
                "min_duration_ms": settings.min_duration_ms,
                "min_query_count": settings.min_query_count,
                "max_query_count": settings.max_query_count,
                "samples_per_query": settings.samples_per_query,
                "target_latency_percentile": settings.percentile,
                "target_qps": settings.target_qps,
                "target_latency_ms": settings.target_latency_ms,
            },
            "notes": list(settings.notes),
            "model": {
                "path": job["model_path"],
                "sha256": digest,
                "inputs": [spec.describe() for spec in signature.inputs],
                "outputs": [spec.describe() for spec in signature.outputs],
            },
            "providers": backend.providers(),
        },
    )

    progress.enter(Phase.TESTING)
    loadgen.run_test(settings, runner, samples, Path(job["run_dir"]), progress)
    progress.enter(Phase.FINISHING)
    backend.close()


def _warm_up(
    workers: list[Worker],
    samples: SampleLibrary,
    batch_size: int,
    queries: int,
    progress: Progress,
) -> None:
    for worker in workers:
        for number in range(queries):
            first = number * batch_size
            worker.infer(samples.batch([(first + k) % samples.count() for k in range(batch_size)]))
            progress.beat()


def _probe(
    runner: Runner,
    samples: SampleLibrary,
    scenario: str,
    per_query: int,
    workers: int,
    progress: Progress,
) -> Estimate:
    from loadgen_generic.runners.probe import measure_burst, measure_stream

    indices = range(samples.count())
    if scenario in ("SingleStream", "MultiStream"):
        return measure_stream(runner, indices, per_query, progress.beat)
    throughput = measure_burst(
        runner, indices, workers, together=scenario == "Offline", beat=progress.beat
    )
    if scenario == "Offline":
        return throughput
    alone = measure_stream(runner, indices, 1, progress.beat)
    return Estimate(throughput.samples_per_sec, alone.latency_sec, alone.queries)


def _sha256(path: str) -> str:
    if not path:
        return ""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


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
        tell("error", _describe(error, progress.phase()))
        sys.stderr.flush()
        # LoadGen may still be running, and leaving it by any other way aborts.
        os._exit(1)
    tell("done", {})
    sys.stderr.flush()
    os._exit(0)


def _describe(error: BaseException, phase: Phase) -> dict[str, object]:
    if isinstance(error, LoadgenGenericError):
        return {"exit_code": error.exit_code, "message": str(error)}
    import traceback

    traceback.print_exception(error)
    when = {
        Phase.LOADING: "while loading the model",
        Phase.WARMING_UP: "while warming up",
        Phase.PROBING: "while probing the model",
        Phase.TESTING: "in the middle of the test",
    }.get(phase, "in the harness")
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MemoryError) or "bad_alloc" in text or "allocate memory" in text.lower():
        return {"exit_code": 1, "message": f"out of memory {when}: {text}"}
    return {"exit_code": 1, "message": f"the run failed {when}: {text}"}


def _end_with_supervisor() -> None:
    sys.stdin.read()
    os._exit(1)
