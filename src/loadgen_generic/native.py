"""What native libraries print where Python cannot see it, and the memory that they take."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Said", "keep_large_blocks", "listening"]

_STDERR = 2
# Of glibc's malloc.h and its manual: which option, and in bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _MOST_FREE = 32 << 20, 512 << 20


@dataclass(slots=True)
class Said:
    """What was printed; empty until the listening ends."""

    text: str = ""


@contextmanager
def listening() -> Iterator[Said]:
    """Keep what the process prints on its standard error, and pass it on at the end.

    Also what C and C++ libraries print, since the descriptor itself is turned. Of the whole
    process: no two at once.
    """
    said = Said()
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STDERR)
            file.seek(0)
            content = file.read()
            said.text = content.decode("utf-8", "replace")
            with os.fdopen(kept, "wb") as onwards:
                onwards.write(content)


def keep_large_blocks() -> None:
    """Have this process keep the memory of large blocks that it frees, for the next ones.

    glibc gives it back to the system and takes it anew each time, page by page: of a request with
    an image of 600 KB through gRPC, which copies it several times, half the time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    libc.mallopt(_TRIM_THRESHOLD, _MOST_FREE)
