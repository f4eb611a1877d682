"""The raw side on a GPU: the best plain ONNX Runtime loop, without LoadGen and the harness.

Inputs and outputs are bound once, in the card's memory; each lane has a session, a stream and a
thread, so that copies of one overlap the computation of another; CUDA graphs are captured where
ONNX Runtime can. ``--location`` says where samples are when the clock starts, as the harness's
``--data_location`` does. Prints one JSON object.

  throughput  samples/s: every layout of lanes, with a graph and without, is tried briefly, the two
              best run in full
  latency     p50 and p90 in ns of the bare bound call of ``--batch`` samples, one after another
  pieces      samples/s of what the upstream script is made of: run(None, feed), one sample at a
              time, one thread, the provider's own settings
  check       that the loop computes the model: its answers against the CPU provider's

With ``--ep cpu`` the same code runs on the CPU provider: IOBinding all the same, no graphs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from gpu_card import Card, card_of
from gpu_lane import FAILURES, Lane, open_session
from gpu_pool import TYPES, Pool, Task

from loadgen_generic.machine import available_cores, last_level_cache_bytes
from loadgen_generic.samples import pool_size

__all__ = ["Loop", "main"]

_LANES = (1, 2, 4)
_FULL = 2
_WARM_UP = 10
_CHECKED = 4
# Of all answers to a batch with those of the CPU; TF32 and float16 round the products.
_LEAST_COSINE = 0.999


@dataclass(frozen=True, order=True)
class Layout:
    """How many lanes, and whether they replay a CUDA graph. Written ``2,graph`` or ``2,plain``."""

    lanes: int
    graph: bool

    def __str__(self) -> str:
        return f"{self.lanes},{'graph' if self.graph else 'plain'}"

    @classmethod
    def parse(cls, text: str) -> Layout:
        lanes, _, kind = text.partition(",")
        return cls(int(lanes), {"graph": True, "plain": False}[kind])


class Loop:
    """The lanes of one task, opened as they are asked for.

    Attributes:
        no_graph: why CUDA graphs are off; empty where they are on.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.on_cpu = task.provider == "cpu"
        self.no_graph = "the CPU provider has none" if self.on_cpu else ""
        self._lanes: dict[int, list[Lane]] = {}
        self._pool: Pool | None = None

    @property
    def pool(self) -> Pool:
        """What the lanes read; there is one once there is a lane."""
        assert self._pool is not None
        return self._pool

    def lanes(self, count: int) -> list[Lane]:
        """So many lanes. They share the processor's cores where the model runs there."""
        threads = max(1, available_cores() // count) if self.on_cpu else 0
        opened = self._lanes.setdefault(threads, [])
        while len(opened) < count:
            opened.append(self._lane(threads))
        return opened[:count]

    def _lane(self, threads: int) -> Lane:
        if not self.no_graph:
            try:
                lane = Lane(self._task, self._pool_for, True, threads)
                lane.warm_up(graph=True)
                return lane
            except FAILURES as error:
                if self._lanes[threads]:  # it worked before: too little memory for another one
                    raise
                self.no_graph = _first_line(error)
        return Lane(self._task, self._pool_for, False, threads)

    def _pool_for(self, nodes: Sequence[Any], card: Card) -> Pool:
        if self._pool is None:
            self._pool = _pool_of(self._task, nodes, card)
        return self._pool

    def layouts(self) -> list[Layout]:
        if self.on_cpu:
            return [Layout(count, False) for count in sorted({1, available_cores()})]
        self.lanes(1)  # shows whether there are graphs
        kinds = (True, False) if not self.no_graph else (False,)
        return [Layout(count, graph) for count in _LANES for graph in kinds]

    def rate(self, layout: Layout, seconds: float) -> float:
        """Samples per second of all lanes together."""
        lanes = self.lanes(layout.lanes)
        for lane in lanes:
            lane.warm_up(layout.graph)
        gate = threading.Barrier(len(lanes))
        rates = [lane.rate(layout.graph, seconds, at, gate) for at, lane in enumerate(lanes)]
        return float(sum(rate.result() for rate in rates))

    def close(self) -> None:
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.close()


def throughput(loop: Loop, chosen: Sequence[Layout], seconds: float, trial: float) -> Any:
    tried: dict[str, Any] = {}
    if not chosen:
        rates: dict[Layout, float] = {}
        for layout in loop.layouts():
            try:
                rates[layout] = loop.rate(layout, trial)
                tried[str(layout)] = round(rates[layout], 1)
            except FAILURES as error:  # such as too little memory for so many lanes
                tried[str(layout)] = _first_line(error)
                if not rates:
                    raise
        chosen = sorted(rates, key=lambda layout: rates[layout], reverse=True)[:_FULL]
    full = {str(layout): loop.rate(layout, seconds) for layout in chosen}
    best = max(full, key=lambda name: full[name])
    return {"samples_per_sec": full[best], "layout": best, "full": full, "tried": tried}


def latency(loop: Loop, seconds: float) -> Any:
    results = {}
    for layout in loop.layouts():
        if layout.lanes > 1 and not loop.on_cpu:  # there, more lanes are fewer threads for each
            continue
        lane = loop.lanes(layout.lanes)[0]
        lane.warm_up(layout.graph)
        times = lane.times(layout.graph, seconds)
        p50, p90 = np.percentile(times, [50, 90])
        results[str(layout)] = {"p50": p50, "p90": p90, "calls": len(times)}
    best = min(results, key=lambda name: results[name]["p50"])
    return {**results[best], "layout": best, "all": results}


def pieces(task: Task, seconds: float) -> Any:
    card = card_of(task.provider, task.device)
    where = {"device_id": str(task.device)} if card.graphs else {}
    session = open_session(task, card, where)
    pool = _pool_of(task, session.get_inputs(), card)
    feeds = [
        {name: array[at : at + 1] for name, array in pool.arrays.items()}
        for at in range(pool.batches * task.batch)
    ]
    for feed in feeds[:_WARM_UP]:
        session.run(None, feed)
    now, done = time.perf_counter, 0
    begin = at = now()
    while at < begin + seconds:
        session.run(None, feeds[done % len(feeds)])
        done += 1
        at = now()
    return {"samples_per_sec": done / (at - begin), "calls": done}


def check(loop: Loop, task: Task) -> Any:
    """Raises:
    SystemExit: an answer is not the CPU provider's.
    """
    session = ort.InferenceSession(task.model, providers=["CPUExecutionProvider"])
    lane, found = loop.lanes(1)[0], {}
    for graph in (False, True) if not loop.no_graph else (False,):
        for turn, number in enumerate((0, loop.pool.batches - 1, 0)):
            answers = lane.cycle(number, graph)
            first = number * task.batch
            rows = slice(first, first + min(task.batch, _CHECKED))
            right = session.run(None, {n: a[rows] for n, a in loop.pool.arrays.items()})
            for node, expected in zip(session.get_outputs(), right, strict=True):
                cosine = _cosine(answers[node.name][: len(expected)], expected)
                found[f"{Layout(1, graph)} turn {turn} batch {number} {node.name}"] = cosine
    least = min(found.values())
    if not least >= _LEAST_COSINE:
        raise SystemExit(f"the loop's answers are not the CPU provider's: cosine {least:.6f}")
    return {"least_cosine": least, "cosine": found}


def _cosine(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _pool_of(task: Task, nodes: Sequence[Any], card: Card) -> Pool:
    """As many distinct samples as the harness draws."""
    row = sum(np.dtype(TYPES[n.type]).itemsize * int(np.prod(n.shape[1:])) for n in nodes)
    return Pool(task, nodes, pool_size(row, last_level_cache_bytes()), card)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _load_libraries(provider: str) -> None:
    """CUDA's libraries from their Python packages, where this ONNX Runtime can load them."""
    preload = getattr(ort, "preload_dlls", None)
    if provider == "cuda" and preload is not None:
        with contextlib.redirect_stdout(sys.stderr):
            preload()


def _range(text: str) -> tuple[str, tuple[int, int]]:
    name, _, bounds = text.partition("=")
    low, _, high = bounds.partition(":")
    return name, (int(low), int(high))


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    _load_libraries(given.ep)
    task = Task(
        given.model,
        given.ep,
        given.device,
        given.location,
        given.batch,
        given.tf32,
        dict(given.option),
        dict(given.range),
    )
    if given.mode == "pieces":
        print(json.dumps(pieces(task, given.seconds)))
        return 0
    loop = Loop(task)
    if given.mode == "throughput":
        found = throughput(loop, given.layout, given.seconds, given.trial)
    elif given.mode == "latency":
        found = latency(loop, given.seconds)
    else:
        found = check(loop, task)
    loop.close()
    samples = loop.pool.batches * task.batch
    graphs = f"off: {loop.no_graph}" if loop.no_graph else "on"
    print(json.dumps({**found, "pool_samples": samples, "cuda_graph": graphs}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="ONNX model with a leading batch dimension")
    add("mode", choices=("throughput", "latency", "pieces", "check"))
    add("--ep", choices=("cuda", "cpu"), default="cuda")
    add("--device", type=int, default=0, help="number of the GPU (0)")
    add("--location", choices=("host", "pinned", "device"), default="host")
    add("--batch", type=int, default=1, help="samples in a call (1)")
    add("--tf32", action="store_true", help="let CUDA round float32 products to TF32")
    add("--option", type=_option, action="append", default=[], help="of the provider: KEY=VALUE")
    add("--range", type=_range, action="append", default=[], help="integer input: NAME=LOW:HIGH")
    add("--seconds", type=float, default=3.0, help="length of a full run (3)")
    add("--trial", type=float, default=0.3, help="length of a trial (0.3)")
    add(
        "--layout",
        type=Layout.parse,
        action="append",
        default=[],
        help="lanes,graph or lanes,plain: run this and try nothing; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
