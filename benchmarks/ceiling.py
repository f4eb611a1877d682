"""The raw ceiling: the best plain ONNX Runtime loop over threads x sessions x batch.

No LoadGen and nothing of the harness's hot path: every call of the loop is
``session.run_with_iobinding`` on a binding whose inputs and outputs were bound beforehand. The
inputs are views of one contiguous pool of distinct samples as large as the harness's own, so
that neither is flattered by the cache. Prints one JSON object.

  throughput  samples/s of the best layouts; each is tried briefly, the best run in full
  latency     p50 and p90 of the bare bound call of one sample, in ns
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from loadgen_generic.machine import available_cores, last_level_cache_bytes
from loadgen_generic.samples import pool_size

__all__ = ["Layout"]

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LONGEST_CALL_SEC, _SLOW_CALL_SEC = 1.0, 0.02
_ERRORS_ONLY = 3
_WARM_UP = 3


@dataclass(frozen=True)
class Layout:
    """Threads that call ONNX Runtime, threads inside an operator, sessions, rows in a call.

    Written ``threads,intra,sessions,batch``.
    """

    threads: int
    intra: int
    sessions: int
    batch: int

    def __str__(self) -> str:
        return f"{self.threads},{self.intra},{self.sessions},{self.batch}"

    @classmethod
    def parse(cls, text: str) -> Layout:
        return cls(*(int(part) for part in text.split(",")))


class Pool:
    """Distinct samples of every input, and the sessions that read them."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._sessions: dict[int, list[ort.InferenceSession]] = {}
        session = self.session(1)
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()
        leading = {node.shape[0] for node in self._inputs}
        if len(leading) != 1 or any(not node.shape for node in self._inputs):
            raise SystemExit("the ceiling needs a model whose inputs share a batch dimension")
        first = leading.pop()
        self.fixed = first if isinstance(first, int) else 0
        row = sum(4 * int(np.prod(node.shape[1:])) for node in self._inputs)
        self.count = pool_size(row, last_level_cache_bytes())
        if self.fixed:
            self.count = -(-self.count // self.fixed) * self.fixed
        random = np.random.default_rng(0)
        self._arrays = [
            random.random((self.count, *node.shape[1:]), dtype=np.float32) for node in self._inputs
        ]

    def session(self, intra: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = intra
        options.inter_op_num_threads = 1
        return ort.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])

    def sessions(self, intra: int, count: int) -> list[ort.InferenceSession]:
        """That many sessions, made once."""
        made = self._sessions.setdefault(intra, [])
        made += [self.session(intra) for _ in range(count - len(made))]
        return made[:count]

    def bindings(
        self, session: ort.InferenceSession, batch: int, share: int, shares: int
    ) -> list[ort.IOBinding]:
        """One binding for each view of ``batch`` rows in one worker's share of the pool."""
        symbols = {node.shape[0]: batch for node in self._inputs}
        outputs = [
            ort.OrtValue.ortvalue_from_numpy(
                np.empty([symbols.get(dim, dim) for dim in node.shape], np.float32)
            )
            for node in self._outputs
        ]
        made = []
        for at in range(share * batch, self.count - batch + 1, shares * batch):
            binding = session.io_binding()
            for node, array in zip(self._inputs, self._arrays, strict=True):
                view = ort.OrtValue.ortvalue_from_numpy(array[at : at + batch])
                binding.bind_ortvalue_input(node.name, view)
            for node, value in zip(self._outputs, outputs, strict=True):
                binding.bind_ortvalue_output(node.name, value)
            made.append(binding)
        return made


def measure(pool: Pool, layout: Layout, seconds: float) -> float:
    """Rows per second of one layout."""
    sessions = pool.sessions(layout.intra, layout.sessions)
    ready = threading.Barrier(layout.threads + 1)
    rates = [0.0] * layout.threads

    def work(number: int) -> None:
        session = sessions[number % layout.sessions]
        bindings = pool.bindings(session, layout.batch, number, layout.threads)
        run, now = session.run_with_iobinding, time.perf_counter
        run(bindings[-1])
        begin = now()
        for binding in bindings[:_WARM_UP]:
            run(binding)
        # The clock is read once in about a millisecond, so that reading it costs nothing.
        stride = max(1, int(1e-3 * _WARM_UP / (now() - begin)))
        blocks = [bindings[at : at + stride] for at in range(0, len(bindings), stride)]
        ready.wait()
        begin = at = now()
        done = 0
        while at < begin + seconds:
            for block in blocks:
                for binding in block:
                    run(binding)
                done += len(block)
                at = now()
                if at >= begin + seconds:
                    break
        rates[number] = done * layout.batch / (at - begin)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(layout.threads)]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    return sum(rates)


def try_layouts(pool: Pool, cores: int, trial: float) -> dict[Layout, float]:
    """Rows per second of every way to divide the cores among threads, with growing batches.

    A slow model is spared the batches beyond the second that does not pay.
    """
    counts = sorted({1, cores, *(1 << k for k in range(cores.bit_length()) if 1 << k <= cores)})
    found: dict[Layout, float] = {}
    for threads in counts:
        for sessions in sorted({1, threads}):
            best, worse = 0.0, 0
            for batch in (pool.fixed,) if pool.fixed else _BATCHES:
                if batch * threads > pool.count:
                    break
                layout = Layout(threads, max(1, cores // threads), sessions, batch)
                rate = found[layout] = measure(pool, layout, trial)
                call = batch * threads / rate
                worse = worse + 1 if rate < best else 0
                best = max(best, rate)
                if call > _LONGEST_CALL_SEC or (worse > 1 and call > _SLOW_CALL_SEC):
                    break
    return found


def throughput(pool: Pool, chosen: Sequence[Layout], seconds: float, trial: float) -> Any:
    tried: dict[str, float] = {}
    if not chosen:
        found = try_layouts(pool, available_cores(), trial)
        tried = {str(layout): round(rate, 1) for layout, rate in found.items()}
        chosen = sorted(found, key=lambda layout: found[layout], reverse=True)[:3]
    full = {str(layout): measure(pool, layout, seconds) for layout in chosen}
    best = max(full, key=lambda name: full[name])
    return {"samples_per_sec": full[best], "layout": best, "full": full, "tried": tried}


def latency(pool: Pool, seconds: float, intra: int | None) -> Any:
    """The bare bound call of one sample, one after another, on the best number of threads."""
    results = {}
    for threads in [intra] if intra else sorted({1, available_cores()}):
        session = pool.session(threads)
        bindings = pool.bindings(session, pool.fixed or 1, 0, 1)
        run, now = session.run_with_iobinding, time.perf_counter_ns
        for binding in bindings[:_WARM_UP]:
            run(binding)
        times: list[int] = []
        end = now() + int(seconds * 1e9)
        while now() < end:
            for binding in bindings:
                begin = now()
                run(binding)
                over = now()
                times.append(over - begin)
                if over >= end:
                    break
        p50, p90, p99 = np.percentile(times, [50, 90, 99])
        results[threads] = {"p50": p50, "p90": p90, "p99": p99, "calls": len(times)}
    best = min(results, key=lambda threads: results[threads]["p90"])
    return {**results[best], "intra": best, "all": results}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="ONNX model with a leading batch dimension")
    parser.add_argument("mode", choices=("throughput", "latency"))
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a full run (3)")
    parser.add_argument("--trial", type=float, default=0.3, help="length of a trial (0.3)")
    parser.add_argument(
        "--layout",
        type=Layout.parse,
        action="append",
        default=[],
        help="threads,intra,sessions,batch: run this and try nothing; may be repeated",
    )
    parser.add_argument("--intra", type=int, help="latency: threads inside an operator")
    given = parser.parse_args()
    pool = Pool(given.model)
    if given.mode == "latency":
        found = latency(pool, given.seconds, given.intra)
    else:
        found = throughput(pool, given.layout, given.seconds, given.trial)
    print(json.dumps({**found, "pool_samples": pool.count}))


if __name__ == "__main__":
    main()
