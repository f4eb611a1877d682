"""Puts backends, samples and runners of one model together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.devices import planned_devices
from loadgen_generic.elements import kind_of, limits
from loadgen_generic.errors import RequestError
from loadgen_generic.fitting import find_hints, hints_resized, why_not_run
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.runners import create_runner
from loadgen_generic.runners.auto import may_batch
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend, Runner, SampleLibrary
from loadgen_generic.shapes import apply_shapes, check_inputs, parse_fill, parse_range
from loadgen_generic.tensors import Array, InputPlan, ModelSignature, SamplePlan, plan_samples
from loadgen_generic.values import Hints, Values, default_values, wished_values

__all__ = ["Assembly", "Settled", "batching_changes_answers", "settle", "settle_plan"]

_CHECKED_SAMPLES = 3
# Loose: batching may choose other kernels. What it must catch is a sample answered with
# another sample's values.
_RELATIVE, _ABSOLUTE = 2e-2, 1e-3
_Key = tuple[int, int, int]  # threads, workers where they matter, device


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
        self.model_path = model_path
        self._cores = cores
        self.beat = beat
        self.devices = planned_devices(config)
        self._backends: dict[_Key, tuple[Backend, ModelSignature]] = {}

    def spec(self, layout: Layout, device: int | None = None) -> BackendSpec:
        """The backend that the workers of a layout use on a device, the first unless told."""
        config = self._config
        parallel = config.execution_mode == "parallel"
        return BackendSpec(
            name=config.backend,
            model_path=self.model_path,
            execution_provider=config.execution_provider,
            intra_op_threads=layout.intra_op_threads,
            inter_op_threads=config.inter_op_threads or (self._cores if parallel else 1),
            execution_mode="parallel" if parallel else "sequential",
            options=config.backend_options,
            optimized_cache=config.optimized_cache,
            workers=-(-layout.workers // len(self.devices)) if layout.shares_session else 1,
            provider_options=config.ep_options,
            precision=config.precision,
            allow_fallback=config.allow_fallback,
            device=self.devices[0] if device is None else device,
            data_location=config.data_location,
        )

    def backend(self, layout: Layout, device: int | None = None) -> tuple[Backend, ModelSignature]:
        """The loaded backend of a layout on a device, the first unless told."""
        spec = self.spec(layout, device)
        key = self._key(spec)
        found = self._backends.get(key)
        if found is None:
            backend = create_backend(spec)
            found = self._backends[key] = backend, backend.load()
        return found

    def _key(self, spec: BackendSpec) -> _Key:
        """What a session of this run depends on."""
        streams = spec.name != "fake" and facts_of(spec.execution_provider).streams
        return spec.intra_op_threads, spec.workers if streams else 0, spec.device

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
                make_backends=[
                    partial(create_backend, self.spec(layout, device)) for device in self.devices
                ],
                backends=[self.backend(layout, device)[0] for device in self.devices],
                samples=samples,
                beat=self.beat,
            )
        )

    def keep_only(self, layout: Layout) -> None:
        """Close the backends that only a calibration needed."""
        kept = {self._key(self.spec(layout, device)) for device in self.devices}
        for key in self._backends.keys() - kept:
            self._backends.pop(key)[0].close()

    def close(self) -> None:
        for backend, _ in self._backends.values():
            backend.close()
        self._backends.clear()


@dataclass(frozen=True, slots=True)
class Settled:
    """What one sample is, and why.

    Attributes:
        plan: with the smallest of the sizes, where a dimension has several.
        notes: for the user.
        resized: the plan with other sizes of dimensions, by name.
    """

    plan: SamplePlan
    notes: list[str]
    resized: Callable[[Mapping[str, int]], SamplePlan]


def settle(config: BenchmarkConfig, assembly: Assembly, layout: Layout) -> Settled:
    """What one sample is, checked by running the model where samples might share a batch.

    Raises:
        RequestError: something that was asked for does not fit the model, or what is open was
            not found.
    """
    backend, signature = assembly.backend(layout)
    smallest = {name: sizes.low for name, sizes in config.size_ranges.items()}
    signature, known = apply_shapes(signature, config.shape, {**config.sizes, **smallest})

    def planned(batch_dim: str, hints: Hints, sizes: Mapping[str, int] = known) -> SamplePlan:
        return _with_values(plan_samples(signature, sizes, batch_dim, hints), signature, config)

    def attempt(hints: Hints) -> str:
        return why_not_run(backend, planned(config.batch_dim, hints), config.seed, assembly.beat)

    hints, notes = find_hints(signature, known, config.batch_dim, assembly.model_path, attempt)

    def settled(batch_dim: str, *more: str) -> Settled:
        def resized(sizes: Mapping[str, int]) -> SamplePlan:
            known_then = {**known, **sizes}
            return planned(batch_dim, hints_resized(hints, known_then), known_then)

        return Settled(planned(batch_dim, hints), [*notes, *more], resized)

    plan = planned(config.batch_dim, hints)
    # Answers that are looked at are taken apart along the batch, also where one is alone in it.
    looked_at = config.mode == "accuracy" or config.verify is not None
    if plan.largest_batch == 1 or not (plan.fixed_batch or may_batch(config) or looked_at):
        return settled(config.batch_dim)
    why_not = batching_changes_answers(backend, plan, config.seed, assembly.beat)
    if not why_not:
        return settled(config.batch_dim)
    if config.batch_dim != "auto":
        raise RequestError(
            f"samples cannot be batched along it: {why_not}.",
            flag="batch_dim",
            value=config.batch_dim,
        )
    return settled("none", f"dimension {plan.batch_name} is not taken for a batch: {why_not}")


def settle_plan(
    config: BenchmarkConfig, assembly: Assembly, layout: Layout
) -> tuple[SamplePlan, list[str]]:
    """The plan and the notes of :func:`settle`."""
    settled = settle(config, assembly, layout)
    return settled.plan, settled.notes


def _with_values(
    plan: SamplePlan, signature: ModelSignature, config: BenchmarkConfig
) -> SamplePlan:
    """The plan with the values that the user wishes, checked against the element types."""
    wishes = {"range": config.value_range, "fill": config.fill, "distribution": config.distribution}
    for flag, names in wishes.items():
        check_inputs(signature, flag, names)
    ranges = {name: parse_range(text) for name, text in config.value_range.items()}
    fills = {name: parse_fill(text) for name, text in config.fill.items()}
    inputs = []
    for each in plan.inputs:
        drawn = each.values or default_values(each.dtype)
        values = wished_values(each.name, drawn, ranges, fills, config.distribution)
        wished = each.name in {**ranges, **fills, **config.distribution}
        if wished:
            _check_values(each, values)
        inputs.append(replace(each, values=values, array=None if wished else each.array))
    return replace(plan, inputs=tuple(inputs))


def _check_values(plan: InputPlan, values: Values) -> None:
    """Whole numbers that the element type can hold, where it holds whole numbers."""
    flag = "fill" if values.kind == "constant" else "range"
    kind = kind_of(plan.dtype)
    if kind not in "iubU":
        return
    low, high = limits(plan.dtype)
    holds = "strings, made from" if kind == "U" else f"{plan.dtype.name}:"
    last = values.high if values.kind == "constant" else values.high - 1
    whole = values.low == values.low // 1 and values.high == values.high // 1
    if not (whole and low <= values.low and last <= high):
        raise RequestError(
            f"input {plan.name} holds {holds} whole numbers from {low} to {high}.",
            flag=flag,
            value=f"{plan.name}={values.low:g}" + f":{values.high:g}" * (flag == "range"),
        )


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
        # What was found in a sample may be nothing at all.
        empty = together.ndim and not all(len(outputs[position]) for outputs in alone)
        if together.ndim == 0 or len(together) < count or empty:
            return f"output {position} has no such dimension"
        for row, outputs in enumerate(alone):
            if not _alike(outputs[position][0], together[row]):
                return f"output {position} of a sample depends on the others in its batch"
    return ""


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if kind_of(one.dtype) not in "fc":
        return bool(np.array_equal(one, other))
    # complex128 holds every float and complex type that numpy has here
    a, b = one.astype(np.complex128), other.astype(np.complex128)
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return bool(
        np.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE * max(scale, 1e-6), equal_nan=True)
    )
