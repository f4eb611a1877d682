"""Where dispatch from one LoadGen process ends: a simulation of --runner ray, from measured costs.

What is measured on one machine by ``ray_runner.py`` is played with 10, 100 and 1,000 replicas:
LoadGen's thread hands samples over; another completes what comes back, builds batches, and sends
each to the replica with the least outstanding work; what they do holds Python's lock, one thing
after another. A link of the driver's takes one message at a time in
each direction; a replica computes one batch after another, a fixed time and one for each sample.
Prints tables for Offline and for Server, and what would be done past the end; writes a JSON file.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from reporting import add_output, machine_slug, write

__all__ = ["Costs", "Fleet", "Outcome", "main", "saturation", "simulate", "steady_rate"]

_BATCHES = {"resnet50": (1, 8, 64), "mlp": (1, 64, 1024)}
_OUTPUT_FLOATS = {"resnet50": 1000, "mlp": 10}
# Of a message: an index, a float, and what is around them, for which this is a round guess.
_INDEX_BYTES, _FLOAT_BYTES, _FRAME_BYTES = 8, 4, 1024
_ROUNDS = 6  # batches of each replica that the rate is taken over
_SHARE, _MOST_REPLICAS = 0.95, 20_000
_LOADS = (0.5, 0.8, 0.9, 0.95)
_LEAST_QUERIES, _MOST_QUERIES, _SEED = 40_000, 200_000, 9
_MEASURED = (
    "issue_us_per_sample",
    "driver_us_per_batch",
    "driver_us_per_sample",
    "replica_us_per_batch",
    "round_trip_us",
)
_ASSUMED = ("network_us", "gbit", "faster", "batches_in_flight", "per_node")
_KEYS = ("model", "faster", "batch", "replicas")
_SHARES = {
    "of linear": "share_of_linear",
    "dispatcher busy": "dispatcher_busy",
    "driver busy": "driver_busy",
}
_MAKE = "make venv EP=ray, then .venv/bin/python benchmarks/ray_runner.py"


@dataclass(frozen=True)
class Costs:
    """In microseconds.

    Attributes:
        issue: of LoadGen's thread for a sample, in Server; in Offline one call hands all over.
        batch, sample: of the driver, dispatch and completion together, with Python's lock.
        replica: of a replica for a batch, besides the model.
        latency: of the network, one way.
        fixed, each: of the model, for a batch and for each of its samples.
    """

    issue: float = 0.0
    batch: float = 0.0
    sample: float = 0.0
    replica: float = 0.0
    latency: float = 0.0
    fixed: float = 0.0
    each: float = 0.0

    def driver(self, samples: int) -> float:
        return self.batch + self.sample * samples

    def service(self, samples: int) -> float:
        return self.replica + self.fixed + self.each * samples


@dataclass(frozen=True)
class Fleet:
    """What a driver serves.

    Attributes:
        batch: most samples in one.
        in_flight: batches that a replica has at once.
        dispatch: what of the driver's cost is dispatch, the rest being completion; measured
            are both together. Throughput does not depend on it.
        bytes_per_us: of the link, each way.
        answer_bytes: of a sample.
        speeds: of each replica, by which its service is divided; empty for equal ones.
    """

    replicas: int
    batch: int
    in_flight: int = 2
    dispatch: float = 0.5
    bytes_per_us: float = math.inf
    answer_bytes: int = 0
    speeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Batches in the order of their completion: first sample, samples, replica, when in us."""

    batches: list[tuple[int, int, int, float]]

    def latencies(self, arrivals: Sequence[float]) -> np.ndarray[Any, Any]:
        """Of each sample, in us, from when it was due."""
        ends = np.full(len(arrivals), np.nan)
        for first, count, _, end in self.batches:
            ends[first : first + count] = end
        return np.asarray(ends - np.asarray(arrivals))


def simulate(
    costs: Costs, fleet: Fleet, samples: int, arrivals: Sequence[float] | None = None
) -> Outcome:
    """Play one test to its end.

    Args:
        arrivals: when each sample is due, in us, rising; None for Offline, where all are there.
    """
    run = _Run(costs, fleet, samples, arrivals)
    run.play()
    return Outcome(run.done)


# How long it takes, asked when it begins; what follows, and what that is given.
_Job = tuple[Callable[[], float], Callable[..., None], tuple[Any, ...]]


class _Run:
    def __init__(
        self, costs: Costs, fleet: Fleet, samples: int, arrivals: Sequence[float] | None
    ) -> None:
        self._costs, self._fleet, self._samples, self._arrivals = costs, fleet, samples, arrivals
        self.done: list[tuple[int, int, int, float]] = []
        self._now = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._jobs: deque[_Job] = deque()  # that wait for Python's lock
        self._locked = self._dispatching = False
        self._waiting, self._taken = 0, 0
        self._outstanding = [0] * fleet.replicas
        # Replicas by what is outstanding, then by who came first; an entry may be out of date.
        self._room = [(0, next(self._order), number) for number in range(fleet.replicas)]
        self._idle_at = [0.0] * fleet.replicas
        self._out_at = self._in_at = 0.0

    def play(self) -> None:
        if self._arrivals is None:
            self._waiting = self._samples
            self._wake()
        else:
            self._at(self._arrivals[0], self._arrive, 0)
        while self._events:
            self._now, _, happen, given = heapq.heappop(self._events)
            happen(*given)

    def _at(self, when: float, happen: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen, given))

    def _lock(self, take: Callable[[], float], then: Callable[..., None], *given: Any) -> None:
        """Have Python's lock, as soon as it is this one's turn, for as long as ``take`` says."""
        self._jobs.append((take, then, given))
        if not self._locked:
            self._next_job()

    def _next_job(self) -> None:
        self._locked = bool(self._jobs)
        if self._jobs:
            take, then, given = self._jobs.popleft()
            self._at(self._now + take(), self._unlock, then, given)

    def _unlock(self, then: Callable[..., None], given: tuple[Any, ...]) -> None:
        then(*given)
        self._next_job()

    def _arrive(self, number: int) -> None:
        assert self._arrivals is not None
        if number + 1 < self._samples:
            self._at(self._arrivals[number + 1], self._arrive, number + 1)
        self._lock(lambda: self._costs.issue, self._issued)

    def _issued(self) -> None:
        self._waiting += 1
        self._wake()

    def _wake(self) -> None:
        """The next batch leaves if there is one, and room for it, after the answers that are there."""
        if self._waiting and not self._dispatching and self._has_room():
            self._dispatching = True
            self._lock(self._take, self._sent)

    def _has_room(self) -> bool:
        while self._room and self._outstanding[self._room[0][2]] != self._room[0][0]:
            heapq.heappop(self._room)
        return bool(self._room)

    def _take(self) -> float:
        self._count = min(self._fleet.batch, self._waiting)
        self._waiting -= self._count
        return self._fleet.dispatch * self._costs.driver(self._count)

    def _sent(self) -> None:
        self._has_room()  # there was some, and nobody else takes it; who has it may have changed
        outstanding, _, number = heapq.heappop(self._room)
        self._owe(number, outstanding + 1)
        first, count = self._taken, self._count
        self._taken += count
        there = self._over(self._out_at, count * _INDEX_BYTES)
        self._out_at = there
        speed = self._fleet.speeds[number] if self._fleet.speeds else 1.0
        begin = max(there + self._costs.latency, self._idle_at[number])
        self._idle_at[number] = begin + self._costs.service(count) / speed
        self._at(self._idle_at[number], self._answered, first, count, number)
        self._dispatching = False
        self._wake()

    def _owe(self, number: int, outstanding: int) -> None:
        self._outstanding[number] = outstanding
        if outstanding < self._fleet.in_flight:
            heapq.heappush(self._room, (outstanding, next(self._order), number))

    def _over(self, free_at: float, content: int) -> float:
        """When a message has passed a link that is free at a moment."""
        return max(self._now, free_at) + (_FRAME_BYTES + content) / self._fleet.bytes_per_us

    def _answered(self, first: int, count: int, number: int) -> None:
        self._in_at = self._over(self._in_at, count * self._fleet.answer_bytes)
        self._at(self._in_at + self._costs.latency, self._arrived, first, count, number)

    def _arrived(self, first: int, count: int, number: int) -> None:
        cost = (1 - self._fleet.dispatch) * self._costs.driver(count)
        self._lock(lambda: cost, self._completed, first, count, number)

    def _completed(self, first: int, count: int, number: int) -> None:
        self.done.append((first, count, number, self._now))
        self._owe(number, self._outstanding[number] - 1)
        self._wake()


def steady_rate(costs: Costs, fleet: Fleet) -> float:
    """Samples/s of a long Offline test, without its beginning and its end."""
    # Rounds until it settles, and of the end. Of more than two in flight many leave in the beginning,
    # and a driver that is almost always busy sees to their answers late.
    before, after = max(4, fleet.in_flight**3 // 2), fleet.in_flight
    batches = (before + _ROUNDS + after) * fleet.replicas
    ends = [end for *_, end in simulate(costs, fleet, batches * fleet.batch).batches]
    # As many batches as make whole rounds: answers may come in bursts, one from each replica.
    first = before * fleet.replicas - 1
    last = first + _ROUNDS * fleet.replicas
    return 1e6 * (last - first) * fleet.batch / (ends[last] - ends[first])


def saturation(costs: Costs, fleet: Fleet) -> int | None:
    """The fewest replicas that do not reach 95 % of linear; None if that is beyond 20,000. To a
    hundredth of itself."""
    alone = steady_rate(costs, replace(fleet, replicas=1))

    def reach(replicas: int) -> bool:
        rate = steady_rate(costs, replace(fleet, replicas=replicas))
        return rate >= _SHARE * replicas * alone

    low, high = 0, 1
    while reach(high):
        low, high = high, 2 * high
        if low > _MOST_REPLICAS:
            return None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if reach(middle) else (low, middle)
    return high


def costs_of(measured: Mapping[str, Any], model: str, faster: float, network_us: float) -> Costs:
    """The costs that ``ray_runner.py`` wrote.

    Args:
        faster: how many times as fast a replica computes as what was measured.
        network_us: one way, on top of what was measured on one machine.
    """
    fixed, each = _fitted(measured["service_us"][model])
    issue, batch, sample, replica, trip = (float(measured[name]) for name in _MEASURED)
    local = max(0.0, trip - batch - sample - replica) / 2
    return Costs(
        issue=issue,
        batch=batch,
        sample=sample,
        replica=replica,
        latency=local + network_us,
        fixed=fixed / faster,
        each=each / faster,
    )


def _fitted(times: Mapping[str, float]) -> tuple[float, float]:
    """Fixed and each, in us, by least squares of the relative error; neither below 0."""
    if not times:
        raise ValueError("no time of any batch")
    sizes, took = np.array([float(size) for size in times]), np.array(list(times.values()))
    terms = np.stack([1 / took, sizes / took], axis=1)
    if len(times) > 1:
        fixed, each = np.linalg.lstsq(terms, np.ones(len(took)), rcond=None)[0]
        if fixed >= 0 and each >= 0:
            return float(fixed), float(each)
    kept = terms[:, 1]
    return 0.0, float(kept.sum() / (kept @ kept))


def offline_row(costs: Costs, fleet: Fleet, alone: float) -> dict[str, Any]:
    """One line of the table; ``alone`` is the rate of one replica."""
    rate = steady_rate(costs, fleet)
    driver = rate / fleet.batch * costs.driver(fleet.batch) / 1e6
    return {
        "batch": fleet.batch,
        "replicas": fleet.replicas,
        "samples_per_sec": rate,
        "share_of_linear": rate / (fleet.replicas * alone),
        "dispatcher_busy": fleet.dispatch * driver,
        "driver_busy": driver,
    }


def server_rows(costs: Costs, fleet: Fleet, most: float) -> Iterator[dict[str, Any]]:
    """The 99th percentile at each load, where ``most`` samples/s are what Offline reaches."""
    each = costs.issue + costs.driver(fleet.batch) / fleet.batch
    capacity = min(most, 1e6 / each) if each else most
    count = min(max(_LEAST_QUERIES, 20 * fleet.replicas * fleet.batch), _MOST_QUERIES)
    for load in _LOADS:
        gaps = np.random.default_rng(_SEED).exponential(1e6 / (load * capacity), count)
        arrivals = np.cumsum(gaps).tolist()
        latencies = simulate(costs, fleet, count, arrivals).latencies(arrivals)[count // 4 :]
        yield {
            "batch": fleet.batch,
            "replicas": fleet.replicas,
            "load": load,
            "queries_per_sec": load * capacity,
            "p99_us": float(np.percentile(latencies, 99)),
        }


def past_it(costs: Costs, fleet: Fleet, per_node: int) -> dict[str, Any]:
    """What all replicas at 95 % of linear would take.

    Returns:
        ``batch``: fewest samples in one, None where no number is enough, and the samples/s that a
        driver could do at most; ``processes`` of LoadGen with a share of the replicas each, at the
        fleet's batch; of a tree with a sub-dispatcher on each node, how busy its root and each of
        these would be, 1 being all the time.
    """
    wanted = _SHARE * fleet.replicas
    short = wanted * costs.batch - costs.replica - costs.fixed
    gains = costs.each - wanted * costs.sample  # with each sample more in a batch
    enough: int | None = 1
    if short > gains:
        enough = math.ceil(short / gains) if gains > 0 else None
    service, own = costs.service(fleet.batch), costs.driver(fleet.batch)
    return {
        "batch": enough,
        "driver_samples_per_sec": 1e6 / costs.sample if costs.sample else None,
        "processes": _processes(costs, fleet, max(1, math.ceil(wanted * own / service))),
        "root_busy": wanted / per_node * costs.driver(per_node * fleet.batch) / service,
        "sub_busy": _SHARE * per_node * own / service,
    }


def _processes(costs: Costs, fleet: Fleet, count: int) -> int:
    """At least so many, and more if the simulation asks for them."""
    alone = steady_rate(costs, replace(fleet, replicas=1))
    while count < fleet.replicas:
        part = replace(fleet, replicas=math.ceil(fleet.replicas / count))
        if steady_rate(costs, part) >= _SHARE * part.replicas * alone:
            break
        count += max(1, count // 20)
    return min(count, fleet.replicas)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        file, measured = _measured(given.costs, given.output)
    except ValueError as error:
        print(f"cluster_model.py: {error}", file=sys.stderr)
        return 2
    rows: dict[str, list[dict[str, Any]]] = {"offline": [], "server": [], "past": []}
    for model, faster in itertools.product(measured["service_us"], given.faster):
        print(f"{model}, {faster:g} times as fast ...", file=sys.stderr, flush=True)
        costs = costs_of(measured, model, faster, given.network_us)
        for kind, row in _rows_of(costs, model, given):
            rows[kind].append({"model": model, "faster": faster, **row})
    print(_report(rows, measured, given))
    report = {
        "costs_file": file.name,
        "costs": measured,
        "assumed": {name: getattr(given, name) for name in _ASSUMED},
        **rows,
    }
    path = write(report, given.output / f"cluster-model-{machine_slug()}.json")
    print(f"\nevery figure: {path}")
    return 0


def _rows_of(
    costs: Costs, model: str, given: argparse.Namespace
) -> Iterator[tuple[str, dict[str, Any]]]:
    sizes = _BATCHES.get(model, (1, 64))
    for size in sizes:
        fleet = Fleet(1, size, given.batches_in_flight, bytes_per_us=125 * given.gbit)
        alone = steady_rate(costs, fleet)
        end = {"saturates_at": saturation(costs, fleet)}
        for count in sorted(given.replicas):
            fleet = replace(fleet, replicas=count)
            row = offline_row(costs, fleet, alone)
            answers = replace(fleet, answer_bytes=_FLOAT_BYTES * _OUTPUT_FLOATS.get(model, 1))
            accuracy = {"accuracy_samples_per_sec": steady_rate(costs, answers)}
            yield "offline", {**row, **accuracy, **end}
            if size == sizes[len(sizes) // 2]:
                for each in server_rows(costs, fleet, row["samples_per_sec"]):
                    yield "server", each
        kept = {"at_batch": size, "replicas": fleet.replicas, "per_node": given.per_node}
        yield "past", {**kept, **past_it(costs, fleet, given.per_node)}


def _measured(asked: Path | None, results: Path) -> tuple[Path, dict[str, Any]]:
    """The costs in a file; by default in the newest that ``ray_runner.py`` wrote.

    Raises:
        ValueError: there is none, or it lacks some; the text says how to make it.
    """
    found = [asked] if asked else list(results.glob("ray-*.json"))
    if not found:
        raise ValueError(f"no measured costs (ray-*.json) in {results}. To make them: {_MAKE}")
    try:
        reports = {file: json.loads(file.read_text("utf-8")) for file in found}
        newest = max(found, key=lambda file: reports[file].get("when", ""))
        measured = reports[newest]["costs"]
        for model in measured["service_us"]:
            costs_of(measured, model, 1.0, 0.0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        names = ", ".join(map(str, found))
        raise ValueError(
            f"no whole set of costs in {names} ({error!r}). To make them: {_MAKE}"
        ) from None
    if not measured["service_us"]:
        raise ValueError(f"{newest} has the time of no model. To make them: {_MAKE}")
    return newest, measured


def _report(
    rows: Mapping[str, list[dict[str, Any]]], measured: Mapping[str, Any], given: argparse.Namespace
) -> str:
    lines = [
        "measured, us: " + ", ".join(f"{name} {measured[name]:.4g}" for name in _MEASURED),
        "assumed: "
        + ", ".join(f"{name} {getattr(given, name)}" for name in _ASSUMED)
        + "; half of the driver's cost is dispatch, half completion",
        "",
        "Offline",
    ]
    lines += _table(
        (*_KEYS, "samples/s", *_SHARES, "accuracy samples/s", "saturates at"),
        [
            [
                *_keys(row),
                f"{row['samples_per_sec']:,.0f}",
                *(f"{row[name]:.1%}" for name in _SHARES.values()),
                f"{row['accuracy_samples_per_sec']:,.0f}",
                _count(row["saturates_at"]),
            ]
            for row in rows["offline"]
        ],
    )
    lines += [
        "",
        "Server, Poisson arrivals; load is a share of what Offline or the driver can do",
    ]
    lines += _table(
        (*_KEYS, "load", "queries/s", "p99 ms"),
        [
            [
                *_keys(row),
                f"{row['load']:.0%}",
                f"{row['queries_per_sec']:,.0f}",
                f"{row['p99_us'] / 1000:,.4g}",
            ]
            for row in rows["server"]
        ],
    )
    lines += ["", f"Past it: what {max(given.replicas):,} replicas at {_SHARE:.0%} of linear take"]
    last = {(row["model"], row["faster"]): row for row in rows["past"]}  # of the largest batch
    return "\n".join([*lines, *map(_past_in_words, last.values())])


def _past_in_words(row: Mapping[str, Any]) -> str:
    batch = (
        f"batches of at least {row['batch']:,}"
        if row["batch"]
        else "no size of batch (a driver does no more than "
        f"{row['driver_samples_per_sec']:,.0f} samples/s, however many are in one)"
    )
    tree = max(row["root_busy"], row["sub_busy"])
    return (
        f"{row['model']}, {row['faster']:g} times as fast: {batch}; or, at batch {row['at_batch']}, "
        f"{row['processes']:,} LoadGen process(es); or a sub-dispatcher on each node of "
        f"{row['per_node']}, the root {_busy(row['root_busy'])}, each of them "
        f"{_busy(row['sub_busy'])}: {'enough' if tree <= 1 else 'NOT enough'}"
    )


def _busy(share: float) -> str:
    return f"{share:.0%} busy" if share <= 1 else f"{share:.3g} times too busy"


def _keys(row: Mapping[str, Any]) -> list[str]:
    return [row["model"], f"{row['faster']:g} x", str(row["batch"]), f"{row['replicas']:,}"]


def _count(replicas: int | None) -> str:
    return f"{replicas:,}" if replicas is not None else f"> {_MOST_REPLICAS:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]


def _count_of(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _above_zero(text: str) -> float:
    if not 0 < float(text) < math.inf:
        raise ValueError
    return float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster_model.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--costs", type=Path, help="a file of ray_runner.py's (the newest ray-*.json in --output)")
    add("--replicas", type=_count_of, nargs="+", default=[10, 100, 1000], help="(10 100 1000)")
    add(
        "--faster",
        type=_above_zero,
        nargs="+",
        default=[1.0, 200.0],
        help="how many times as fast a replica computes as this processor (1 200)",
    )
    add("--network_us", type=float, default=50.0, help="more than on one machine, one way (50)")
    add("--gbit", type=_above_zero, default=10.0, help="of the driver's link, each way (10)")
    add("--batches_in_flight", type=_count_of, default=2, help="of each replica (2)")
    add("--per_node", type=_count_of, default=8, help="replicas of a node (8)")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
