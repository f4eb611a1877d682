"""What native libraries print where Python cannot see it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Said", "listening"]

_STDERR = 2


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
