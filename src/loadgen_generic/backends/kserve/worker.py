"""One worker: a request at a time, to whichever endpoint has the least to do."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor

from loadgen_generic.backends.kserve.client import FailedError, Server, triton
from loadgen_generic.backends.kserve.datatypes import BYTES, CONTENTS, DATATYPES, DTYPES
from loadgen_generic.backends.kserve.ledger import Ledger
from loadgen_generic.errors import RunError
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array, ModelSignature

__all__ = ["KserveWorker", "decoded", "encoded"]


class KserveWorker:
    """Nothing is made ready before the clock starts: each request is encoded when it is sent.

    Attributes:
        response: the last one.
    """

    def __init__(
        self, servers: Sequence[Server], ledger: Ledger, model: str, signature: ModelSignature
    ) -> None:
        self._servers, self._ledger, self._model = servers, ledger, model
        self._inputs = [(spec.name, DATATYPES[spec.element_type]) for spec in signature.inputs]
        self._outputs = [spec.name for spec in signature.outputs]
        self.response: Any = None

    def infer(self, batch: Batch) -> None:
        inputs = self._encoded(batch)
        at = self._ledger.take()
        try:
            response = self._servers[at].infer(self._model, inputs)
            if len(response.outputs) < len(self._outputs):
                raise FailedError(f"an answer of {len(response.outputs)} outputs", "")
        except Exception as error:
            raise self._ledger.failed(at, str(error)) from error
        self._ledger.answered(at)
        self.response = response

    def everywhere(self, batch: Batch) -> None:
        for _ in self._servers:  # which take turns while nothing is outstanding
            self.infer(batch)

    def send(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        inputs = self._encoded(batch)
        at = self._ledger.take()

        def answered(response: Any, why: str) -> None:
            if response is not None and len(response.outputs) < len(self._outputs):
                why = f"an answer of {len(response.outputs)} outputs"
            if why:
                # A failure waits for the others, whose callbacks come from this very thread.
                report = threading.Thread(target=lambda: done(self._ledger.failed(at, why)))
                report.daemon = True
                report.start()
                return
            self._ledger.answered(at)
            self.response = response
            done(None)

        try:
            self._servers[at].send(self._model, inputs, answered)
        except Exception as error:
            raise self._ledger.failed(at, str(error)) from error

    def _encoded(self, batch: Batch) -> list[Any]:
        return [
            encoded(name, datatype, array)
            for (name, datatype), array in zip(self._inputs, batch.arrays, strict=True)
        ]

    def outputs(self) -> Sequence[Array]:
        raw = self.response.raw_output_contents
        found = {
            tensor.name: decoded(tensor, raw[at] if at < len(raw) else None)
            for at, tensor in enumerate(self.response.outputs)
        }
        for name in self._outputs:
            if name not in found:
                raise RunError(f"an answer of model {self._model} lacks its output {name}")
        return [found[name] for name in self._outputs]


def encoded(name: str, datatype: str, array: Array) -> Any:
    """An input as a request has it: raw bytes, copied from the array."""
    tensor = triton.InferInput(name, array.shape, datatype)
    if datatype == BYTES:
        text = np.empty(array.shape, object)
        text.reshape(-1)[:] = [str(each).encode("utf-8") for each in array.reshape(-1)]
        array = text
    tensor.set_data_from_numpy(array)
    return tensor


def decoded(tensor: Any, raw: bytes | None) -> Array:
    """An output of a response, from its raw bytes where they were sent.

    Raises:
        RunError: what was sent is none of its type and shape.
    """
    try:
        if tensor.datatype == BYTES:
            flat = tensor.contents.bytes_contents if raw is None else deserialize_bytes_tensor(raw)
            array = np.array([each.decode("utf-8") for each in flat], np.str_)
        elif raw is not None:
            array = np.frombuffer(raw, DTYPES[tensor.datatype])
        else:
            flat = getattr(tensor.contents, CONTENTS[tensor.datatype])
            array = np.array(flat, DTYPES[tensor.datatype])
        return array.reshape(tuple(tensor.shape))
    except (KeyError, ValueError, struct.error) as error:
        raise RunError(
            f"output {tensor.name} of an answer is not {tensor.datatype}{list(tensor.shape)}: {error}"
        ) from None
