"""TensorRT: NVIDIA GPUs, with engines built for the card."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.card.engines import EngineCache, preload_tensorrt
from loadgen_generic.backends.card.memory import Stream
from loadgen_generic.backends.providers.base import Asked
from loadgen_generic.backends.providers.cuda import TF32_OVERRIDE, Cuda
from loadgen_generic.wording import format_measured

__all__ = ["TensorRt"]

_CUDA = "CUDAExecutionProvider"
_SWITCHES = {"float16": "trt_fp16_enable", "bfloat16": "trt_bf16_enable", "int8": "trt_int8_enable"}


class TensorRt(Cuda):
    """Sessions on one GPU; operators that TensorRT does not take run on CUDA."""

    graph_option = "trt_cuda_graph_enable"
    widens = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._engines: EngineCache | None = None

    def prepare(self, spec: BackendSpec) -> None:
        if spec.precision not in ("tf32", "auto"):
            # TensorRT computes float32 in TF32 unless told not to, and its provider in ONNX
            # Runtime has no option for it. NVIDIA's libraries read this when they are loaded.
            os.environ[TF32_OVERRIDE] = "0"
        super().prepare(spec)
        preload_tensorrt()
        # TensorRT's own package loads its libraries as it is imported; without it, ONNX Runtime
        # looks where the system's loader does.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("tensorrt_libs")

    def _precision(self, spec: BackendSpec) -> dict[str, str]:
        switch = _SWITCHES.get(spec.precision or "")
        return {switch: "1"} if switch else {}

    def asked(self, spec: BackendSpec, stream: Stream, graphs: bool) -> Asked:
        if self._engines is None:
            name = self._card_of(spec).name()
            self._engines = EngineCache(spec, name, self.options(spec))
        ((own, options),) = super().asked(spec, stream, graphs)
        tf32 = spec.precision in ("tf32", "auto")
        beside = {
            "device_id": str(spec.device),
            "use_tf32": "1" if tf32 else "0",
            "user_compute_stream": str(stream.address),
        }
        return [(own, {**self._engines.options, **options}), (_CUDA, beside)]

    def why_unfit(self, session: ort.InferenceSession) -> str:
        for node in session.get_inputs():
            if not all(isinstance(size, int) for size in node.shape):
                return (
                    f"input {node.name} has an open shape, for which TensorRT may build another "
                    "engine, under the graphs of the first"
                )
        return ""

    def effective(self, session: ort.InferenceSession, spec: BackendSpec) -> Mapping[str, object]:
        engines = self._engines
        kept = engines is not None and engines.directory is not None
        return {
            **super().effective(session, spec),
            "engine_cache": str(engines.directory) if engines is not None and kept else "off",
            "engines_built": engines.built() if engines is not None else None,
            "engine_build_sec": self._build_sec(),
        }

    def computes_in(self, spec: BackendSpec, told: Mapping[str, str]) -> str:
        on = [name for name, switch in _SWITCHES.items() if _is_on(told.get(switch, ""))]
        if on:
            return " and ".join(on)
        if os.environ.get(TF32_OVERRIDE) == "0":
            return "float32" if spec.precision == "float32" else "as the model"
        return "tf32 (TensorRT's default; not read back)"

    def notes(self, session: ort.InferenceSession, spec: BackendSpec) -> list[str]:
        notes = super().notes(session, spec)
        engines = self._engines
        built = engines.built() if engines is not None else None
        if engines is not None and (built is None or built):
            took = format_measured(self._build_sec() or 0.0, "s")
            kept = f"kept in {engines.directory}" if engines.directory is not None else "not kept"
            notes.append(f"TensorRT built engines for {took} before the test; they are {kept}")
        if _is_on(self.options(spec).get("trt_int8_enable", "")):
            notes.append(
                "int8 needs a model with QuantizeLinear and DequantizeLinear, or a calibration "
                "table by --ep_options trt_int8_calibration_table_name=FILE"
            )
        return notes

    def _build_sec(self) -> float:
        """What making sessions and their first inferences took, where engines were built then."""
        if self._engines is None or self._engines.built() == 0:
            return 0.0
        return self.load_sec + sum(lane.first_runs_sec for lane in self._lanes)


def _is_on(value: str) -> bool:
    return value.lower() in ("1", "true")
