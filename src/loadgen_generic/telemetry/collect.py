"""Gathers all that is seen of a test, and writes ``telemetry.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from loadgen_generic.errors import RunError
from loadgen_generic.pulse import PULSE_FILE, PulseReader
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.detail_log import ACCURACY_MODE, DetailLog, read_detail_log
from loadgen_generic.results.result import write_text
from loadgen_generic.results.telemetry import (
    TELEMETRY_FILE,
    Series,
    Telemetry,
    TelemetrySummary,
    Timeline,
)
from loadgen_generic.telemetry.gpu.summary import gpus_of_test, lost_in_words
from loadgen_generic.telemetry.queries import Latencies, Timed
from loadgen_generic.telemetry.sampler import Sampled, Sampler
from loadgen_generic.telemetry.schedule import Schedule
from loadgen_generic.telemetry.throughput import Throughput

__all__ = ["Collector"]

# A short test is looked at as often as the caller comes; a longer one does not need that.
_SHORT_NS, _PAUSE_NS = 2_000_000_000, 250_000_000
# Drawing all of a schedule while the test runs costs 30 ns a query; above this rate it waits for
# the end.
_MOST_DRAWN_PER_SEC = 20_000
# Of a test that was over before anybody looked.
_NOTHING = Sampled(0.0, 0.0, [], None, None, None, [])
_OTHER_SCHEDULE = (
    "telemetry.json has no single queries: this LoadGen does not draw the times at which they are "
    "due the way that is known here, so their latencies cannot be told"
)


class Collector:
    """One for each measured process. Made before its test: the sampler takes a while to set up.

    Time zero is the first query's issue by the measured process's own clock, which is the
    system's (see :mod:`loadgen_generic.pulse`): microseconds after LoadGen's own, whose detail
    log gives it to a millisecond only.

    Attributes:
        notes: what the user should know of the file, after :meth:`write`.
        trouble: with the GPUs, for a run that failed, after :meth:`stop`.
    """

    def __init__(self, pid: int, run_dir: Path) -> None:
        self._file = run_dir / PULSE_FILE
        self._sampler = Sampler(pid)
        self._sampled: Sampled | None = None
        self._throughput = Throughput()
        self._reader: PulseReader | None = None
        self._timed: Timed | None = None
        self.notes: list[str] = []
        self.trouble: list[str] = []
        self._cpu_sec = 0.0
        self._stopped = False
        self._effective: Mapping[str, Any] = {}
        self._begin_ns = self._sampler_began_ns = self._looked_ns = 0
        self._lost = self._answered = 0

    def look(self, answered: int, effective: Mapping[str, Any]) -> None:
        """Fetch what is new, now and then; the first call starts the sampler.

        Args:
            answered: samples so far.
            effective: the configuration in force.
        """
        before, now_ns = time.thread_time(), time.perf_counter_ns()
        if self._reader is None:
            self._reader = PulseReader(self._file)
            self._sampler.start()
            self._sampler_began_ns = now_ns
        elif now_ns - self._looked_ns < _PAUSE_NS and now_ns - self._sampler_began_ns > _SHORT_NS:
            return
        self._looked_ns = now_ns
        self._throughput.add(now_ns, answered)
        self._fetch(effective)
        self._cpu_sec += time.thread_time() - before

    def latencies(self) -> Latencies | None:
        """Of the queries that were timed so far; empty where they cannot be told before the end."""
        return self._timed.latencies if self._timed is not None else None

    def stop(self, answered: int, effective: Mapping[str, Any]) -> None:
        """The test is over, however it ended: let go of everything; what was gathered stays.

        Args:
            answered: samples of the test.
            effective: the configuration in force; empty if it did not come to a test.
        """
        if self._stopped:
            return
        self._stopped, self._answered, self._effective = True, answered, effective
        looked = self._reader is not None
        if not looked:
            self._sampler.start()  # or it could not be stopped
        sampled = self._sampler.stop()
        self.trouble = [*sampled.notes, *lost_in_words(each.card for each in sampled.gpus)]
        if looked:
            self._sampled = sampled
        elif self._file.exists():  # the test was over between two looks
            self._reader = PulseReader(self._file)
        if self._reader is not None:
            self._fetch(effective)
            self._begin_ns, self._lost = self._reader.begin_ns(), self._reader.lost
            self._reader.close()
        self._file.unlink(missing_ok=True)

    def write(self, run_dir: Path, nodes: Sequence[Mapping[str, Any]] = ()) -> TelemetrySummary:
        """Write the file, after :meth:`stop`.

        Args:
            run_dir: with LoadGen's logs of the same test.
            nodes: of a cluster, what :class:`~loadgen_generic.telemetry.nodes.NodeWatcher` saw.

        Raises:
            RunError: the measured process told of no query, or LoadGen's log lacks its end.
        """
        log = read_detail_log(run_dir / LOADGEN_LOGS["detail"])
        if not self._begin_ns:
            raise RunError("the measured process did not say when the first query was issued")
        duration_ns = round(log.duration_sec * 1e9)
        if log.mode == ACCURACY_MODE or not duration_ns:
            # LoadGen logs the last set of samples only, or a test too short for its clock.
            duration_ns = max(self._throughput.last_rise_ns() - self._begin_ns, 1)
        sampled = self._seen_of_test(self._begin_ns + duration_ns)
        per_query = int(log.values["effective_samples_per_query"])
        own_cpu_share = sampled.own_cpu_share + self._cpu_sec / (duration_ns / 1e9)
        queries = None
        if self._timed is not None and self._timed.every:
            schedule = _schedule_of(log, self._effective, self._timed.every)
            queries = self._timed.record(self._answered // per_query, self._lost, schedule)
            if queries is None:
                self.notes.append(_OTHER_SCHEDULE)
        begin = time.time() - (time.perf_counter_ns() - self._begin_ns) / 1e9
        # The two clocks are one on Linux, and elsewhere of one pace.
        shift = time.perf_counter() - time.monotonic() - self._begin_ns / 1e9
        telemetry = Telemetry(
            interval_s=sampled.interval_s,
            own_cpu_share=round(own_cpu_share, 6),
            begin=datetime.fromtimestamp(begin).astimezone().isoformat(timespec="milliseconds"),
            throughput=self._throughput.timeline(self._begin_ns, duration_ns, self._answered),
            machine=[
                *_within(sampled.machine, shift, duration_ns),
                *_within(_of_nodes(nodes), -begin, duration_ns),
            ],
            queries=queries,
        )
        file = run_dir / TELEMETRY_FILE
        write_text(file, telemetry.model_dump_json() + "\n")
        gpus = gpus_of_test(
            sampled.driver,
            sampled.gpus,
            self._effective,
            self._begin_ns,
            duration_ns,
            self._answered,
        )
        self.notes += [*sampled.notes, *gpus.notes]
        return TelemetrySummary(
            file=str(file),
            interval_s=sampled.interval_s,
            own_cpu_share=telemetry.own_cpu_share,
            peak_memory_bytes=sampled.peak_memory_bytes,
            mean_cpu_share=sampled.mean_cpu_share,
            context_switches_per_s=sampled.context_switches_per_s,
            gpus=gpus.gpus,
            gpu_energy=gpus.energy,
        )

    def _seen_of_test(self, end_ns: int) -> Sampled:
        """What the sampler saw, without what it saw too little of the test to know."""
        seen_sec = (end_ns - self._sampler_began_ns) / 1e9
        if self._sampled is None or seen_sec <= 0:
            return _NOTHING
        if seen_sec < self._sampled.interval_s:
            return replace(self._sampled, mean_cpu_share=None, context_switches_per_s=None)
        return self._sampled

    def _fetch(self, effective: Mapping[str, Any]) -> None:
        assert self._reader is not None
        begin_ns, every = self._reader.begin_ns(), self._reader.every
        if self._timed is None and begin_ns and effective:
            schedule, rate = None, effective["target_qps"]
            server = effective["scenario"] == "Server"
            if every and server and rate <= _MOST_DRAWN_PER_SEC:
                schedule = Schedule(effective["loadgen_seeds"][2], rate, every)
            self._timed = Timed(every, begin_ns, schedule, known_late=server and not schedule)
        if self._timed is not None:
            self._timed.add(self._reader.fetch())


def _schedule_of(log: DetailLog, effective: Mapping[str, Any], every: int) -> Schedule | None:
    """By what LoadGen says itself, since its ``audit.config`` has the last word."""
    if log.scenario != "Server":
        return None
    seed = int(log.values["effective_schedule_rng_seed"])
    rate, told = float(log.values["effective_target_qps"]), float(effective["target_qps"])
    # LoadGen logs six digits, of which the rest would be missing after some minutes.
    return Schedule(seed, told if float(f"{told:.6g}") == rate else rate, every)


def _of_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[Timeline]:
    """Each node's lines under titles of its own; their clocks are as near to ours as the network
    keeps them."""
    found = []
    for node in nodes:
        for told in node.get("timelines", []):
            line = Timeline(**told)
            found.append(line.model_copy(update={"title": f"{line.title}, node {node['host']}"}))
    return found


def _within(lines: list[Timeline], shift: float, duration_ns: int) -> list[Timeline]:
    """What lies in the test.

    Args:
        shift: from the lines' clock to seconds since the first query.
    """
    found = []
    for line in lines:
        at_s = [round(at + shift, 4) for at in line.at_s]
        kept = [row for row, at in enumerate(at_s) if 0 <= at <= duration_ns / 1e9]
        if kept:
            series = [
                Series(name=each.name, unit=each.unit, values=[each.values[row] for row in kept])
                for each in line.series
            ]
            found.append(
                Timeline(title=line.title, at_s=[at_s[row] for row in kept], series=series)
            )
    return found
