"""Entry point of the child that serves.

It reads a job as one line of JSON on standard input, tells its story as lines of JSON on standard
output, and ends when standard input does, so that it never outlives the command.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from loadgen_generic.errors import LoadgenGenericError

__all__ = ["main"]


def main() -> None:
    """Serve as the job says."""
    # Native code prints where it likes; the story keeps a channel of its own.
    story = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(event: str, content: Mapping[str, object]) -> None:
        story.write(json.dumps({"event": event, **content}) + "\n")
        story.flush()

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _serve(job, tell)
    except LoadgenGenericError as error:
        tell("error", {"exit_code": error.exit_code, "message": str(error)})
    sys.stderr.flush()
    # An inference that never ends is no reason to stay.
    os._exit(0)


def _serve(job: Mapping[str, Any], tell: Callable[[str, Mapping[str, object]], None]) -> None:
    from loadgen_generic.config import BenchmarkConfig
    from loadgen_generic.serving.loading import load
    from loadgen_generic.serving.service import Service

    service = Service(**job["service"])
    config = BenchmarkConfig.model_construct(**job["config"])
    sockets = service.listen()
    # kserve takes seconds to import, and a port that is taken is known before.
    from loadgen_generic.serving.server import run_server

    run_server(
        service,
        sockets,
        partial(load, config, job["model_path"]),
        lambda listening: tell("ready", asdict(listening)),
    )


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
