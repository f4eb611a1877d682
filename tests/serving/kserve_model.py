"""kserve's own ModelServer with an ONNX model under plain ONNX Runtime, and nothing of this
project: ``kserve_model.py MODEL GRPC_PORT HTTP_PORT`` and, in JSON, how it behaves: ``sleep_ms``
before each answer, ``fail`` to refuse each request. It listens on every address.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort

MODEL, GRPC_PORT, HTTP_PORT, EXTRA = sys.argv[1:]
del sys.argv[1:]  # kserve would read it

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InferenceError

_TYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}


class OnnxModel(Model):
    def __init__(self) -> None:
        super().__init__(Path(MODEL).stem)
        self._session = ort.InferenceSession(MODEL)
        self._extra = json.loads(EXTRA)
        self.ready = True

    def get_input_types(self) -> list[dict[str, object]]:
        return [_described(node) for node in self._session.get_inputs()]

    def get_output_types(self) -> list[dict[str, object]]:
        return [_described(node) for node in self._session.get_outputs()]

    async def predict(self, payload: InferRequest, headers: Any = None) -> InferResponse:
        if self._extra.get("fail"):
            raise InferenceError("this model fails, as it was told to")
        if self._extra.get("sleep_ms"):
            await asyncio.sleep(self._extra["sleep_ms"] / 1000)
        nodes = self._session.get_outputs()
        feed = {each.name: each.as_numpy() for each in payload.inputs}
        outputs = []
        for node, answer in zip(nodes, self._session.run(None, feed), strict=True):
            output = InferOutput(node.name, list(answer.shape), _TYPES[node.type])
            output.set_data_from_numpy(answer)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs, use_binary_outputs=True)


def _described(node: ort.NodeArg) -> dict[str, object]:
    shape = [dim if isinstance(dim, int) else -1 for dim in node.shape]
    return {"name": node.name, "datatype": _TYPES[node.type], "shape": shape}


ModelServer(http_port=int(HTTP_PORT), grpc_port=int(GRPC_PORT)).start([OnnxModel()])
