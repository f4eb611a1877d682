"""Calls of tritonclient, asked for as lines of JSON on standard input and answered alike.

Runs under the interpreter of an environment that has tritonclient, and uses nothing of this
project: what it says of a server is another party's word. Tensors travel as ``name``,
``datatype``, ``shape`` and ``data``: a list, where ``BYTES`` are strings.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def main() -> None:
    clients: dict[tuple[str, str | None], Any] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        endpoint, root = asked["endpoint"], asked.get("root")
        try:
            if (endpoint, root) not in clients:
                clients[endpoint, root] = triton.InferenceServerClient(
                    endpoint, ssl=root is not None, root_certificates=root
                )
            answer = {"answer": globals()[asked["call"]](clients[endpoint, root], **asked["given"])}
        except InferenceServerException as error:
            answer = {"error": error.message(), "status": error.status()}
        print(json.dumps(answer), flush=True)


def ready(client: Any, model: str) -> list[bool]:
    return [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)]


def metadata(client: Any, model: str) -> dict[str, Any]:
    told: dict[str, Any] = client.get_model_metadata(model, as_json=True)
    return told


def infer(client: Any, model: str, inputs: list[Any], outputs: list[str]) -> Any:
    asked = [_input(**each) for each in inputs]
    wanted = [triton.InferRequestedOutput(name) for name in outputs] or None
    result = client.infer(model, asked, outputs=wanted, request_id="17")
    response = result.get_response()
    return {
        "id": response.id,
        "outputs": {
            each.name: {
                "datatype": each.datatype,
                "shape": list(each.shape),
                "data": _listed(result.as_numpy(each.name)),
            }
            for each in response.outputs
        },
        "parameters": {name: each.int64_param for name, each in response.parameters.items()},
    }


def _input(name: str, datatype: str, shape: list[int], data: Any) -> Any:
    tensor = triton.InferInput(name, shape, datatype)
    if datatype == "BYTES":
        encoded = np.array([text.encode() for text in np.ravel(data)], object)
        tensor.set_data_from_numpy(encoded.reshape(shape))
        return tensor
    array = np.array(data, triton_to_np_dtype(datatype))
    tensor.set_shape(array.shape)
    tensor.set_data_from_numpy(array)
    tensor.set_shape(shape)  # which may be a lie
    return tensor


def _listed(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype == object:
        return [text.decode() for text in array.reshape(-1)]
    return array.tolist()


main()
