"""LoadGen's trace as a stream of arrays, for traces larger than the memory.

The file is meant to be JSON but is not, so it is read by lines. Those of a sample's begin hold
its numbers, and nothing else in them has digits: they are turned into arrays a block at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadgen_generic.report.reading.bins import Integers

__all__ = ["Block", "Told", "read_blocks"]

_BYTES = 1 << 24
_MARK = b'"sample_seq"'
# The last five numbers of a line are those of the sample; the one before is the time stamp.
_SAMPLE = re.compile(
    rb'.*"ts": ?(\d+)\.(\d{3}), ?"args": ?\{ ?"sample_seq": ?\d+, ?"query_seq": ?\d+, ?'
    rb'"sample_idx": ?\d+, ?"issue_start_ns": ?-?\d+, ?"complete_ns": ?\d+ ?\}.*'
)
# The point goes: three decimals of microseconds become nanoseconds.
_NUMBERS_ONLY = bytes(c if c in b"-0123456789" else ord(" ") for c in range(256))
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples in the order of their answers, int64, times in ns of the trace's clock.

    Attributes:
        query: number of the query that each is of.
        due_ns: when its query was due (Server) or issued.
        issued_ns: when LoadGen issued it.
        completed_ns: when it was answered; the same for all samples answered in one call.
    """

    query: Integers
    due_ns: Integers
    issued_ns: Integers
    completed_ns: Integers

    def since(self, zero_ns: int) -> Block:
        """With times counted from a moment."""
        due, issued, completed = self.due_ns, self.issued_ns, self.completed_ns
        return Block(self.query, due - zero_ns, issued - zero_ns, completed - zero_ns)


def read_blocks(path: Path, told: Told) -> Iterator[Block]:
    """Read a trace; where the disk was full it may lack samples.

    Args:
        told: is called with bytes read and bytes in all.

    Raises:
        OSError: it cannot be read.
        ValueError: a sample's line is not LoadGen's.
    """
    size, done = path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        rest = b""
        while part := file.read(_BYTES):
            done += len(part)
            whole, end, begun = part.rpartition(b"\n")
            if end and (lines := [ln for ln in (rest + whole).split(b"\n") if _MARK in ln]):
                yield _block(lines)
            rest = begun if end else rest + begun
            told(done, size)


def _block(lines: list[bytes]) -> Block:
    if not _SAMPLE.fullmatch(lines[0]):
        raise ValueError(f"not a line of LoadGen's trace: {lines[0][:80]!r}")
    digits = b" ".join(lines).translate(_NUMBERS_ONLY, b".")
    numbers = np.fromstring(digits, np.int64, sep=" ")
    if len(numbers) % len(lines):
        damaged = next((ln for ln in lines if not _SAMPLE.fullmatch(ln)), lines[-1])
        raise ValueError(f"not a line of LoadGen's trace: {damaged[:80]!r}")
    table = numbers.reshape(len(lines), -1)
    due, query, issued, completed = (table[:, at] for at in (-6, -4, -2, -1))
    return Block(query, due, due + issued, due + completed)
