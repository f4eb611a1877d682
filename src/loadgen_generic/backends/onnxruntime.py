"""ONNX Runtime: the session, what it says of the model, and its errors in plain words."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.optimized import Configure, Loaded, load_optimized
from loadgen_generic.backends.ortworkers import check_outputs
from loadgen_generic.backends.profiling import OperatorProfiler
from loadgen_generic.backends.providers import Provider, provider_of
from loadgen_generic.backends.wire import external_weights, inputs_without_shape
from loadgen_generic.diagnosis import why_not_installed, why_not_started
from loadgen_generic.elements import ELEMENTS
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError, plain_words
from loadgen_generic.native import listening
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.seams import Profiler, Worker
from loadgen_generic.tensors import Dim, ModelSignature, TensorSpec

__all__ = ["OnnxRuntimeBackend", "resolve_provider"]

_MODES = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
_UNREGISTERED = re.compile(r"MLDataType for: (\S+) is not currently registered")
_ERRORS_ONLY = 3  # ONNX Runtime's log severity


class OnnxRuntimeBackend:
    """One inference session, shared by the workers that are made from it."""

    def __init__(self, spec: BackendSpec) -> None:
        self._spec = spec
        self._opened: Loaded | None = None
        self._provider: Provider | None = None

    def load(self) -> ModelSignature:
        name = resolve_provider(self._spec.execution_provider)
        provider = self._provider = provider_of(name)
        with listening() as said:
            provider.prepare()
            opened = self._opened = self._load(provider)
        started = opened.session.get_providers()
        if not started or started[0] != name:
            raise RunError(why_not_started(name, said.text, ", ".join(started)))
        check_outputs(opened.session)
        return _signature(opened.session, self._spec.model_path)

    def _load(self, provider: Provider, *changes: Configure) -> Loaded:
        """A session as asked for, from the optimised model where one is kept, with changes to
        its options that leave the graph alone."""
        try:
            return load_optimized(
                self._spec,
                provider.name,
                lambda path, change: self._open(path, provider, change, *changes),
            )
        except Exception as error:
            raise _explain(error, self._spec.model_path, provider.name) from error

    def _open(self, path: str, provider: Provider, *changes: Configure) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = self._spec.intra_op_threads
        options.inter_op_num_threads = self._spec.inter_op_threads
        options.execution_mode = _MODES[self._spec.execution_mode]
        if not self._spec.optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        entries = {**provider.session_entries(self._spec), **self._spec.options}
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        for change in changes:
            change(options)
        # Without enable_fallback=0 the Python layer retries on the CPU and says so on stdout.
        asked = [(provider.name, provider.options(self._spec))]
        return ort.InferenceSession(path, options, providers=asked, enable_fallback=0)

    def worker(self) -> Worker:
        opened, provider = self._loaded()
        return provider.worker(opened.session, self._spec)

    def effective(self) -> dict[str, object]:
        opened, provider = self._loaded()
        options = opened.session.get_session_options()
        mode = next(n for n, m in _MODES.items() if m == options.execution_mode)
        return {
            "execution_provider": opened.session.get_providers()[0],
            "intra_op_threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "execution_mode": mode,
            "backend_options": {
                key: options.get_session_config_entry(key) for key in self._spec.options
            },
            "optimized_model": opened.state,
            "allow_fallback": self._spec.allow_fallback,
            **provider.effective(opened.session, self._spec),
        }

    def providers(self) -> list[str]:
        opened, _ = self._loaded()
        return list(opened.session.get_providers())

    def notes(self) -> list[str]:
        opened, provider = self._loaded()
        notes = [opened.note] if opened.note else []
        return notes + provider.notes(opened.session, self._spec)

    def profiler(self) -> Profiler:
        _, provider = self._loaded()
        return OperatorProfiler(lambda change: self._load(provider, change).session)

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
        self._opened = None

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
        raise RunError(why_not_installed(full, ort.__version__, ", ".join(available)))
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


def _what_weights_lack(model_path: str) -> str:
    """Which file of weights is missing or too short, in words; empty if none is."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # no model, so none is missing
        for name, needed in external_weights(model_path).items():
            file = Path(model_path).parent / name
            if not file.is_file():
                return f"the model keeps weights in {name}, which is missing."
            if (size := file.stat().st_size) < needed:
                return (
                    f"the model keeps weights in {name}, of which it needs {needed:,} bytes; the "
                    f"file has {size:,}, so it is only a part."
                )
    return ""


def _explain(error: Exception, model_path: str, provider: str) -> LoadgenGenericError:
    kind, text = type(error).__name__, str(error)
    name = Path(model_path).name
    detail = plain_words(text.rpartition(" failed:")[2] or text)
    weights = _what_weights_lack(model_path)
    if weights:
        return RequestError(
            weights,
            flag="modelpath",
            value=model_path,
            remedy="Put the whole file beside the model; the two belong together.",
        )
    if kind == "InvalidProtobuf" or "No graph was found" in text:
        return RequestError(
            "this is not an ONNX model, or only a part of one.",
            flag="modelpath",
            value=model_path,
            remedy="Check that the file was copied or downloaded whole.",
        )
    unregistered = _UNREGISTERED.search(text)
    if unregistered is not None:
        return RequestError(
            f"the model uses the element type {unregistered[1]}, which onnxruntime "
            f"{ort.__version__} does not have.",
            flag="modelpath",
            value=model_path,
            remedy="Export it with another type, such as complex numbers as pairs of floats.",
        )
    if kind == "NotImplemented":
        return RunError(
            f"{name}: onnxruntime {ort.__version__} knows an operator of the model, but not for "
            f"its element types: {detail}. Export this part of the model with other ones."
        )
    if "No Op registered" in text or "is not a registered function" in text:
        return RunError(
            f"{name} needs an operator that onnxruntime {ort.__version__} does not have: "
            f"{detail} Update onnxruntime, or export the model with standard operators."
        )
    if "Opset" in text or "opset" in text:
        return RunError(
            f"{name} needs a newer onnxruntime than {ort.__version__}: {detail.strip()}"
        )
    if kind in ("InvalidGraph", "InvalidArgument"):
        return RequestError(f"the model is not valid: {detail}", flag="modelpath", value=model_path)
    if "allocate" in text or "bad_alloc" in text:
        return RunError(f"{name} does not fit into memory: {detail}")
    return RunError(f"ONNX Runtime could not load {name} on {provider}: {detail}")
