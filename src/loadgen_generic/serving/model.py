"""kserve's idea of a model, answered by our workers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from grpc_interceptor.exceptions import Internal, ResourceExhausted
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput

from loadgen_generic.serving.datatypes import DATATYPES, tensors_of
from loadgen_generic.serving.requests import BadRequestError, Sent, batch_of, wanted_outputs
from loadgen_generic.serving.workers import Answer, FailedError, FullError, Workers
from loadgen_generic.tensors import ModelSignature, TensorSpec

__all__ = ["ServedModel"]


class ServedModel(Model):  # type: ignore[misc]
    """One request is one inference, with the batch that it brings."""

    def __init__(self, name: str, signature: ModelSignature, workers: Workers) -> None:
        super().__init__(name)
        self._signature = signature
        self._workers = workers
        self.ready = True

    def get_input_types(self) -> list[dict[str, object]]:
        return tensors_of(self._signature.inputs)

    def get_output_types(self) -> list[dict[str, object]]:
        return tensors_of(self._signature.outputs)

    async def predict(self, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Answer a request; the response says what it spent in the queue and computing."""
        if not isinstance(payload, InferRequest):
            raise InvalidInput("this server answers requests of the Open Inference Protocol (v2)")
        sent = [
            Sent(each.name, each.datatype, each.shape, each.as_numpy) for each in payload.inputs
        ]
        names = [output.name for output in payload.request_outputs or ()]
        try:
            batch = batch_of(self._signature, sent)
            wanted = wanted_outputs(self._signature, names)
            answer = await self._workers.answer(batch, wanted)
        except BadRequestError as error:
            raise InvalidInput(str(error)) from None
        except FullError as error:
            raise ResourceExhausted(str(error)) from None
        except FailedError as error:
            raise Internal(str(error)) from error
        return InferResponse(
            # Clients of REST may leave it out, and kserve then refuses its own response.
            response_id=str(uuid.uuid4()) if payload.id is None else payload.id,
            model_name=self.name,
            infer_outputs=_outputs(wanted, answer, payload),
            parameters={"queue_ns": answer.queue_ns, "compute_ns": answer.compute_ns},
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def _outputs(
    wanted: Mapping[int, TensorSpec], answer: Answer, payload: InferRequest
) -> list[InferOutput]:
    outputs = []
    for position, spec in wanted.items():
        array = answer.outputs[position]
        output = InferOutput(spec.name, list(array.shape), DATATYPES[spec.element_type], array)
        if payload.from_grpc:  # REST chooses for each output later
            output.set_data_from_numpy(array, binary_data=payload.use_binary_outputs)
        outputs.append(output)
    return outputs
