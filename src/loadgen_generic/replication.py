"""What a run asks of a cluster where ``--runner ray`` spreads it over nodes."""

from __future__ import annotations

from loadgen_generic.backends import ClusterSpec
from loadgen_generic.cluster.node import Room
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.cluster import BATCHES_IN_FLIGHT
from loadgen_generic.errors import RunError
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.runners.layout import Layout
from loadgen_generic.settings import logs_answers

__all__ = ["cluster_spec", "find_room"]


def find_room(config: BenchmarkConfig) -> Room | None:
    """What the cluster has, which this process joins; None for a run that is on none.

    Raises:
        RunError: there is no cluster, or nothing in it for a replica.
    """
    if config.runner != "ray":
        return None
    from loadgen_generic.cluster import engine

    engine.join(config.ray_address)
    nodes, cards = engine.nodes(), _on_cards(config)
    each = tuple(node.gpus if cards else node.cpus for node in nodes)
    if not any(each):
        what = "GPU" if cards else "CPU"
        raise RunError(
            f"none of the cluster's {len(nodes)} node(s) has a {what} to give out: "
            f"{', '.join(map(str, nodes))}. `ray start --num-{what.lower()}s N` says how many."
        )
    return Room(each, cards)


def cluster_spec(config: BenchmarkConfig, layout: Layout) -> ClusterSpec | None:
    """The replicas of a layout; None for a run that is on no cluster."""
    if config.runner != "ray":
        return None
    cards = _on_cards(config)
    return ClusterSpec(
        address=config.ray_address,
        replicas=layout.workers,
        cpus=1 if cards else layout.intra_op_threads,
        gpus=int(cards),
        batches_in_flight=config.batches_in_flight or BATCHES_IN_FLIGHT,
        answers=config.mode == "accuracy"
        or config.verify is not None
        or config.send_answers
        or logs_answers(config),
    )


def _on_cards(config: BenchmarkConfig) -> bool:
    return config.backend != "fake" and facts_of(config.execution_provider).cards
