"""ONNX Runtime, through bound buffers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array, Dim, ModelSignature, TensorSpec

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeWorker", "resolve_provider"]

ELEMENT_TYPES: dict[str, type[np.generic]] = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
}
_MODES = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
Shapes = tuple[tuple[int, ...], ...]  # of every input
_SHAPE_KEYS: dict[Shapes, int] = {}
# "/path/file.cc:46 void f(const T&) What happened": what comes before "What happened".
_CPP_SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z])", re.DOTALL)
_ERRORS_ONLY = 3  # ONNX Runtime's log severity
_INSTALL = {
    "CUDAExecutionProvider": "Install onnxruntime-gpu in place of onnxruntime, on a machine with "
    "an NVIDIA driver.",
    "TensorrtExecutionProvider": "Install onnxruntime-gpu in place of onnxruntime, and TensorRT.",
    "OpenVINOExecutionProvider": "Install onnxruntime-openvino in place of onnxruntime.",
}


class OnnxRuntimeBackend:
    """One inference session, shared by the workers that are made from it."""

    def __init__(self, spec: BackendSpec) -> None:
        self._spec = spec
        self._session: ort.InferenceSession | None = None

    def load(self) -> ModelSignature:
        provider = resolve_provider(self._spec.execution_provider)
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = self._spec.intra_op_threads
        options.inter_op_num_threads = self._spec.inter_op_threads
        options.execution_mode = _MODES[self._spec.execution_mode]
        for key, value in self._spec.options.items():
            options.add_session_config_entry(key, value)
        try:
            # Without enable_fallback=0 the Python layer retries on the CPU and says so on stdout.
            self._session = ort.InferenceSession(
                self._spec.model_path, options, providers=[provider], enable_fallback=0
            )
        except Exception as error:
            raise _explain(error, self._spec.model_path, provider) from error
        started = self._session.get_providers()
        if not started or started[0] != provider:
            raise RunError(
                f"--ep {provider}: it is installed but did not start; ONNX "
                f"Runtime would have run on {', '.join(started)} instead. Its libraries, its "
                "driver or its device are missing; harness.log in the output directory has ONNX "
                "Runtime's own words."
            )
        return ModelSignature(
            tuple(_spec_of(node) for node in self._session.get_inputs()),
            tuple(_spec_of(node) for node in self._session.get_outputs()),
        )

    def worker(self) -> OnnxRuntimeWorker:
        return OnnxRuntimeWorker(self._loaded())

    def effective(self) -> dict[str, object]:
        options = self._loaded().get_session_options()
        mode = next(n for n, m in _MODES.items() if m == options.execution_mode)
        return {
            "execution_provider": self._loaded().get_providers()[0],
            "intra_op_threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "execution_mode": mode,
            "backend_options": {
                key: options.get_session_config_entry(key) for key in self._spec.options
            },
        }

    def providers(self) -> list[str]:
        return list(self._loaded().get_providers())

    def close(self) -> None:
        self._session = None

    def _loaded(self) -> ort.InferenceSession:
        if self._session is None:
            raise RuntimeError("load() first")
        return self._session


class OnnxRuntimeWorker:
    """Runs batches through IOBinding, one binding for each batch size.

    Inputs are the pool's own memory. Outputs of known shape go to buffers that all batches of
    one size share; the others ONNX Runtime allocates.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()
        self._names = [node.name for node in self._inputs]
        self._bindings: dict[int, tuple[ort.IOBinding, Sequence[Array] | None]] = {}
        self._bound: Batch | None = None
        self._run = session.run_with_iobinding

    def infer(self, batch: Batch) -> None:
        if batch is not self._bound:
            self._bind(batch)
        self._run(self._binding)

    def outputs(self) -> Sequence[Array]:
        if self._buffers is not None:
            return self._buffers
        return cast("list[Array]", self._binding.copy_outputs_to_cpu())

    def _bind(self, batch: Batch) -> None:
        handle = batch.handle
        if handle is None:
            # A ready OrtValue is bound again at a tenth of the price of a pointer.
            values = [ort.OrtValue.ortvalue_from_numpy(array) for array in batch.arrays]
            key = _shape_key(tuple(array.shape for array in batch.arrays))
            handle = batch.handle = list(zip(self._names, values, strict=True)), key
        named, key = cast("tuple[list[tuple[str, ort.OrtValue]], int]", handle)
        if key not in self._bindings:
            self._bindings[key] = self._bind_outputs(batch)
        self._binding, self._buffers = self._bindings[key]
        for name, value in named:
            self._binding.bind_ortvalue_input(name, value)
        self._bound = batch

    def _bind_outputs(self, batch: Batch) -> tuple[ort.IOBinding, Sequence[Array] | None]:
        binding = self._session.io_binding()
        symbols = {
            name: size
            for node, array in zip(self._inputs, batch.arrays, strict=True)
            for name, size in zip(node.shape, array.shape, strict=True)
            if isinstance(name, str)
        }
        buffers: list[Array] = []
        for node in self._outputs:
            buffer = _output_buffer(node, symbols)
            if buffer is None:
                binding.bind_output(node.name, "cpu")
            else:
                binding.bind_ortvalue_output(node.name, ort.OrtValue.ortvalue_from_numpy(buffer))
                buffers.append(buffer)
        return binding, buffers if len(buffers) == len(self._outputs) else None


def _shape_key(shapes: Shapes) -> int:
    """A small integer for the shapes of all inputs: hashing them would cost each query."""
    return _SHAPE_KEYS.setdefault(shapes, len(_SHAPE_KEYS))


def resolve_provider(name: str) -> str:
    """The full name of an execution provider that is installed.

    Raises:
        RunError: ONNX Runtime knows it, but this build does not have it.
        RequestError: ONNX Runtime knows no such provider.
    """
    short = {p.removesuffix("ExecutionProvider").lower(): p for p in ort.get_all_providers()}
    full = short.get(name.removesuffix("ExecutionProvider").lower())
    available = ort.get_available_providers()
    if full is None:
        raise RequestError(
            "ONNX Runtime knows no such provider.",
            flag="ep",
            value=name,
            remedy=f"Installed here: {', '.join(available)}.",
        )
    if full not in available:
        raise RunError(
            f"--ep {full}: this onnxruntime {ort.__version__} was built without "
            f"it (it has {', '.join(available)}). {_INSTALL.get(full, '')}".rstrip()
        )
    return str(full)


def _spec_of(node: ort.NodeArg) -> TensorSpec:
    dtype = ELEMENT_TYPES.get(node.type)
    shape: tuple[Dim, ...] = tuple(node.shape)
    return TensorSpec(node.name, node.type, None if dtype is None else np.dtype(dtype), shape)


def _output_buffer(node: ort.NodeArg, symbols: dict[str, int]) -> Array | None:
    """A buffer for an output whose shape follows from the inputs' symbolic dimensions."""
    dtype = ELEMENT_TYPES.get(node.type)
    shape = [dim if isinstance(dim, int) else symbols.get(dim or "", -1) for dim in node.shape]
    if dtype is None or any(size < 0 for size in shape):
        return None
    return np.empty(shape, dtype)


def _explain(error: Exception, model_path: str, provider: str) -> LoadgenGenericError:
    kind, text = type(error).__name__, str(error)
    name = Path(model_path).name
    detail = _CPP_SOURCE.sub("", text.rpartition(" failed:")[2] or text).strip()
    if kind == "InvalidProtobuf" or "No graph was found" in text:
        return RequestError(
            "this is not an ONNX model, or only a part of one.",
            flag="modelpath",
            value=model_path,
            remedy="Check that the file was copied or downloaded whole.",
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
