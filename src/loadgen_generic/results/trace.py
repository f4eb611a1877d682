"""LoadGen's trace: the latency of each sample, as LoadGen itself took it.

A performance run keeps single latencies nowhere else. The file is meant to be JSON but is not (a
few of its lines quote twice), so it is read line by line; the lines of a sample hold integers in
nanoseconds, the very ones that LoadGen's percentiles are made of.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import numpy as np

from loadgen_generic.errors import RunError
from loadgen_generic.results.statistics import Latencies

__all__ = ["read_trace", "write_latencies"]

_SAMPLE = re.compile(
    rb'^\{"name":"Sample",.*?"sample_seq":(\d+),"query_seq":(\d+),"sample_idx":(\d+),'
    rb'"issue_start_ns":(-?\d+),"complete_ns":(-?\d+)\}',
    re.MULTILINE,
)
_COLUMNS = "query,sample_index,issued_after_ns,latency_ns"


def read_trace(path: Path) -> Latencies:
    """Read ``mlperf_log_trace.json``; where the disk was full it may lack samples.

    Raises:
        RunError: it is missing.
    """
    numbers = array("q")
    try:
        with path.open("rb") as lines:
            for line in lines:
                if found := _SAMPLE.match(line):
                    numbers.extend(map(int, found.groups()))
    except OSError as error:
        raise RunError(f"LoadGen left no trace: {error}") from None
    table = np.asarray(numbers, np.int64).reshape(-1, 5)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Latencies(table[:, 1], table[:, 2], table[:, 3], table[:, 4])


def write_latencies(latencies: Latencies, path: Path) -> None:
    """One line of comma-separated numbers for each sample, under a line of names.

    ``query``, ``sample_index`` (which sample of the data), ``issued_after_ns`` (after it was
    due), ``latency_ns``.
    """
    table = np.column_stack(
        [latencies.query, latencies.sample_index, latencies.issued_ns, latencies.latency_ns]
    )
    with path.open("w", encoding="ascii") as file:
        file.write(_COLUMNS + "\n")
        file.writelines(f"{q},{s},{i},{t}\n" for q, s, i, t in table.tolist())
