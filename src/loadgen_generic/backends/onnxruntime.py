"""ONNX Runtime: the session, what it says of the model, and its errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.cards import visible_cards
from loadgen_generic.backends.faults import explain
from loadgen_generic.backends.optimized import Configure, Loaded, load_optimized
from loadgen_generic.backends.ortworkers import check_outputs
from loadgen_generic.backends.placement import Placement, placement_of, recording
from loadgen_generic.backends.profiling import OperatorProfiler
from loadgen_generic.backends.providers import Provider, provider_of
from loadgen_generic.backends.providers.base import Asked
from loadgen_generic.backends.wire import inputs_without_shape
from loadgen_generic.diagnosis import (
    Finding,
    diagnose,
    find_driver_trouble,
    why_not_installed,
    why_not_started,
)
from loadgen_generic.elements import ELEMENTS
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.native import listening
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.seams import Batch, Profiler, Worker
from loadgen_generic.tensors import Dim, ModelSignature, TensorSpec

__all__ = ["OnnxRuntimeBackend", "resolve_provider"]

_MODES = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3  # ONNX Runtime's log severity


class OnnxRuntimeBackend:
    """One inference session, shared by the workers that are made from it."""

    def __init__(self, spec: BackendSpec) -> None:
        self._spec = spec
        self._opened: Loaded | None = None
        self._provider: Provider | None = None
        self._asked, self._fallback = spec.execution_provider, ""

    def load(self) -> ModelSignature:
        try:
            self._start()
        except RunError as error:
            if (
                not self._spec.allow_fallback
                or facts_of(self._spec.execution_provider).name == _CPU
            ):
                raise
            finding = getattr(error, "finding", None)
            self._fallback = finding.problem if finding is not None else str(error)
            self._spec = replace(
                self._spec,
                execution_provider=_CPU,
                provider_options={},
                precision=None,
                device=0,
                data_location="host",
            )
            self._start()
        opened, provider = self._loaded()
        provider.check(opened.session, self._spec)
        check_outputs(opened.session)
        return _signature(opened.session, self._spec.model_path)

    def _start(self) -> None:
        """A session on the execution provider, and on no other in its place."""
        name = resolve_provider(self._spec.execution_provider)
        provider = self._provider = provider_of(name)
        trouble = find_driver_trouble(name, getattr(ort, "cuda_version", ""))
        if trouble is not None:
            raise trouble.as_error(name)
        try:
            with listening() as said:
                provider.prepare(self._spec)
                opened = self._opened = self._load(provider)
        except RunError as error:
            trouble = diagnose(name, f"{said.text}\n{error.__cause__ or error}")
            if trouble is None:
                raise
            raise self._as_error(trouble, name) from error
        started = opened.session.get_providers()
        if not started or started[0] != name:
            raise self._as_error(why_not_started(name, said.text, ", ".join(started)), name)
        placed = self._placement()
        if placed is not None:
            placed.check()

    def _as_error(self, trouble: Finding, name: str) -> LoadgenGenericError:
        """Blames the options of the provider only where the user gave any."""
        if trouble.flag == "ep_options" and not self._spec.provider_options:
            trouble = replace(trouble, flag="")
        return trouble.as_error(name)

    def _load(self, provider: Provider, *changes: Configure) -> Loaded:
        """A session as asked for, from the optimised model where one is kept, with changes to
        its options that leave the graph alone."""
        try:
            return load_optimized(
                self._spec,
                provider.name,
                lambda path, change: self._open(path, provider, bool(changes), change, *changes),
            )
        except LoadgenGenericError:
            raise
        except Exception as error:
            raise explain(error, self._spec.model_path, provider.name) from error

    def _open(
        self, path: str, provider: Provider, plain: bool, *changes: Configure
    ) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = self._spec.intra_op_threads
        options.inter_op_num_threads = self._spec.inter_op_threads
        options.execution_mode = _MODES[self._spec.execution_mode]
        options.graph_optimization_level = _LEVELS[self._spec.graph_optimization]
        entries = {
            **(recording() if provider.name != _CPU else {}),
            **provider.session_entries(self._spec),
            **self._spec.options,
        }
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        for change in changes:
            change(options)

        def make(asked: Asked) -> ort.InferenceSession:
            # Without enable_fallback=0 the Python layer retries on the CPU and says so on stdout.
            return ort.InferenceSession(path, options, providers=list(asked), enable_fallback=0)

        return provider.open(self._spec, make, plain)

    def worker(self) -> Worker:
        opened, provider = self._loaded()
        return provider.worker(opened.session, self._spec, lambda: self._load(provider).session)

    def effective(self) -> dict[str, object]:
        opened, provider = self._loaded()
        options = opened.session.get_session_options()
        mode = next(n for n, m in _MODES.items() if m == options.execution_mode)
        level = next(n for n, at in _LEVELS.items() if at == options.graph_optimization_level)
        if opened.entry is not None:  # it is optimised already, and its session does no more
            level = self._spec.graph_optimization
        placed = self._placement()
        return {
            "execution_provider": opened.session.get_providers()[0],
            "intra_op_threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "execution_mode": mode,
            "graph_optimization": level,
            "backend_options": {
                key: options.get_session_config_entry(key) for key in self._spec.options
            },
            "optimized_model": opened.state,
            "allow_fallback": self._spec.allow_fallback,
            **({"fallback": self._fallback} if self._fallback else {}),
            **provider.effective(opened.session, self._spec),
            **(placed.effective() if placed is not None else {}),
        }

    def providers(self) -> list[str]:
        opened, _ = self._loaded()
        return list(opened.session.get_providers())

    def notes(self) -> list[str]:
        opened, provider = self._loaded()
        fallback = ""
        if self._fallback:
            fallback = f"runs on {_CPU}, not on {self._asked}: {self._fallback}"
        placed = self._placement()
        where = placed.note() if placed is not None else ""
        notes = [note for note in (opened.note, fallback, where) if note]
        return notes + provider.notes(opened.session, self._spec)

    def _placement(self) -> Placement | None:
        """None on the CPU, where every operator is at home."""
        opened, provider = self._loaded()
        return None if provider.name == _CPU else placement_of(opened.session, provider.name)

    def profiler(self) -> Profiler:
        _, provider = self._loaded()
        return OperatorProfiler(lambda change: self._load(provider, change).session)

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        _, provider = self._loaded()
        return provider.phases(batches, beat)

    def cards(self) -> Sequence[str]:
        name = resolve_provider(self._spec.execution_provider)
        return visible_cards() if facts_of(name).cards else ()

    def confirm(self, model_sha256: str) -> None:
        opened, _ = self._loaded()
        if opened.sha256 and opened.sha256 != model_sha256:
            opened.discard()
            raise RunError(
                f"{self._spec.model_path} is not the model that the cached optimised one was made "
                "from, though the file system says that it never changed. The cached one was "
                "removed; run it again."
            )

    def close(self) -> None:
        self._opened = self._provider = None

    def _loaded(self) -> tuple[Loaded, Provider]:
        if self._opened is None or self._provider is None:
            raise RuntimeError("load() first")
        return self._opened, self._provider


def resolve_provider(name: str) -> str:
    """The full name of an execution provider that is installed.

    Raises:
        RunError: ONNX Runtime knows it, but this build does not have it.
        RequestError: ONNX Runtime knows no such provider.
    """
    full = {facts_of(p).short: p for p in ort.get_all_providers()}.get(facts_of(name).short)
    available = ort.get_available_providers()
    if full is None:
        raise RequestError(
            "ONNX Runtime knows no such provider.",
            flag="ep",
            value=name,
            remedy=f"Installed here: {', '.join(available)}.",
        )
    if full not in available:
        raise why_not_installed(full, ort.__version__, ", ".join(available)).as_error(full)
    return str(full)


def _signature(session: ort.InferenceSession, model_path: str) -> ModelSignature:
    nodes = session.get_inputs()
    # ONNX Runtime gives no dimensions for a scalar and for an input that declares no shape.
    unclear = any(not node.shape and node.type in ELEMENTS for node in nodes)
    unranked = inputs_without_shape(model_path) if unclear else set()
    return ModelSignature(
        tuple(_spec_of(node, node.name not in unranked) for node in nodes),
        tuple(_spec_of(node) for node in session.get_outputs()),
    )


def _spec_of(node: ort.NodeArg, ranked: bool = True) -> TensorSpec:
    element = ELEMENTS.get(node.type)
    shape: tuple[Dim, ...] = tuple(node.shape)
    return TensorSpec(node.name, node.type, element.dtype if element else None, shape, ranked)
