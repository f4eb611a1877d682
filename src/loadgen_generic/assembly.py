"""Puts backends, samples and runners of one model together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.devices import blame_card, planned_cards
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.fitting import (
    batching_changes_answers,
    find_hints,
    hints_resized,
    why_not_run,
)
from loadgen_generic.notation import parse_fill, parse_range
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.remote import batching_note, remote_spec
from loadgen_generic.replication import cluster_spec, find_room
from loadgen_generic.runners import create_runner
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.rule import Wish, layout_by_rule, may_batch, wish_of
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.seams import Backend, Runner, SampleLibrary
from loadgen_generic.shapes import apply_shapes, check_inputs, check_values
from loadgen_generic.tensors import ModelSignature, SamplePlan, plan_samples
from loadgen_generic.values import Hints, default_values, wished_values

__all__ = ["Assembly", "Settled", "settle", "settle_plan"]

_Key = tuple[int, int, int]  # threads, workers where they matter, device


class Assembly:
    """Makes runners of one model, and keeps the loaded backends that they share.

    ``beat`` is called after each inference before the test, as a sign of life.

    Attributes:
        cards: the numbers of those here that the run is spread over.
        room: for replicas on a cluster; None where the run is on none.

    Raises:
        RequestError, RunError: a card or a cluster that is asked for is not there.
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
        self._backends: dict[_Key, tuple[Backend, ModelSignature]] = {}
        self._load_sec: dict[_Key, float] = {}
        self.room = find_room(config)
        self.cards: tuple[int, ...] = ()
        alone = Layout("inline", 1, 1, 1)
        self.cards = planned_cards(config, lambda: create_backend(self.spec(alone)).cards())

    def begin(self) -> Layout:
        """Load the backend of the layout by rule, as far as that depends on no model."""
        rule = layout_by_rule(self.wish(SamplePlan((), batched=True)))
        if self._fell_back(self.backend(rule)[0]):
            self.close()
            self.cards = ()
            return self.begin()
        return rule

    def wish(self, plan: SamplePlan) -> Wish:
        """What the request leaves open, for a model whose samples are as planned."""
        return wish_of(self._config, plan, self._cores, len(self.cards), self.room)

    def _fell_back(self, backend: Backend) -> bool:
        """Whether a backend that was to run on a card does not."""
        started = backend.providers()
        return bool(self.cards and started and not facts_of(started[0]).cards)

    def devices(self, layout: Layout) -> tuple[int, ...]:
        """What the workers of a layout run on: each takes the next, from the first on."""
        return (self.cards or (0,))[: layout.workers]

    def effective(self, layout: Layout) -> dict[str, object]:
        """The options in force that say where a layout computes."""
        if not self.cards:
            return {"devices": []}
        return {
            "devices": list(self.devices(layout)),
            "data_location": self._config.data_location,
        }

    def notes(self, layout: Layout) -> list[str]:
        """What the user should know of the cards that a layout leaves alone, and of requests."""
        used = self.devices(layout)
        if len(used) >= len(self.cards):
            return batching_note(self._config, layout.batch_size)
        idle = ", ".join(map(str, self.cards[len(used) :]))
        return [f"one query at a time uses one card: GPU {used[0]}; idle: GPU {idle}"]

    def shares(self, layout: Layout, answered: Sequence[int]) -> list[dict[str, int]]:
        """How many samples each card answered.

        Args:
            answered: by each worker.
        """
        used = self.devices(layout)
        return [
            {"number": number, "samples": sum(answered[at :: len(used)])}
            for at, number in enumerate(used)
        ]

    def spec(self, layout: Layout, device: int | None = None) -> BackendSpec:
        """The backend that the workers of a layout use on a device, the first unless told."""
        config, devices = self._config, self.devices(layout)
        parallel = config.execution_mode == "parallel"
        return BackendSpec(
            name=config.backend,
            model_path=self.model_path,
            execution_provider=config.execution_provider,
            intra_op_threads=layout.intra_op_threads,
            inter_op_threads=config.inter_op_threads or (self._cores if parallel else 1),
            execution_mode="parallel" if parallel else "sequential",
            options=config.backend_options,
            graph_optimization=config.graph_optimization,
            optimized_cache=config.optimized_cache,
            workers=-(-layout.workers // len(devices)) if layout.shares_session else 1,
            provider_options=config.ep_options,
            precision=config.precision,
            allow_fallback=config.allow_fallback,
            device=devices[0] if device is None else device,
            data_location=config.data_location,
            remote=remote_spec(config),
            cluster=cluster_spec(config, layout),
        )

    def backend(self, layout: Layout, device: int | None = None) -> tuple[Backend, ModelSignature]:
        """The loaded backend of a layout on a device, the first unless told."""
        spec = self.spec(layout, device)
        key = self._key(spec)
        found = self._backends.get(key)
        if found is None:
            backend = create_backend(spec)
            began = time.perf_counter()
            try:
                found = self._backends[key] = backend, backend.load()
            except Exception as error:
                raise (blame_card(error, spec.device) if len(self.cards) > 1 else error) from error
            self._load_sec[key] = time.perf_counter() - began
            if self._fell_back(backend) and spec.device != self.cards[0]:
                raise RunError(
                    f"GPU {spec.device} does not start, though GPU {self.cards[0]} does: "
                    f"{backend.effective().get('fallback')}. Leave it out of --devices."
                )
            self.beat()
        return found

    def load_sec(self, layout: Layout) -> float | None:
        """What making the sessions of a layout took, one after the other; None where workers make
        sessions of their own."""
        devices = self.devices(layout)
        if not layout.shares_session or (self.cards and layout.workers > len(devices)):
            return None
        return sum(self._load_sec[self._key(self.spec(layout, device))] for device in devices)

    def _key(self, spec: BackendSpec) -> _Key:
        """What a session of this run depends on."""
        streams = spec.name != "fake" and facts_of(spec.execution_provider).streams
        return spec.intra_op_threads, spec.workers if streams else 0, spec.device

    def build(
        self, layout: Layout, samples: SampleLibrary, warmup_queries: int, every_size: bool = False
    ) -> Runner:
        """The runner of a layout, its workers warmed up; see :class:`RunnerSetup`."""
        devices, spec = self.devices(layout), self.spec(layout)
        return create_runner(
            RunnerSetup(
                runner=layout.runner,
                workers=layout.workers,
                batch_size=layout.batch_size,
                batch_timeout_sec=(self._config.batch_timeout_us or 0.0) * 1e-6,
                warmup_queries=warmup_queries,
                every_size=every_size,
                pin=self._config.pin,
                make_backends=[
                    partial(create_backend, self.spec(layout, device)) for device in devices
                ],
                backends=[self.backend(layout, device)[0] for device in devices]
                if layout.shares_session
                else [],
                samples=samples,
                beat=self.beat,
                cards=devices if self.cards else (),
                in_flight=cluster.batches_in_flight if (cluster := spec.cluster) else 1,
            )
        )

    def keep_only(self, layout: Layout) -> None:
        """Close the backends that only a calibration needed."""
        kept = {self._key(self.spec(layout, device)) for device in self.devices(layout)}
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
            check_values(each, values)
        inputs.append(replace(each, values=values, array=None if wished else each.array))
    return replace(plan, inputs=tuple(inputs))
