"""kserve's endpoints with our backend behind them.

kserve's ``ModelServer.start`` listens on every address, without TLS, and does not say when it is
ready, so its parts are put together here: its registry and data plane, its servicer for gRPC and
its application for REST.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import grpc
import uvicorn
from grpc_interceptor.exceptions import GrpcException
from kserve import ModelServer
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.rest.server import RESTServer

from loadgen_generic.errors import RunError
from loadgen_generic.serving.index import index_handler
from loadgen_generic.serving.loading import Loaded
from loadgen_generic.serving.model import ServedModel
from loadgen_generic.serving.service import Listening, Service
from loadgen_generic.serving.workers import Workers

__all__ = ["run_server"]

_GRACE_SEC = 10
_PLATFORM = "onnxruntime_onnx"  # as Triton calls it
_LOGGERS = ("kserve", "kserve.trace", "uvicorn.access", "uvicorn.error")
_FOR_CLIENTS = (GrpcException, InvalidInput, ModelNotFound)
_POLL_SEC = 0.01
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Else a second server on the same port would get every other client.
    ("grpc.so_reuseport", 0),
)


class _DataPlane(DataPlane):  # type: ignore[misc]
    """kserve's own names no platform."""

    async def model_metadata(self, model_name: str) -> dict[str, object]:
        return {**await super().model_metadata(model_name), "platform": _PLATFORM}


def run_server(
    service: Service,
    sockets: tuple[socket.socket, socket.socket],
    load: Callable[[], Loaded],
    ready: Callable[[Listening], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        sockets: bound to the ports for gRPC and REST.
        ready: called when clients are answered.

    Raises:
        RequestError, RunError: as ``load`` does, or a server does not start.
    """
    loaded = load()
    try:
        asyncio.run(_serve(service, sockets, loaded, ready))
    finally:
        loaded.close()


async def _serve(
    service: Service,
    sockets: tuple[socket.socket, socket.socket],
    loaded: Loaded,
    ready: Callable[[Listening], None],
) -> None:
    parts = ModelServer(enable_grpc=False, enable_latency_logging=False)
    _quiet_logs()
    workers = Workers(loaded.workers)
    parts.register_model(ServedModel(service.name, loaded.signature, workers))
    parts.dataplane = _DataPlane(parts.registered_models)
    for_grpc, for_rest = sockets
    port, http_port = (each.getsockname()[1] for each in sockets)
    remote = _grpc_server(service, parts, for_grpc)
    web = _rest_server(service, parts, http_port)

    def stop(number: int, frame: object) -> None:
        web.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn puts its own in their place, and raises what it caught once more at its end.
        signal.signal(number, stop)
    await remote.start()
    serving = asyncio.create_task(web.serve(sockets=[for_rest]))
    while not web.started and not serving.done():
        await asyncio.sleep(_POLL_SEC)
    if web.started:
        ready(
            Listening(
                name=service.name,
                host=service.host,
                port=port,
                http_port=http_port,
                tls=bool(service.certificate),
                notes=loaded.notes,
            )
        )
    await serving  # until it is told to stop
    await remote.stop(_GRACE_SEC)
    workers.close()
    if not web.started:
        raise RunError("the server for REST does not start")


def _grpc_server(service: Service, parts: ModelServer, bound: socket.socket) -> grpc.aio.Server:
    server = grpc.aio.server(interceptors=(ExceptionToStatusInterceptor(),), options=_OPTIONS)
    servicer = InferenceServicer(parts.dataplane, parts.model_repository_extension)
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((index_handler([service.name]),))
    address = service.endpoint(bound.getsockname()[1])
    bound.close()  # gRPC takes no sockets
    if not service.certificate:
        server.add_insecure_port(address)
        return server
    pair = Path(service.key).read_bytes(), Path(service.certificate).read_bytes()
    server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    return server


def _rest_server(service: Service, parts: ModelServer, port: int) -> uvicorn.Server:
    rest = RESTServer(
        FASTAPI_APP_IMPORT_STRING,
        parts.dataplane,
        parts.model_repository_extension,
        port,
        grace_period=_GRACE_SEC,
    )
    rest.create_application()
    if service.certificate:
        rest.config.ssl_certfile, rest.config.ssl_keyfile = service.certificate, service.key
    return uvicorn.Server(rest.config)


def _quiet_logs() -> None:
    """No line for each request, and one, not a traceback, for each that is refused."""

    def brief(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _FOR_CLIENTS):
            record.exc_info = None
            if not record.args:
                record.msg = f"{record.msg} {error}"
        return True

    warnings.filterwarnings("ignore", module="fastapi")

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).addFilter(brief)
