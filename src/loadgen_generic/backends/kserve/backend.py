"""A model on one or more inference servers, as a backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.kserve.client import Server
from loadgen_generic.backends.kserve.datatypes import specs_of
from loadgen_generic.backends.kserve.ledger import Ledger
from loadgen_generic.backends.kserve.worker import KserveWorker
from loadgen_generic.errors import RequestError
from loadgen_generic.native import keep_large_blocks
from loadgen_generic.seams import Batch, Profiler, Worker
from loadgen_generic.tensors import ModelSignature

__all__ = ["KserveBackend"]

# What a response says of the server's own time, in ns, where it does (`loadgen-generic serve`).
_QUEUE, _COMPUTE = "queue_ns", "compute_ns"
_SPLIT_REQUESTS, _SPLIT_SEC = 50, 1.0


class KserveBackend:
    """The same model behind every endpoint; all workers share a channel to each.

    A worker has one request under way. One that is alone waits for the answer on a call of its own,
    which gRPC wakes directly; of many, answers come as callbacks from one thread of each channel,
    since as many threads that wait cost the interpreter more.
    """

    def __init__(self, spec: BackendSpec) -> None:
        assert spec.remote is not None
        self._remote = spec.remote
        self._servers: list[Server] = []
        self._names: list[str] = []
        self._sent_before: list[int] = []
        self._model = ""

    def load(self) -> ModelSignature:
        remote = self._remote
        keep_large_blocks()
        self._servers = [Server(endpoint, remote) for endpoint in remote.endpoints]
        for server in self._servers:
            server.check_live()
        self._names = [server.name() for server in self._servers]
        self._model = remote.model or self._only_model(self._servers[0])
        self._ledger = Ledger(remote.endpoints)
        signatures = [_signature(server.model(self._model), server) for server in self._servers]
        self._signature = signatures[0]
        for server, signature in zip(self._servers, signatures, strict=True):
            if signature != self._signature:
                raise RequestError(
                    f"model {self._model} is not the same everywhere: {_described(self._signature)} "
                    f"at {remote.endpoints[0]}, {_described(signature)} at {server.endpoint}.",
                    flag="endpoint",
                    value=",".join(remote.endpoints),
                )
        return self._signature

    def _only_model(self, server: Server) -> str:
        has = server.models()
        if has is not None and len(has) == 1:
            return has[0]
        likely = self._remote.likely_model
        if likely and (has is None or likely in has):
            return likely
        told = "the server does not tell which it has" if has is None else f"it has {len(has)}"
        raise RequestError(
            f"which model of {server.endpoint} is meant? ({told})",
            flag="remote_model",
            remedy=f"One of: {', '.join(has)}." if has else "Give its name on the server.",
        )

    def worker(self) -> Worker:
        return KserveWorker(self._servers, self._ledger, self._model, self._signature)

    def effective(self) -> dict[str, object]:
        remote = self._remote
        return {
            "execution_provider": "none",
            "endpoint": ",".join(remote.endpoints),
            "servers": self._names,
            "remote_model": self._model,
            "request_timeout_ms": remote.timeout_sec * 1000,
            "tls": remote.tls,
            "tls_ca": remote.tls_ca or None,
            "header": ",".join(f"{name}=***" for name in remote.headers) or None,
            "network_division": remote.network_division,
        }

    def providers(self) -> list[str]:
        return []

    def notes(self) -> list[str]:
        return [f"model {self._model} is served by {name}" for name in self._names]

    def profiler(self) -> Profiler:
        raise RequestError("the server has the operators.", flag="profile", remedy="Leave it out.")

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        """What of a request's time the server says that it spent, and what is left; empty where it
        says nothing."""
        worker = KserveWorker(self._servers, self._ledger, self._model, self._signature)
        parts: list[tuple[float, float, float]] = []
        end = time.perf_counter() + _SPLIT_SEC
        while len(parts) < _SPLIT_REQUESTS and (not parts or time.perf_counter() < end):
            batch = next(batches)
            began = time.perf_counter_ns()
            worker.infer(batch)
            took = time.perf_counter_ns() - began
            beat()
            told = worker.response.parameters
            if _QUEUE not in told or _COMPUTE not in told:
                return {}
            queue, compute = (told[name].int64_param for name in (_QUEUE, _COMPUTE))
            parts.append((took - queue - compute, queue, compute))
        network, queued, computed = (
            statistics.median(each) / 1000 for each in zip(*parts, strict=True)
        )
        return {"network_us": network, "queue_us": queued, "compute_us": computed}

    def network_name(self) -> str:
        """The name of the system by MLPerf's network division, asked of every node just now.

        Raises:
            RunError: a node does not answer.
        """
        # LoadGen asks once more when the test is over.
        self._sent_before = self._sent_before or self._ledger.sent()
        return "Network SUT: " + ", ".join(server.name() for server in self._servers)

    def shares(self) -> list[str]:
        """What each endpoint was asked since the name was; empty with one endpoint."""
        each = [
            now - then for now, then in zip(self._ledger.sent(), self._sent_before, strict=True)
        ]
        if len(each) < 2:
            return []
        told = (
            f"{server.endpoint} {100 * count / max(sum(each), 1):.3g} % ({count} requests)"
            for server, count in zip(self._servers, each, strict=True)
        )
        return [f"answered by {', '.join(told)}"]

    def model_place(self) -> str:
        """What stands for the path of the model: its endpoints and its name there."""
        return f"grpc://{','.join(self._remote.endpoints)}/{self._model}"

    def cards(self) -> Sequence[str]:
        return []

    def confirm(self, model_sha256: str) -> None:
        pass

    def close(self) -> None:
        for server in self._servers:
            server.close()


def _signature(metadata: Any, server: Server) -> ModelSignature:
    if not metadata.inputs or not metadata.outputs:
        raise RequestError(
            f"{server.endpoint} does not say what model {metadata.name} takes and gives: its metadata "
            f"lists {len(metadata.inputs)} inputs and {len(metadata.outputs)} outputs. Give the "
            "server the model's inputs and outputs, in MLServer in its model-settings.json."
        )
    return ModelSignature(specs_of("input", metadata.inputs), specs_of("output", metadata.outputs))


def _described(signature: ModelSignature) -> str:
    return ", ".join(spec.describe() for spec in (*signature.inputs, *signature.outputs))
