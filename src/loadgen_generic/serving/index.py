"""The list of models, by which a client finds the only one: the call ``RepositoryIndex`` of Triton's
model repository extension, which kserve's servicer and its protocol file lack."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

__all__ = ["encoded_index", "index_handler"]

_SERVICE, _METHOD = "inference.GRPCInferenceService", "RepositoryIndex"
_READY = "READY"
# Of the messages RepositoryIndexResponse and, in it, ModelIndex.
_MODELS, _NAME, _STATE = 1, 1, 3
_LENGTH_DELIMITED = 2


def index_handler(models: Iterable[str]) -> grpc.GenericRpcHandler:
    """Answers the call for models that are ready, beside kserve's own calls."""
    answer = encoded_index(models)

    async def index(request: bytes, context: object) -> bytes:
        return answer

    method = grpc.unary_unary_rpc_method_handler(index)
    return grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: method})


def encoded_index(models: Iterable[str]) -> bytes:
    """The response in protobuf's wire format."""
    entries = (_field(_NAME, name.encode()) + _field(_STATE, _READY.encode()) for name in models)
    return b"".join(_field(_MODELS, entry) for entry in entries)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
