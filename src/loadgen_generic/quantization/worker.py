"""The process that quantises: reads a job as one line of JSON on standard input, tells its story
as lines of JSON on standard output, and ends when standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.errors import LoadgenGenericError, plain_words

__all__ = ["main"]

Tell = Callable[..., None]


def main() -> None:
    """Entry point. Of a job it needs ``config``, ``model_path``, ``target`` (the file to make, in
    a directory for it alone) and ``seven_bits``."""
    # The libraries print where they like; the story keeps a channel of its own.
    story = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(event: str, **content: object) -> None:
        story.write(json.dumps({"event": event, **content}) + "\n")
        story.flush()

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    try:
        tell("made", **_make(job, tell))
    except LoadgenGenericError as error:
        tell("error", exit_code=error.exit_code, message=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller must know
        traceback.print_exc()
        tell("error", exit_code=1, message=_in_words(error, job["model_path"]))
    sys.stderr.flush()
    os._exit(0)  # a library that crashes on its way out has answered before


def _make(job: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    from loadgen_generic.config import BenchmarkConfig
    from loadgen_generic.quantization.calibration import Calibration
    from loadgen_generic.quantization.static import prepare, quantize

    def beat() -> None:
        tell("beat")

    target = Path(job["target"])
    tempfile.tempdir = str(target.parent)  # ONNX Runtime's own copies of the model
    config = BenchmarkConfig.model_construct(**job["config"])
    calibration = Calibration(config, job["model_path"], beat)
    prepared = prepare(job["model_path"], target.parent)
    beat()
    calibration.load()
    count = calibration.count
    tell("doing", what=f"quantising to int8: {count} calibration samples")
    how = quantize(job["model_path"], prepared, target, calibration, job["seven_bits"], beat)
    return {**how, "samples": count, "samples_are": calibration.words}


def _in_words(error: BaseException, model_path: str) -> str:
    text = plain_words(str(error)) or type(error).__name__
    if isinstance(error, MemoryError) or "bad_alloc" in text or "allocate memory" in text.lower():
        return f"out of memory while {model_path} was quantised to int8: {text}"
    return f"ONNX Runtime cannot quantise {model_path} to int8: {text}"


def _end_with_supervisor() -> None:
    sys.stdin.read()
    os._exit(1)
