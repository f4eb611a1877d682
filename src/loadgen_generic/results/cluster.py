"""What each node of a cluster did in a test that was spread over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen_generic.results.doubts import conditions_between, doubts_of_test
from loadgen_generic.results.record import Record

__all__ = ["Cluster", "ClusterNode", "cluster_in_words", "cluster_of", "doubts_of_cluster"]


class ClusterNode(Record):
    """One node.

    Attributes:
        host, address, id: its name, where it listens, and Ray's name of it.
        cpus, gpus: that Ray may give out there.
        package: its ONNX Runtime.
        replicas: that were there as the test began.
        lost: how many died, before it or in it.
        batches, samples: that it answered in the test.
        conditions: what the machine did meanwhile, as in a result; null where the node is gone.
        mean_cpu_share: of all its processors (0 to 1); null with ``--telemetry off`` and where the
            node is gone, as the next.
        peak_memory_bytes: largest resident memory of Ray's processes there.
    """

    host: str
    address: str
    id: str
    cpus: int
    gpus: int
    package: str
    replicas: int
    lost: int
    batches: int
    samples: int
    conditions: dict[str, Any] | None = None
    mean_cpu_share: float | None = None
    peak_memory_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.host} ({self.address})"


class Cluster(Record):
    """All of them.

    Attributes:
        replicas: that were asked for.
        lost: how many of these died.
        moved_batches: that a replica was given and did not answer, and that another answered.
    """

    replicas: int
    lost: int
    moved_batches: int
    nodes: list[ClusterNode]


def cluster_of(told: Mapping[str, Any]) -> Cluster:
    """As the measured process told it."""
    nodes = []
    for each in told["nodes"]:
        known = {name: value for name, value in each.items() if name != "timelines"}
        if "conditions" in known:
            known["conditions"] = conditions_between(**known["conditions"])
        nodes.append(ClusterNode(**known))
    return Cluster(**{**told, "nodes": nodes})


def cluster_in_words(cluster: Cluster) -> list[str]:
    """For the user: which node answered how much, and what was lost."""
    total = max(sum(node.samples for node in cluster.nodes), 1)
    each = (
        f"{node} {node.samples:,} samples ({100 * node.samples / total:.3g} %) with "
        f"{node.replicas} replica(s)"
        for node in cluster.nodes
    )
    return [f"answered by {', '.join(each)}"]


def doubts_of_cluster(cluster: Cluster) -> list[str]:
    """Why the number may not be that of the cluster as it was asked for."""
    found = []
    if cluster.lost:
        where = ", ".join(f"{node.lost} on {node}" for node in cluster.nodes if node.lost)
        found.append(
            f"{cluster.lost} of {cluster.replicas} replicas died ({where}); {cluster.moved_batches} "
            "batch(es) that they had were answered by others. Nothing is lost, but the number is "
            "that of a cluster in trouble: not valid for submission"
        )
    for node in cluster.nodes:
        if node.conditions is not None:
            found += [f"on {node}: {doubt}" for doubt in doubts_of_test(node.conditions)]
    return found
