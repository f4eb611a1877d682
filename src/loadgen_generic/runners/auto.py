"""Chooses runner, workers, threads and batch by a short calibration, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from loadgen_generic.config import ONE_AT_A_TIME
from loadgen_generic.runners.layout import Layout
from loadgen_generic.runners.probe import measure_burst, measure_stream
from loadgen_generic.runners.rule import (
    WORTHWHILE_SAMPLES,
    WORTHWHILE_SEC,
    Wish,
    layout_by_rule,
    rivals,
)
from loadgen_generic.seams import Runner
from loadgen_generic.wording import format_measured

__all__ = ["LARGEST_BATCH_BYTES", "LONGEST_BATCH_SEC", "choose"]

BATCH_LADDER = (1, 4, 16, 64, 256, 1024)
# A card gains more from a batch, and takes longer to make ready for each size of it.
BATCH_LADDER_ON_CARDS = (1, 8, 64, 256, 1024)
# A larger batch, or another layout, has to be this much faster to count as faster.
GAIN = 1.02
# A batch may take this share of Server's latency bound: a query waits for one batch and is
# answered in the next.
BOUND_SHARE = 0.25
LONGEST_BATCH_SEC = 0.5
LARGEST_BATCH_BYTES = 256 << 20
PROBE_SEC = 0.15
ENOUGH_SEC = 2.5


class _Trials:
    """The layouts that were measured, each on the real runner.

    Attributes:
        rates: samples/s; 0 for a layout that did not fit into memory.
    """

    def __init__(
        self,
        wish: Wish,
        build: Callable[[Layout], Runner],
        indices: Sequence[int],
        beat: Callable[[], None],
    ) -> None:
        self._wish, self._build, self._indices, self._beat = wish, build, indices, beat
        self.rates: dict[Layout, float] = {}

    def measure(self, layout: Layout) -> float:
        """The best samples/s of this layout so far.

        What is too large for the memory is no reason to give a run up where less was not.
        """
        try:
            rate = _rate(layout, self._wish, self._build(layout), self._indices, self._beat)
        except Exception as error:
            if not (_lacks_memory(error) and self._smaller_ran(layout)):
                raise
            rate = 0.0
        self.rates[layout] = max(self.rates.get(layout, 0.0), rate)
        return self.rates[layout]

    def _smaller_ran(self, layout: Layout) -> bool:
        size = layout.workers * layout.batch_size
        return any(
            rate and known.workers * known.batch_size < size for known, rate in self.rates.items()
        )

    def ranked(self) -> list[Layout]:
        """Those that ran, the fastest first."""
        ran = [layout for layout, rate in self.rates.items() if rate]
        return sorted(ran, key=self.rates.__getitem__, reverse=True)

    def reason(self, best: Layout) -> str:
        """Why this one, in a sentence."""
        order, where = self.ranked(), f" on {best.cards} cards" if best.cards > 1 else ""
        if len(self.rates) < 2:
            return f"the only choice{where}"
        told = f"of {len(self.rates)} layouts tried{where}: " + format_measured(
            self.rates[best], "samples/s"
        )
        others = [layout for layout in order if layout != best]
        faster = not others or self.rates[best] > self.rates[others[0]]
        if others:
            next_best = others[0]
            told += f", next {next_best} with {format_measured(self.rates[next_best], 'samples/s')}"
        too_large = [layout for layout, rate in self.rates.items() if not rate]
        if too_large:
            smallest = min(too_large, key=lambda layout: layout.workers * layout.batch_size)
            told += f"; out of memory with {smallest}"
        return f"{'fastest' if faster else 'as fast as any'} {told}"


def _lacks_memory(error: Exception) -> bool:
    """By the words of ONNX Runtime, CUDA and its libraries, and of this harness."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("out of memory", "allocate", "alloc_failed", "bad_alloc")
    )


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
    trials = _Trials(wish, build, indices, beat)
    rates, measure = trials.rates, trials.measure

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
            for size in _neighbours(best.batch_size, wish):
                measure(replace(rival, batch_size=size))
    finalists = trials.ranked()[:2]
    for finalist in finalists if len(rates) > 1 else []:
        if time.perf_counter() < end:
            measure(finalist)
    best = trials.ranked()[0]
    # A tie goes to the rule: its choice is the more common one and needs no luck.
    if rates[rule] * GAIN >= rates[best]:
        best = rule
    return best, trials.reason(best), rates[best]


def _is_open(rule: Layout, wish: Wish) -> bool:
    return _batch_is_open(wish) or any(True for _ in rivals(rule, wish))


def _batch_is_open(wish: Wish) -> bool:
    return (
        wish.batch_size is None and wish.largest_batch == 0 and wish.scenario not in ONE_AT_A_TIME
    )


def _climb(start: Layout, wish: Wish, measure: Callable[[Layout], float]) -> Layout:
    """The fastest batch size of a layout, from small to large while it pays."""
    best, best_rate, idle = start, 0.0, 0
    for batch_size in _ladder(wish):
        if batch_size * wish.bytes_per_sample > LARGEST_BATCH_BYTES and batch_size > 1:
            break
        layout = replace(start, batch_size=batch_size)
        rate = measure(layout)
        if not rate:
            break
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


def _ladder(wish: Wish) -> tuple[int, ...]:
    return BATCH_LADDER_ON_CARDS if wish.cards else BATCH_LADDER


def _neighbours(batch_size: int, wish: Wish) -> list[int]:
    """The batch sizes just below and above on the ladder."""
    ladder = _ladder(wish)
    at = ladder.index(batch_size)
    return list(ladder[max(at - 1, 0) : at] + ladder[at + 1 : at + 2])


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
