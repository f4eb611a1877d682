"""A server of the Open Inference Protocol in the test's own process, which answers as it is told."""

# ruff: noqa: N802 - the names of the protocol's calls

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

__all__ = ["StandIn", "raw_answer", "standing_in", "sums"]

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
X, Y = {"x": ("FP32", (-1, 4))}, {"y": ("FP32", (-1, 1))}


def sums(request: Any) -> Any:
    """``y``: the sum of each row of ``x``."""
    rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(-1, 4)
    return raw_answer("y", "FP32", rows.sum(axis=1, keepdims=True))


def raw_answer(name: str, datatype: str, array: Any) -> Any:
    response = pb.ModelInferResponse(model_name="sums")
    response.outputs.add(name=name, datatype=datatype, shape=array.shape)
    response.raw_output_contents.append(array.tobytes())
    return response


@dataclass
class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """One model.

    Attributes:
        tells: whether it lists its models.
        answer: from a request to its response.
        fails_at, hangs_at: number of the request, from 1, that is refused or never answered.
        reported: parameters of each response.
        asked: the shape of each request's first input.
        headers: of the last request.
        named: how often somebody asked for the server's name.
    """

    model: str = "sums"
    inputs: Tensors = field(default_factory=lambda: X)
    outputs: Tensors = field(default_factory=lambda: Y)
    tells: bool = True
    ready: bool = True
    answer: Callable[[Any], Any] = sums
    fails_at: int = 0
    hangs_at: int = 0
    reported: Mapping[str, int] = field(default_factory=dict)
    asked: list[tuple[int, ...]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    named: int = 0
    endpoint: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    __hash__ = object.__hash__

    def ServerLive(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        self.named += 1
        return pb.ServerMetadataResponse(name="stand-in", version="7", extensions=["patience"])

    def ModelReady(self, request: Any, context: Any) -> Any:
        return pb.ModelReadyResponse(ready=self.ready)

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        if not self.tells:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        found = pb.RepositoryIndexResponse()
        found.models.add(name=self.model)
        return found

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        if request.name != self.model:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
        told = pb.ModelMetadataResponse(name=self.model)
        for listed, tensors in ((told.inputs, self.inputs), (told.outputs, self.outputs)):
            for name, (datatype, shape) in tensors.items():
                listed.add(name=name, datatype=datatype, shape=shape)
        return told

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.asked.append(tuple(request.inputs[0].shape))
        self.headers = dict(context.invocation_metadata())
        number = len(self.asked)
        if number == self.hangs_at:
            self.released.wait()
        if self.fails_at and number >= self.fails_at:
            secret = self.headers.get("authorization", "")
            context.abort(grpc.StatusCode.INTERNAL, f"refused, as told {secret}")
        response = self.answer(request)
        for name, value in self.reported.items():
            response.parameters[name].int64_param = value
        return response


@contextmanager
def standing_in(*servers: StandIn) -> Iterator[list[str]]:
    """The endpoints of servers that are up, on loopback."""
    started = []
    for each in servers:
        server = grpc.server(
            ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(each, server)
        each.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        started.append(server)
    try:
        yield [each.endpoint for each in servers]
    finally:
        for each, server in zip(servers, started, strict=True):
            each.released.set()
            server.stop(0).wait()
