"""A runtime for MLServer: an ONNX model under plain ONNX Runtime, and nothing of this project.

Its settings say which file (``parameters.uri``) and, in ``parameters.extra``, how it behaves:
``sleep_ms`` before each answer, ``fail`` to refuse each request.
"""

from __future__ import annotations

import asyncio

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self._session = ort.InferenceSession(self.settings.parameters.uri)
        self._extra = self.settings.parameters.extra or {}
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if self._extra.get("fail"):
            raise InferenceError("this model fails, as it was told to")
        if self._extra.get("sleep_ms"):
            await asyncio.sleep(self._extra["sleep_ms"] / 1000)
        feed = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        names = [node.name for node in self._session.get_outputs()]
        answers = self._session.run(names, feed)
        return InferenceResponse(
            model_name=self.name,
            id=payload.id,
            outputs=[
                NumpyCodec.encode_output(name, answer)
                for name, answer in zip(names, answers, strict=True)
            ],
        )
