"""Who answers the queries. A new engine is one new file here and one line in ``BACKENDS``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from loadgen_generic.seams import Backend

__all__ = ["BACKENDS", "BackendSpec", "ClusterSpec", "RemoteSpec", "create_backend"]

# Named, not imported: only the chosen engine is loaded.
BACKENDS = {
    "onnxruntime": "loadgen_generic.backends.onnxruntime:OnnxRuntimeBackend",
    "fake": "loadgen_generic.backends.fake:FakeBackend",
    "kserve": "loadgen_generic.backends.kserve.backend:KserveBackend",
}
_REPLICAS = "loadgen_generic.backends.replicas.backend:ReplicatedBackend"


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """The servers that answer in place of an engine here.

    Attributes:
        endpoints: HOST:PORT each.
        model: its name there; empty for the only one.
        likely_model: the name to take where there are several, or nobody tells; may be empty.
        timeout_sec: of one request.
        tls: talk over TLS.
        tls_ca: file of the certificate to trust; empty for those of the client.
        headers: of each request; their values are secret.
        network_division: requests keep to the rules of MLPerf's network division; told in results.
    """

    endpoints: tuple[str, ...]
    model: str
    likely_model: str
    timeout_sec: float
    tls: bool
    tls_ca: str
    headers: Mapping[str, str] = field(repr=False)
    network_division: bool = False


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Where replicas of a backend run in place of one here.

    Attributes:
        address: of the Ray cluster; None for the one that Ray finds.
        replicas: how many, over all nodes.
        cpus, gpus: that each takes.
        batches_in_flight: how many each may have at once.
        answers: whether anybody looks at the answers; else they stay where they are.
    """

    address: str | None
    replicas: int
    cpus: int
    gpus: int
    batches_in_flight: int
    answers: bool


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """What a backend is built from.

    Attributes:
        name: key of ``BACKENDS``.
        model_path: model file; empty for a backend that needs none.
        execution_provider: full name, such as ``CPUExecutionProvider``.
        intra_op_threads, inter_op_threads: at least 1.
        execution_mode: ``sequential`` or ``parallel``.
        sizes: sizes of symbolic dimensions other than the batch.
        options: free key-value settings of the backend.
        graph_optimization: how far the engine may rewrite the graph: ``all``, ``extended``,
            ``basic`` or ``disabled``.
        optimized_cache: whether it may keep the rewritten graph for the next load.
        workers: how many workers use it at once.
        provider_options: of the execution provider, as the user gave them.
        precision: of the computation; None for no lower than the model itself, ``auto`` for
            whatever the provider takes.
        allow_fallback: run on the CPU where the provider does not start.
        device: number of the GPU, for a provider that has such.
        data_location: ``host``, ``pinned`` or ``device``, see the option.
        remote: for a backend that only asks others; else None.
        cluster: where replicas of the backend run; None for one in this process.
    """

    name: str
    model_path: str
    execution_provider: str
    intra_op_threads: int
    inter_op_threads: int
    execution_mode: str
    sizes: dict[str, int] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    graph_optimization: str = "all"
    optimized_cache: bool = False
    workers: int = 1
    provider_options: dict[str, str] = field(default_factory=dict)
    precision: str | None = None
    allow_fallback: bool = False
    device: int = 0
    data_location: str = "host"
    remote: RemoteSpec | None = None
    cluster: ClusterSpec | None = None


def create_backend(spec: BackendSpec) -> Backend:
    place = BACKENDS[spec.name] if spec.cluster is None else _REPLICAS
    module, _, name = place.partition(":")
    return cast(Backend, getattr(importlib.import_module(module), name)(spec))
