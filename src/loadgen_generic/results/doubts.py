"""Whether a number can be trusted: what else the machine did while it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.telemetry import GpuProcess, GpuSummary

__all__ = [
    "conditions_between",
    "doubts_of_computation",
    "doubts_of_gpus",
    "doubts_of_runs",
    "doubts_of_test",
    "process_in_words",
]

# The system counts processor time in ticks of up to 10 ms: a shorter test says too little.
SHORTEST_SEC = 0.5
# As shares of the processors that the test could use. The system's own housekeeping stays well
# below the first: 1 to 2 % on two cores.
MOST_OTHERS = 0.05
MOST_STOLEN = 0.02
MOST_THROTTLED = 0.01
# Lower than this share of the hardware's highest clock at the end of a test, when turbo and
# power saving have settled, is more than the difference between one busy core and all of them.
LEAST_CLOCK = 0.6
MOST_CLOCK_CHANGE = 0.1
MOST_HELD_BACK = 0.05  # of the looks at a GPU
# Runs of the same test on an idle machine differ by 1 to 3 %.
MOST_SPREAD = 0.05


def conditions_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What happened between two readings.

    Args:
        before, after: fields of :class:`~loadgen_generic.conditions.Reading`.

    Returns:
        Shares of the processors that the test could use (0 to 1), seconds, and what was read at
        the end; null where the system does not tell.
    """
    seconds = after["at"] - before["at"]
    available = max(seconds * after["cores"], 1e-9)

    def passed(name: str) -> Any:
        if before[name] is None or after[name] is None:
            return None
        return max(0, after[name] - before[name])

    others = max(0.0, passed("busy") - passed("own")) / available
    stolen, throttled = passed("stolen"), passed("throttled")
    return {
        "seconds": seconds,
        "cores": after["cores"],
        "own_cpu_share": passed("own") / available,
        "other_cpu_share": others,
        "stolen_cpu_share": None if stolen is None else stolen / available,
        "throttled_seconds": throttled,
        "heat_throttles": passed("heat_throttles"),
        "swapped_in_bytes": passed("swapped_in"),
        "load_average_before": before["load_average"],
        "mhz": after["mhz"],
        "most_mhz": after["most_mhz"],
        "governor": after["governor"],
    }


def doubts_of_test(conditions: Mapping[str, Any], server_here: bool = False) -> list[str]:
    """Why the number of one test is doubtful, one sentence each; empty if nothing was seen.

    Args:
        server_here: an inference server on this machine computed the answers.
    """
    seconds = conditions["seconds"]
    if seconds < SHORTEST_SEC:
        return []
    found = []
    if (others := conditions["other_cpu_share"]) > MOST_OTHERS:
        cores = others * conditions["cores"]
        used = (
            f"{100 * others:.0f} % of the processor time meanwhile, as much as {cores:.1f} of "
            f"{conditions['cores']} cores"
        )
        found.append(
            f"the server, which is on this machine, and other processes used {used}; the client "
            "competes with them, so measure from another machine to see the server alone"
            if server_here
            else f"other processes used {used}; stop them and measure again"
        )
    stolen = conditions["stolen_cpu_share"]
    if stolen is not None and stolen > MOST_STOLEN:
        found.append(
            f"the host gave {100 * stolen:.0f} % of the processor time to other virtual "
            "machines (steal); measure again when it is quieter, or on a dedicated machine"
        )
    throttled = conditions["throttled_seconds"]
    if throttled is not None and throttled > MOST_THROTTLED * seconds:
        found.append(
            f"the container's processor limit held the test back for {throttled:.2g} s; use no "
            "more workers and threads than it allows"
        )
    if conditions["heat_throttles"]:
        found.append("the processor slowed down because of heat")
    if conditions["swapped_in_bytes"]:
        found.append(
            f"{conditions['swapped_in_bytes'] / 2**20:.1f} MiB came back from swap: memory is short"
        )
    mhz, most = conditions["mhz"], conditions["most_mhz"]
    busy = conditions["own_cpu_share"] > 0.5  # an idle processor is right to slow down
    if mhz and most and busy and mhz < LEAST_CLOCK * most:
        governor = conditions["governor"]
        found.append(
            f"the processor ran at {mhz:.0f} MHz of {most:.0f}"
            + (f", under the governor {governor}" if governor else "")
        )
    return found


def doubts_of_computation(requested: Mapping[str, Any], effective: Mapping[str, Any]) -> list[str]:
    """Why the number is of something else than was asked for."""
    computed = computation_of(requested, effective)
    if not computed.asked:
        return []
    why = str(effective["fallback"]).rstrip(".")
    return [f"it ran on the {computed.provider}, not on {computed.asked} as asked: {why}"]


def doubts_of_gpus(gpus: Sequence[GpuSummary]) -> list[str]:
    """What disturbed the GPUs that a run computed on; of those where that is not known, too."""
    found = []
    for gpu in gpus:
        if gpu.used is False:
            continue
        which = f"GPU {gpu.number}"
        if gpu.lost is not None:
            found.append(
                f"{which} stopped answering during the test, as its driver says: {gpu.lost}"
            )
        for reason, share in gpu.held_back_shares.items():
            if share > MOST_HELD_BACK:
                found.append(
                    f"{which} was held back for {100 * share:.0f} % of the test by: {reason}"
                )
        if gpu.unnamed_processes:
            found.append(
                f"another process used {which} during the test: its driver lists "
                f"{gpu.unnamed_processes} more than this run has; end it and measure again"
            )
        for process in gpu.other_processes:
            found.append(
                f"another process used {which} during the test: {process_in_words(process)}; end it "
                "and measure again"
            )
    return found


def process_in_words(process: GpuProcess) -> str:
    name = f" ({process.name})" if process.name else ""
    memory = process.memory_bytes
    told = "memory not told" if memory is None else f"{memory / 2**20:,.0f} MiB of its memory"
    return f"process {process.pid}{name}, {told}"


def doubts_of_runs(
    spread: float, runs: int, each: Sequence[tuple[Sequence[str], Mapping[str, Any] | None]]
) -> list[str]:
    """Why the median of several runs is doubtful.

    Args:
        spread: (largest - smallest) / median.
        each: the doubts and conditions of every run.
    """
    found = []
    if spread > MOST_SPREAD:
        found.append(
            f"the {runs} runs lie {100 * spread:.0f} % apart, more than {100 * MOST_SPREAD:.0f} %"
        )
    clocks = [c["mhz"] for _, c in each if c is not None and c["mhz"] and c["most_mhz"]]
    if clocks and max(clocks) > (1 + MOST_CLOCK_CHANGE) * min(clocks):
        found.append(
            f"the processor ran at {min(clocks):.0f} MHz in one run and at {max(clocks):.0f} in "
            "another"
        )
    for number, (doubts, _) in enumerate(each, 1):
        found += [f"run {number} of {runs}: {doubt}" for doubt in doubts]
    return found
