"""The parent: one LoadGen test in one child process.

LoadGen is global to a process, cannot be stopped and aborts the process when something goes
wrong, so it runs in a child that this module starts, watches and, if need be, ends. Whatever
the child does, the caller gets a result or one clear error, and files already written stay.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadgen_generic.child import Observer, SilentObserver, run_child
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RequestError, RunError
from loadgen_generic.results.result import Result, write_json
from loadgen_generic.rundir import cache_dir, claim_run_dir

__all__ = ["ERROR_FILE", "find_model", "requested", "run"]

ERROR_FILE = "error.json"
_REQUEST = "request.json"
_MOST_ATTEMPTS = 3


def run(config: BenchmarkConfig, observer: Observer | None = None) -> Result:
    """Measure a model and write ``result.json`` and LoadGen's logs into a directory of their own.

    Args:
        config: what to run.
        observer: told of notes and progress; silent by default.

    Raises:
        RequestError: the request cannot be carried out as it stands.
        RunError: the run failed.
        InterruptedRunError: SIGTERM or Ctrl-C.
    """
    observer = observer or SilentObserver()
    with _interruptible():
        model_path = find_model(config)
        _check_verify(config.verify)
        run_dir = claim_run_dir(config.output_dir, f"{_name(config)}-{config.scenario}")
        write_json(run_dir / _REQUEST, requested(config))
        try:
            result = _run_until_long_enough(config, model_path, run_dir, observer)
        except KeyboardInterrupt:
            error = InterruptedRunError(f"interrupted; what was written is in {run_dir}")
            _write_error(run_dir, error)
            raise error from None
        except LoadgenGenericError as error:
            _write_error(run_dir, error)
            raise
        write_json(result.path, result.model_dump())
        return result


def _run_until_long_enough(
    config: BenchmarkConfig, model_path: str, run_dir: Path, observer: Observer
) -> Result:
    """Run the test, and again if it was too short because our own probe, on a machine that
    was busy just then, thought the model slower than it is."""
    from loadgen_generic.results.build import build_result, set_logs_aside

    tried = config
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        started_at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        facts = run_child(tried, model_path, run_dir, observer)
        result, flags = build_result(config, requested(config), facts, run_dir, started_at)
        ours_to_mend = config.loadgen_expected_qps is None and set(flags) == {
            "loadgen_expected_qps"
        }
        if result.valid is not False or not ours_to_mend or attempt == _MOST_ATTEMPTS:
            break
        rate = float(flags["loadgen_expected_qps"])
        observer.note(
            f"the test took {result.duration_s:.1f} s only, since the model is faster than the "
            f"probe found; again, for {rate:g} samples/s"
        )
        set_logs_aside(run_dir, attempt)
        tried = config.model_copy(update={"loadgen_expected_qps": rate})
    return result


def requested(config: BenchmarkConfig) -> dict[str, Any]:
    """The options that the user gave, without the defaults."""
    return config.model_dump(exclude_unset=True)


def find_model(config: BenchmarkConfig) -> str:
    """The path of the model file; empty for a backend that needs none."""
    if config.model_path is not None:
        path = Path(config.model_path).expanduser()
        if not path.is_file():
            raise RequestError(
                "there is no such file." if not path.is_dir() else "this is a directory.",
                flag="modelpath",
                value=config.model_path,
                remedy="Give the path of an ONNX model.",
            )
        return str(Path(os.path.abspath(path)))
    if config.model is not None:
        from loadgen_generic.models import builtin_model

        try:
            return str(builtin_model(config.model, cache_dir()))
        except OSError as error:
            raise RunError(
                f"cannot keep the built model in {cache_dir()}: {error.strerror}. Set "
                "LOADGEN_GENERIC_CACHE to a directory that can be written to."
            ) from None
    if config.backend == "fake":
        return ""
    raise RequestError(
        "no model was named. Give the path of an ONNX model (--model_path FILE), or --model demo "
        "for a ResNet-50 that is built on the spot."
    )


def _check_verify(against: str | None) -> None:
    if against in (None, "data", "reference") or Path(against).is_file():
        return
    raise RequestError(
        "this is neither data nor reference, and there is no such file.",
        flag="verify",
        value=against,
        remedy="Give one of these words, or the path of an ONNX model.",
    )


def _name(config: BenchmarkConfig) -> str:
    if config.model_path is not None:
        return Path(config.model_path).stem
    return config.model or config.backend


def _write_error(run_dir: Path, error: LoadgenGenericError) -> None:
    write_json(run_dir / ERROR_FILE, {"exit_code": error.exit_code, "error": str(error)})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does. Signals reach only the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
