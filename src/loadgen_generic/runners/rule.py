"""What a request leaves open of a layout, and the layout by rule, without measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loadgen_generic.cluster.node import Room
from loadgen_generic.config import ONE_AT_A_TIME, BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.runners.layout import Layout
from loadgen_generic.settings import SERVER_LEAST_LATENCY_SEC, duration_sec, samples_per_query
from loadgen_generic.tensors import SamplePlan

__all__ = [
    "RIVALS_PER_CARD",
    "RIVALS_REMOTE",
    "WORKERS_PER_CARD",
    "WORTHWHILE_SAMPLES",
    "WORTHWHILE_SEC",
    "Wish",
    "layout_by_rule",
    "may_batch",
    "rivals",
    "wish_of",
]

# Shorter runs are not worth a calibration of a few seconds.
WORTHWHILE_SEC, WORTHWHILE_SAMPLES = 1.0, 64
# While one batch is computed, the next can be copied.
WORKERS_PER_CARD = 2
RIVALS_PER_CARD = (1, 4)
# Requests under way at servers: what they gain from many, and how many they need, nobody here knows.
WORKERS_REMOTE = 16
RIVALS_REMOTE = (4, 64)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user fixed, and what the choice depends on. None means: choose for me.

    Attributes:
        largest_batch: what the model allows; 0 for any.
        fixed_batch: the model's own batch size; 0 if it is open.
        per_query: samples that LoadGen issues together; Offline's single query apart.
        bound_sec: Server's latency bound.
        waits: a batch that is not full waits for more.
        duration_sec: shortest valid test; 0 where ``samples`` stands in its place.
        samples: how many samples to run at least.
        cards: how many the run is spread over; 0 on a processor.
        streams: a session is made for its workers, see :class:`ProviderFacts`.
        in_process: workers have to be in this process, since samples are made ready for it.
        remote: a worker waits for a server, and needs no processor here.
        room: what a cluster has for replicas; None for a run on none.
    """

    scenario: str
    runner: str
    workers: int | None
    intra_op_threads: int | None
    batch_size: int | None
    largest_batch: int
    fixed_batch: int
    per_query: int
    bytes_per_sample: int
    bound_sec: float
    waits: bool
    cores: int
    duration_sec: float
    samples: int
    cards: int = 0
    streams: bool = False
    in_process: bool = False
    remote: bool = False
    room: Room | None = None


def wish_of(
    config: BenchmarkConfig,
    plan: SamplePlan,
    cores: int,
    cards: int,
    room: Room | None = None,
) -> Wish:
    """What a request leaves open, for a model whose samples are as planned."""
    bound_ms = config.target_latency_ms
    return Wish(
        scenario=config.scenario,
        runner=config.runner,
        workers=config.concurrency or None,
        intra_op_threads=config.intra_op_threads or None,
        batch_size=config.batch_size,
        largest_batch=plan.largest_batch,
        fixed_batch=plan.fixed_batch,
        per_query=samples_per_query(config),
        bytes_per_sample=plan.bytes_per_sample,
        bound_sec=bound_ms / 1000 if bound_ms else SERVER_LEAST_LATENCY_SEC,
        waits=bool(config.batch_timeout_us),
        cores=cores,
        duration_sec=duration_sec(config),
        samples=config.samples or 0,
        cards=cards,
        streams=config.backend != "fake" and facts_of(config.execution_provider).streams,
        in_process=config.data_location != "host",
        remote=config.backend == "kserve",
        room=room,
    )


def may_batch(config: BenchmarkConfig) -> bool:
    """Whether samples may come to share a batch, as far as the request goes."""
    if config.scenario == "SingleStream" or config.batch_size == 1:
        return False
    if config.batch_size or config.scenario == "MultiStream":
        return True
    return duration_sec(config) >= WORTHWHILE_SEC or (config.samples or 0) >= WORTHWHILE_SAMPLES


def layout_by_rule(wish: Wish) -> Layout:
    """The layout without measuring.

    One query at a time is answered fastest on LoadGen's own thread with every core inside the
    operator: handing it to another thread costs 20 to 50 microseconds. Many at once are
    answered fastest by one worker per core, because operators do not scale perfectly and
    queries do.

    On cards the threads of the processor do not matter. One query at a time has one card; many
    at once are spread over all, by one queue from which the workers of every card take, so that
    a slower card takes less.

    Raises:
        RequestError: the options contradict each other or the model.
    """
    _check_cards(wish)
    if wish.runner == "inline" and (wish.workers or 1) > 1:
        raise RequestError(
            "the inline runner answers on LoadGen's own thread and has one worker.",
            flag="concurrency",
            value=wish.workers,
            remedy="Leave it out, or choose another --runner.",
        )
    if wish.runner == "inline" and wish.waits:
        raise RequestError(
            "the inline runner answers what LoadGen hands it at once.",
            flag="batch_timeout_us",
            remedy="Leave it out, or choose another --runner.",
        )
    batch_size = wish.batch_size or wish.fixed_batch
    if wish.largest_batch and batch_size > wish.largest_batch:
        raise RequestError(
            "the model takes one sample at a time."
            if wish.largest_batch == 1
            else f"the model's batch dimension is fixed at {wish.largest_batch}.",
            flag="batch_size",
            value=batch_size,
            remedy="Export it with an open batch dimension, or leave the option out.",
        )
    if not batch_size:
        batch_size = wish.per_query if wish.scenario == "MultiStream" else 1
    if wish.largest_batch:
        batch_size = min(batch_size, wish.largest_batch)
    runner = wish.runner
    if runner == "auto":
        alone = wish.scenario in ONE_AT_A_TIME and not wish.workers
        runner = "inline" if alone else "inflight" if wish.remote else "threadpool"
    if wish.cards:
        workers = 1 if runner == "inline" else wish.workers or WORKERS_PER_CARD * wish.cards
        return _on_cards(wish, runner, workers, batch_size)
    if wish.room:
        return _on_nodes(wish, wish.room, runner, batch_size)
    usual = WORKERS_REMOTE if wish.remote else wish.cores
    workers = 1 if runner == "inline" else wish.workers or usual
    threads = 1 if wish.remote else wish.intra_op_threads or max(1, wish.cores // workers)
    return Layout(runner, workers, threads, batch_size)


def _check_cards(wish: Wish) -> None:
    if wish.workers and wish.workers < wish.cards:
        raise RequestError(
            f"--devices names {wish.cards} GPUs, and each needs a worker.",
            flag="concurrency",
            value=wish.workers,
            remedy=f"Ask for {wish.cards} or more, or name fewer GPUs.",
        )
    if wish.runner == "inline" and wish.cards > 1:
        raise RequestError(
            f"the inline runner uses one GPU, and --devices names {wish.cards}.",
            flag="runner",
            value="inline",
            remedy="Name one, or choose another --runner.",
        )


def _on_cards(wish: Wish, runner: str, workers: int, batch_size: int) -> Layout:
    # The same threads in all layouts of a run, so that they share the sessions.
    threads = wish.intra_op_threads or 1
    return Layout(runner, workers, threads, batch_size, min(workers, wish.cards))


def _on_nodes(wish: Wish, room: Room, runner: str, batch_size: int) -> Layout:
    """Replicas over a cluster: as many as there is room for; for one query at a time one, with all
    the processors of the largest node."""
    alone = wish.scenario in ONE_AT_A_TIME
    largest = 1 if room.cards or (wish.workers or 1) > 1 else max(room.each)
    threads = wish.intra_op_threads or (largest if alone else 1)
    each = 1 if room.cards else threads
    most = sum(place // each for place in room.each)
    return Layout(runner, wish.workers or (1 if alone else max(1, most)), threads, batch_size)


def rivals(rule: Layout, wish: Wish) -> Iterator[Layout]:
    """Other layouts worth measuring; none where the user chose."""
    if wish.cards:
        yield from _rivals_on_cards(rule, wish)
        return
    if wish.remote:
        if rule.runner == "inflight" and not wish.workers:
            yield from (replace(rule, workers=workers) for workers in RIVALS_REMOTE)
        return
    if wish.runner != "auto" or wish.intra_op_threads or wish.cores == 1 or wish.room:
        return
    half = wish.cores // 2
    if wish.scenario in ONE_AT_A_TIME and not wish.workers:
        for threads in {1, half} - {rule.intra_op_threads, 0}:
            yield replace(rule, intra_op_threads=threads)
    elif not wish.workers:
        # One worker gains nothing from a thread of its own: what comes meanwhile LoadGen hands
        # over together (Server), or has already (Offline). Only waiting for more needs a queue.
        alone = "threadpool" if wish.waits else "inline"
        yield Layout(alone, 1, wish.cores, rule.batch_size)
        yield Layout(alone, 1, 1, rule.batch_size)
        if half > 1:
            yield Layout("threadpool", half, 2, rule.batch_size)


def _rivals_on_cards(rule: Layout, wish: Wish) -> Iterator[Layout]:
    if wish.runner != "auto" or wish.workers or wish.scenario in ONE_AT_A_TIME:
        return
    for each in RIVALS_PER_CARD:
        workers = each * wish.cards
        alone = workers == 1 and not wish.waits
        yield _on_cards(wish, "inline" if alone else rule.runner, workers, rule.batch_size)
