"""Replicas of a model on the nodes of a Ray cluster, as a backend."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loadgen_generic import __version__
from loadgen_generic.backends import BackendSpec, ClusterSpec
from loadgen_generic.backends.replicas.pools import Pools
from loadgen_generic.backends.replicas.replica import Loaded, Replica
from loadgen_generic.backends.replicas.roster import Roster
from loadgen_generic.backends.replicas.worker import ReplicaWorker
from loadgen_generic.backends.wire import weights_beside
from loadgen_generic.cluster import engine
from loadgen_generic.cluster.files import ModelFiles, contents_of, describe_model
from loadgen_generic.cluster.node import Node, placed
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.seams import Batch, Profiler, Worker
from loadgen_generic.tensors import ModelSignature

__all__ = ["ReplicatedBackend"]

_PATIENCE_SEC = 120.0
_SPLIT_BATCHES, _SPLIT_SEC = 50, 1.0


class ReplicatedBackend:
    """The same model in each of some processes over the cluster; workers share them all."""

    def __init__(self, spec: BackendSpec) -> None:
        assert spec.cluster is not None
        self._cluster: ClusterSpec = spec.cluster
        self._spec = replace(spec, cluster=None, workers=1)
        self._files: ModelFiles | None = None
        self._watchers: dict[str, Any] = {}
        self._gives_way = ""

    def load(self) -> ModelSignature:
        cluster = self._cluster
        engine.join(cluster.address)
        self._nodes = engine.nodes()
        self._places = placed(self._nodes, cluster.replicas, cluster.cpus, cluster.gpus)
        actors = [
            engine.actor_on(node, Replica, cluster.answers, cpus=cluster.cpus, gpus=cluster.gpus)
            for node in self._places
        ]
        self._packages = self._packages_of(actors)
        specs = self._specs(actors)
        loaded = self._loaded(actors, specs)
        self._roster = Roster(actors, self._places)
        self._pools = Pools(self._roster)
        self._first = loaded[0]
        return self._first.signature

    def _packages_of(self, actors: Sequence[Any]) -> dict[str, dict[str, str]]:
        """The packages of each node, by its id.

        Raises:
            RunError: replicas do not start, or have another version of this package.
        """
        asked = [actor.hello.remote() for actor in actors]
        waiting = engine.wait_for(asked, _PATIENCE_SEC)
        if waiting:
            raise RunError(
                f"{len(waiting)} of {len(actors)} replicas did not start within {_PATIENCE_SEC:g} s. "
                "Is the cluster busy with other work? `ray status` shows what it waits for."
            )
        found: dict[str, dict[str, str]] = {}
        for node, told in zip(self._places, asked, strict=True):
            hello = self._got(told, node)
            if hello["version"] != __version__:
                raise RunError(
                    f"{node} has loadgen-generic {hello['version']}, and this is {__version__}: "
                    "install the same version there."
                )
            found[node.id] = hello["packages"]
            self._gives_way = self._gives_way or hello["gives_way"]
        return found

    def _specs(self, actors: Sequence[Any]) -> list[BackendSpec]:
        """What each replica loads: the model may have another path on each node."""
        if not self._spec.model_path:
            return [self._spec] * len(actors)
        path = self._spec.model_path
        files = self._files = describe_model(path, weights_beside(path))
        first = {node.id: (actor, node) for actor, node in zip(actors, self._places, strict=True)}
        asked = {each: actor.find_model.remote(files) for each, (actor, _) in first.items()}
        paths = {each: self._got(told, first[each][1]) for each, told in asked.items()}
        lacking = [each for each, path in paths.items() if not path]
        if lacking:
            contents = engine.ray.put(contents_of(files))
            sent = {each: first[each][0].take_model.remote(files, contents) for each in lacking}
            paths |= {each: self._got(told, first[each][1]) for each, told in sent.items()}
        return [replace(self._spec, model_path=paths[node.id]) for node in self._places]

    def _loaded(self, actors: Sequence[Any], specs: Sequence[BackendSpec]) -> list[Loaded]:
        asked = [actor.load.remote(spec) for actor, spec in zip(actors, specs, strict=True)]
        loaded = [self._got(told, node) for told, node in zip(asked, self._places, strict=True)]
        for each, node in zip(loaded, self._places, strict=True):
            if each.providers != loaded[0].providers or each.signature != loaded[0].signature:
                raise RunError(
                    f"the replicas are not alike: on {self._places[0]} the model runs under "
                    f"{', '.join(loaded[0].providers)}, on {node} under {', '.join(each.providers)}."
                )
        return loaded

    def _got(self, reference: Any, node: Node) -> Any:
        """What a replica answers; its errors as they were raised, with the node."""
        try:
            return engine.ray.get(reference)
        except engine.RayError as error:
            cause = engine.cause_of(error)
            if isinstance(cause, RequestError):
                raise cause from error
            told = str(cause).strip() or type(cause).__name__
            where = f"on {node}: {told}"
            raise (RunError if isinstance(cause, LoadgenGenericError) else RuntimeError)(
                where
            ) from error

    def worker(self) -> Worker:
        return ReplicaWorker(self._roster, self._pools)

    def effective(self) -> dict[str, object]:
        return {
            **self._first.effective,
            "ray_address": self._cluster.address,
            "batches_in_flight": self._cluster.batches_in_flight,
        }

    def providers(self) -> list[str]:
        return self._first.providers

    def notes(self) -> list[str]:
        each = {node.id: node for node in self._places}
        counts = [sum(node.id == one for node in self._places) for one in each]
        told = ", ".join(
            f"{count} on {node}" for count, node in zip(counts, each.values(), strict=True)
        )
        placed = f"{len(self._places)} replica(s) under Ray: {told}"
        return [*self._first.notes, placed, *filter(None, [self._gives_way])]

    def profiler(self) -> Profiler:
        raise RequestError(
            "the operators run on other machines.",
            flag="profile",
            remedy="Leave it out, or run without --runner ray.",
        )

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        """What of a batch's time its replica took, and what is left: the way there and back."""
        worker = ReplicaWorker(self._roster, self._pools)
        parts: list[tuple[float, float]] = []
        end = time.perf_counter() + _SPLIT_SEC
        while len(parts) < _SPLIT_BATCHES and (not parts or time.perf_counter() < end):
            batch = next(batches)
            began = time.perf_counter_ns()
            computed = worker.timed(batch)
            parts.append((time.perf_counter_ns() - began - computed, computed))
            beat()
        network, compute = (statistics.median(each) / 1000 for each in zip(*parts, strict=True))
        return {"network_us": network, "compute_us": compute}

    def cards(self) -> Sequence[str]:
        return []

    def confirm(self, model_sha256: str) -> None:
        if self._files is not None and self._files.sha256[0][1] != model_sha256:
            raise RunError(
                f"{self._files.path} changed while the replicas loaded it. Leave it alone and try "
                "again."
            )

    def watch(self, watcher: type) -> None:
        """Start an actor of a class on each node with replicas."""
        self._watchers = {node.id: engine.actor_on(node, watcher) for node in self._places_once()}

    def told(self, method: str, *given: object) -> Mapping[str, Any]:
        """What each of these actors answers, by the id of its node; nothing of one that is gone."""
        asked = {
            each: getattr(actor, method).remote(*given) for each, actor in self._watchers.items()
        }
        found = {}
        for each, reference in asked.items():
            with contextlib.suppress(*engine.LOST):
                found[each] = engine.ray.get(reference)
        return found

    def _places_once(self) -> list[Node]:
        return list({node.id: node for node in self._places}.values())

    def begin(self) -> None:
        """Count what each node does from now on."""
        self._roster.begin()

    def spread(self) -> dict[str, Any]:
        """What each node did since then, as fields of
        :class:`~loadgen_generic.results.cluster.Cluster`."""
        counts = self._roster.counts()
        nodes = [
            {
                "host": node.host,
                "address": node.address,
                "id": node.id,
                "cpus": node.cpus,
                "gpus": node.gpus,
                "package": _onnxruntime_in(self._packages[node.id]),
                "replicas": counts[node.id].replicas,
                "lost": counts[node.id].lost,
                "batches": counts[node.id].batches,
                "samples": counts[node.id].samples,
            }
            for node in self._places_once()
        ]
        return {
            "replicas": len(self._places),
            "lost": sum(each.lost for each in counts.values()),
            "moved_batches": self._roster.moved,
            "nodes": nodes,
        }

    def close(self) -> None:
        engine.ray.shutdown()


def _onnxruntime_in(packages: Mapping[str, str]) -> str:
    return next(
        (f"{name} {each}" for name, each in packages.items() if name.startswith("onnxruntime")), ""
    )
