"""Puts backends, samples and runners of one model together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.runners import create_runner
from loadgen_generic.runners.auto import may_batch
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend, Runner, SampleLibrary
from loadgen_generic.tensors import Array, ModelSignature, SamplePlan, plan_samples

__all__ = ["Assembly", "batching_changes_answers", "settle_plan"]

_CHECKED_SAMPLES = 3
# Loose: batching may choose other kernels. What it must catch is a sample answered with
# another sample's values.
_RELATIVE, _ABSOLUTE = 2e-2, 1e-3


class Assembly:
    """Makes runners of one model, and keeps the loaded backends that they share.

    ``beat`` is called after each inference before the test, as a sign of life.
    """

    def __init__(
        self,
        config: BenchmarkConfig,
        model_path: str,
        cores: int,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._model_path = model_path
        self._cores = cores
        self.beat = beat
        self._backends: dict[int, tuple[Backend, ModelSignature]] = {}

    def spec(self, intra_op_threads: int) -> BackendSpec:
        """The backend of a worker with so many threads."""
        config = self._config
        parallel = config.execution_mode == "parallel"
        return BackendSpec(
            name=config.backend,
            model_path=self._model_path,
            execution_provider=config.execution_provider,
            intra_op_threads=intra_op_threads,
            inter_op_threads=config.inter_op_threads or (self._cores if parallel else 1),
            execution_mode="parallel" if parallel else "sequential",
            options=config.backend_options,
        )

    def backend(self, intra_op_threads: int) -> tuple[Backend, ModelSignature]:
        found = self._backends.get(intra_op_threads)
        if found is None:
            backend = create_backend(self.spec(intra_op_threads))
            found = self._backends[intra_op_threads] = backend, backend.load()
        return found

    def build(
        self, layout: Layout, samples: SampleLibrary, warmup_queries: int | None = None
    ) -> Runner:
        """The runner of a layout, its workers warmed up as asked for unless told otherwise."""
        if warmup_queries is None:
            warmup_queries = self._config.warmup_queries
        return create_runner(
            RunnerSetup(
                runner=layout.runner,
                workers=layout.workers,
                batch_size=layout.batch_size,
                batch_timeout_sec=(self._config.batch_timeout_us or 0.0) * 1e-6,
                warmup_queries=warmup_queries,
                pin=self._config.pin,
                make_backend=partial(create_backend, self.spec(layout.intra_op_threads)),
                backend=self.backend(layout.intra_op_threads)[0],
                samples=samples,
                beat=self.beat,
            )
        )

    def keep_only(self, layout: Layout) -> None:
        """Close the backends that only a calibration needed."""
        for threads in [t for t in self._backends if t != layout.intra_op_threads]:
            self._backends.pop(threads)[0].close()

    def close(self) -> None:
        for backend, _ in self._backends.values():
            backend.close()
        self._backends.clear()


def settle_plan(
    config: BenchmarkConfig, assembly: Assembly, intra_op_threads: int
) -> tuple[SamplePlan, list[str]]:
    """What one sample is, checked by running the model where samples might share a batch.

    Returns:
        The plan, and notes for the user.
    """
    backend, signature = assembly.backend(intra_op_threads)
    plan = plan_samples(signature, config.dim, config.batch_dim)
    if plan.largest_batch == 1 or not (plan.fixed_batch or may_batch(config)):
        return plan, []
    why_not = batching_changes_answers(backend, plan, config.seed, assembly.beat)
    if not why_not:
        return plan, []
    if config.batch_dim != "auto":
        raise RequestError(
            f"samples cannot be batched along it: {why_not}.",
            flag="batch_dim",
            value=config.batch_dim,
        )
    note = f"dimension {plan.batch_name} is not taken for a batch: {why_not}"
    return plan_samples(signature, config.dim, "none"), [note]


def batching_changes_answers(
    backend: Backend, plan: SamplePlan, seed: int, beat: Callable[[], None]
) -> str:
    """Why samples must not be batched, in words; empty if they may.

    Runs a few samples alone and together and compares. A dimension that only looks like the
    batch, or a model that mixes its samples, shows here.
    """
    count = min(_CHECKED_SAMPLES, plan.fixed_batch or _CHECKED_SAMPLES)
    samples = SyntheticSamples(plan, max(count, plan.fixed_batch), seed)
    samples.load(range(samples.count()))
    worker, reader = backend.worker(), samples.reader(count)
    alone = []
    for index in range(count):
        worker.infer(reader.batch([index]))
        beat()
        alone.append([np.array(output) for output in worker.outputs()])
    worker.infer(reader.batch(list(range(count))))
    for position, together in enumerate(worker.outputs()):
        if together.ndim == 0 or len(together) < count:
            return f"output {position} has no such dimension"
        for row, outputs in enumerate(alone):
            if not _alike(outputs[position][0], together[row]):
                return f"output {position} of a sample depends on the others in its batch"
    return ""


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    # complex128 holds every float and complex type that numpy has here
    a, b = one.astype(np.complex128), other.astype(np.complex128)
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return bool(
        np.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE * max(scale, 1e-6), equal_nan=True)
    )
