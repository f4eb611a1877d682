"""OpenVINO without ONNX Runtime and without a harness: the loop to be measured against.

Runs under an interpreter that has the package ``openvino``, and needs nothing else of ours. The
model gets a fixed batch, each request has its input bound beforehand, and nobody looks at the
answers. Prints one JSON object.

  throughput  samples/s of an AsyncInferQueue of as many requests as the plugin wants
  latency     p50 and p90 in ns of one request that waits for each answer, batch 1
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import openvino as ov

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_WARM_UP = 5


def main() -> None:
    given = _parser().parse_args()
    hint = {"throughput": "THROUGHPUT", "latency": "LATENCY"}[given.what]
    core = ov.Core()
    model = core.read_model(given.model)
    model.reshape(
        {each.any_name: [given.batch, *list(each.partial_shape)[1:]] for each in model.inputs}
    )
    compiled = core.compile_model(
        model,
        "CPU",
        {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": _HINTS[given.precision]},
    )
    measure = _throughput if given.what == "throughput" else _latency
    found = {
        **measure(compiled, given.batch, given.seconds),
        "openvino": ov.__version__,
        "precision": str(compiled.get_property("INFERENCE_PRECISION_HINT")),
        "streams": int(compiled.get_property("NUM_STREAMS")),
        "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
    }
    print(json.dumps(found))


def _bind(request: ov.InferRequest, compiled: ov.CompiledModel, number: int) -> None:
    random = np.random.default_rng(number)
    for position, each in enumerate(compiled.inputs):
        values = random.random(tuple(each.shape), np.float32).astype(each.element_type.to_dtype())
        request.set_input_tensor(position, ov.Tensor(values))


def _throughput(compiled: ov.CompiledModel, batch: int, seconds: float) -> dict[str, Any]:
    queue = ov.AsyncInferQueue(compiled)
    for number, request in enumerate(queue):
        _bind(request, compiled, number)
    for _ in range(_WARM_UP * len(queue)):
        queue.start_async()
    queue.wait_all()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        queue.start_async()
        count += 1
    queue.wait_all()
    rate = count * batch / (time.perf_counter() - start)
    return {"samples_per_sec": rate, "requests": len(queue)}


def _latency(compiled: ov.CompiledModel, _: int, seconds: float) -> dict[str, Any]:
    request = compiled.create_infer_request()
    _bind(request, compiled, 0)
    for _ in range(_WARM_UP):
        request.infer()
    took, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        request.infer()
        took.append(time.perf_counter_ns() - start)
    p50, p90 = np.percentile(took, [50, 90])
    return {"p50": float(p50), "p90": float(p90), "calls": len(took)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openvino_loop.py", description=__doc__)
    parser.add_argument("what", choices=("throughput", "latency"))
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=tuple(_HINTS), default="float32")
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser


if __name__ == "__main__":
    main()
