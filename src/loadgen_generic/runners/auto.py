"""Chooses runner, workers, threads and batch by a short calibration, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from loadgen_generic.config import ONE_AT_A_TIME, BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.probe import measure_burst, measure_stream
from loadgen_generic.seams import Runner
from loadgen_generic.settings import SERVER_LEAST_LATENCY_SEC, duration_sec, samples_per_query
from loadgen_generic.tensors import SamplePlan
from loadgen_generic.wording import format_measured

__all__ = [
    "LARGEST_BATCH_BYTES",
    "LONGEST_BATCH_SEC",
    "Wish",
    "choose",
    "layout_by_rule",
    "may_batch",
    "rivals",
    "rule_layout",
    "wish_of",
]

BATCH_LADDER = (1, 4, 16, 64, 256, 1024)
# A larger batch, or another layout, has to be this much faster to count as faster.
GAIN = 1.02
# A batch may take this share of Server's latency bound: a query waits for one batch and is
# answered in the next.
BOUND_SHARE = 0.25
LONGEST_BATCH_SEC = 0.5
LARGEST_BATCH_BYTES = 256 << 20
PROBE_SEC = 0.15
ENOUGH_SEC = 2.5
# Shorter runs are not worth a calibration of a few seconds.
WORTHWHILE_SEC, WORTHWHILE_SAMPLES = 1.0, 64


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


def wish_of(config: BenchmarkConfig, plan: SamplePlan, cores: int) -> Wish:
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
    )


def may_batch(config: BenchmarkConfig) -> bool:
    """Whether samples may come to share a batch, as far as the request goes."""
    if config.scenario == "SingleStream" or config.batch_size == 1:
        return False
    if config.batch_size or config.scenario == "MultiStream":
        return True
    return duration_sec(config) >= WORTHWHILE_SEC or (config.samples or 0) >= WORTHWHILE_SAMPLES


def rule_layout(config: BenchmarkConfig, cores: int) -> Layout:
    """The layout by rule as far as it does not depend on the model: all but the batch."""
    any_plan = SamplePlan((), batched=True)
    return layout_by_rule(wish_of(config, any_plan, cores))


def layout_by_rule(wish: Wish) -> Layout:
    """The layout without measuring.

    One query at a time is answered fastest on LoadGen's own thread with every core inside the
    operator: handing it to another thread costs 20 to 50 microseconds. Many at once are
    answered fastest by one worker per core, because operators do not scale perfectly and
    queries do.

    Raises:
        RequestError: the options contradict each other or the model.
    """
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
        runner = "inline" if alone else "threadpool"
    workers = 1 if runner == "inline" else wish.workers or wish.cores
    threads = wish.intra_op_threads or max(1, wish.cores // workers)
    return Layout(runner, workers, threads, batch_size)


def choose(
    wish: Wish, build: Callable[[Layout], Runner], indices: Sequence[int], beat: Callable[[], None]
) -> tuple[Layout, str, float]:
    """The layout to run with, the reason in one sentence, and its samples/s if measured.

    Measures the layouts that the user left open, each on the real runner, and the two fastest
    once more, so that a passing disturbance does not decide. A slow model is measured in fewer
    layouts: what takes long is begun only while there is time.

    Args:
        build: makes the runner of a layout.
        indices: the loaded samples, in loaded order.
        beat: called after each inference.
    """
    rule = layout_by_rule(wish)
    rates: dict[Layout, float] = {}

    def measure(layout: Layout) -> float:
        rate = _rate(layout, wish, build(layout), indices, beat)
        rates[layout] = max(rates.get(layout, 0.0), rate)
        return rates[layout]

    if not _is_open(rule, wish):
        return rule, "as asked for", 0.0
    too_few = wish.samples < WORTHWHILE_SAMPLES
    if wish.duration_sec < WORTHWHILE_SEC and (
        too_few or wish.samples < WORTHWHILE_SEC * measure(rule)
    ):
        return rule, "by rule: the run is too short to calibrate for it", 0.0
    best, end = rule, time.perf_counter() + ENOUGH_SEC
    if _batch_is_open(wish):
        best = _climb(rule, wish, measure)
    others = [replace(other, batch_size=best.batch_size) for other in rivals(rule, wish)]
    if others and best not in rates:
        measure(best)
    for rival in others:
        if time.perf_counter() > end:
            break
        measure(rival)
        if _batch_is_open(wish) and rates[rival] * GAIN > rates[best]:
            for size in _neighbours(best.batch_size):
                measure(replace(rival, batch_size=size))
    finalists = sorted(rates, key=rates.__getitem__, reverse=True)[:2]
    for finalist in finalists if len(rates) > 1 else []:
        if time.perf_counter() < end:
            measure(finalist)
    best = max(rates, key=rates.__getitem__)
    # A tie goes to the rule: its choice is the more common one and needs no luck.
    if rates[rule] * GAIN >= rates[best]:
        best = rule
    return best, _reason(best, rates), rates[best]


def _is_open(rule: Layout, wish: Wish) -> bool:
    return _batch_is_open(wish) or any(True for _ in rivals(rule, wish))


def _batch_is_open(wish: Wish) -> bool:
    return (
        wish.batch_size is None and wish.largest_batch == 0 and wish.scenario not in ONE_AT_A_TIME
    )


def rivals(rule: Layout, wish: Wish) -> Iterator[Layout]:
    """Other layouts worth measuring; none where the user chose."""
    if wish.runner != "auto" or wish.intra_op_threads or wish.cores == 1:
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


def _climb(start: Layout, wish: Wish, measure: Callable[[Layout], float]) -> Layout:
    """The fastest batch size of a layout, from small to large while it pays."""
    best, best_rate, idle = start, 0.0, 0
    for batch_size in BATCH_LADDER:
        if batch_size * wish.bytes_per_sample > LARGEST_BATCH_BYTES and batch_size > 1:
            break
        layout = replace(start, batch_size=batch_size)
        rate = measure(layout)
        took = batch_size * layout.workers / rate
        if batch_size > 1 and took > _longest_batch_sec(wish):
            break
        if rate > best_rate * GAIN:
            best, best_rate, idle = layout, rate, 0
        else:
            idle += 1
        if idle == 2 or 4 * took > _longest_batch_sec(wish):
            break
    return best


def _neighbours(batch_size: int) -> list[int]:
    """The batch sizes just below and above on the ladder."""
    at = BATCH_LADDER.index(batch_size)
    return list(BATCH_LADDER[max(at - 1, 0) : at] + BATCH_LADDER[at + 1 : at + 2])


def _longest_batch_sec(wish: Wish) -> float:
    if wish.scenario == "Server":
        return min(BOUND_SHARE * wish.bound_sec, LONGEST_BATCH_SEC)
    return LONGEST_BATCH_SEC


def _rate(
    layout: Layout,
    wish: Wish,
    runner: Runner,
    indices: Sequence[int],
    beat: Callable[[], None],
) -> float:
    """Samples per second of a layout, over a short while."""
    try:
        if wish.scenario in ONE_AT_A_TIME:
            return measure_stream(runner, indices, wish.per_query, beat, PROBE_SEC).samples_per_sec
        return measure_burst(
            runner, indices, layout, wish.scenario, beat, PROBE_SEC
        ).samples_per_sec
    finally:
        runner.close()


def _reason(best: Layout, rates: dict[Layout, float]) -> str:
    if len(rates) < 2:
        return "the only choice"
    next_best = max((layout for layout in rates if layout != best), key=rates.__getitem__)
    how = "fastest" if rates[best] > rates[next_best] else "as fast as any"
    return (
        f"{how} of {len(rates)} layouts tried: {format_measured(rates[best], 'samples/s')}, "
        f"next {next_best} with {format_measured(rates[next_best], 'samples/s')}"
    )
