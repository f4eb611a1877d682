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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loadgen_generic.child import Lookout, Observer, SilentObserver, run_child
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.remote import masked_headers
from loadgen_generic.environments import Environment, environment_with, for_provider, here
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RequestError, RunError
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.results.result import Result, write_json
from loadgen_generic.rundir import cache_dir, claim_run_dir
from loadgen_generic.settings import check_files, rate_given

__all__ = [
    "ERROR_FILE",
    "check_request",
    "find_environment",
    "find_model",
    "interruptible",
    "requested",
    "run",
    "run_name",
    "write_error",
]

ERROR_FILE = "error.json"
_REQUEST = "request.json"
_MOST_ATTEMPTS = 3


def run(
    config: BenchmarkConfig,
    observer: Observer | None = None,
    run_dir: Path | None = None,
    lookout: Lookout | None = None,
) -> Result:
    """Run one test and write ``result.json`` and LoadGen's logs into a directory of their own.

    Args:
        config: what to run; one run, whatever it says of repetitions and searches.
        observer: told of notes and progress; silent by default.
        run_dir: where to, if it is claimed already; else as ``output_dir`` says.
        lookout: may end the test.

    Raises:
        RequestError: the request cannot be carried out as it stands.
        RunError: the run failed.
        InterruptedRunError: SIGTERM or Ctrl-C.
    """
    observer = observer or SilentObserver()
    with interruptible():
        model_path = check_request(config)
        environment = find_environment(config)
        run_dir = run_dir or claim_run_dir(config.output_dir, run_name(config))
        try:
            write_json(run_dir / _REQUEST, requested(config))
            result = _run_until_long_enough(
                config, model_path, run_dir, observer, environment, lookout
            )
            write_json(result.path, result.model_dump())
        except KeyboardInterrupt:
            error = InterruptedRunError(f"interrupted; what was written is in {run_dir}")
            write_error(run_dir, error)
            raise error from None
        except LoadgenGenericError as error:
            write_error(run_dir, error)
            raise
        except OSError as error:
            failed = RunError(
                f"cannot write in {run_dir}: {error.strerror or error}. Make room there or choose "
                "another --output_dir."
            )
            write_error(run_dir, failed)
            raise failed from None
        return result


def _run_until_long_enough(
    config: BenchmarkConfig,
    model_path: str,
    run_dir: Path,
    observer: Observer,
    environment: Environment,
    lookout: Lookout | None,
) -> Result:
    """Run the test, and again if it was too short because our own probe, on a machine that
    was busy just then, thought the model slower than it is."""
    from loadgen_generic.results.build import build_result, set_logs_aside

    tried = config
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        started_at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        facts = run_child(tried, model_path, run_dir, observer, environment, lookout)
        result, flags = build_result(config, requested(config), facts, run_dir, started_at)
        ours_to_mend = not rate_given(config) and set(flags) == {"loadgen_expected_qps"}
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
    """The options that the user gave, without the defaults, as they may be written down."""
    given = config.model_dump(exclude_unset=True)
    if config.header is not None:
        given["header"] = masked_headers(config.header)
    return given


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
    if config.backend in ("fake", "kserve"):
        return ""
    raise RequestError(
        "no model was named. Give the path of an ONNX model (--model_path FILE), or --model demo "
        "for a ResNet-50 that is built on the spot."
    )


def find_environment(config: BenchmarkConfig) -> Environment:
    """The environment whose interpreter measures.

    Raises:
        RunError: none has the execution provider, or Ray where it is asked for, or the one that does
            cannot be used.
    """
    usual, provider = here(), None
    if config.backend == "onnxruntime":
        provider = config.execution_provider
        usual = for_provider(provider, config.allow_fallback)
    if config.runner != "ray":
        return usual
    return environment_with("ray", "ray", usual, provider, "--runner ray")


def check_request(config: BenchmarkConfig) -> str:
    """Look for what makes a run impossible before anything is written; returns the model's path.

    Raises:
        RequestError: a file is missing, or options cannot be carried out.
        RunError: no environment has the execution provider.
    """
    model_path = find_model(config)
    find_environment(config)
    _check_verify(config.verify)
    _check_bound(config)
    _check_remote(config)
    check_files(config)
    return model_path


def _check_verify(against: str | None) -> None:
    if against in (None, "data", "reference") or Path(against).is_file():
        return
    raise RequestError(
        "this is neither data nor reference, and there is no such file.",
        flag="verify",
        value=against,
        remedy="Give one of these words, or the path of an ONNX model.",
    )


def _check_bound(config: BenchmarkConfig) -> None:
    if config.scenario == "MultiStream" and config.target_latency_ms is not None:
        raise RequestError(
            "LoadGen bounds no latency in MultiStream, and reports the percentile instead.",
            flag="target_latency_ms",
            value=f"{config.target_latency_ms:g}",
            remedy="Leave it out, or search for the most samples that meet it: --mode find_peak.",
        )


def _check_remote(config: BenchmarkConfig) -> None:
    if config.tls_ca is not None and not Path(config.tls_ca).expanduser().is_file():
        raise RequestError("there is no such file.", flag="tls_ca", value=config.tls_ca)
    if config.backend != "kserve":
        return
    usual = BenchmarkConfig.model_fields["execution_provider"].default
    if facts_of(config.execution_provider).name != usual:
        raise RequestError(
            "with --backend kserve the server has the execution provider.",
            flag="ep",
            value=config.execution_provider,
            remedy="Leave it out.",
        )
    reference = config.verify == "reference"
    if reference and config.model_path is None and config.model is None:
        raise RequestError(
            "the model is on a server, and its file is not known here.",
            flag="verify",
            value="reference",
            remedy="Name the file with --modelpath, or give it in place of the word reference.",
        )


def run_name(config: BenchmarkConfig) -> str:
    """What is run, for the name of a directory that the user did not name."""
    model = Path(config.model_path).stem if config.model_path else config.model or config.backend
    return f"{model}-{config.scenario}"


def write_error(run_dir: Path, error: LoadgenGenericError) -> None:
    """Leave word of why there is no result."""
    with suppress(OSError):  # where the error is that nothing can be written
        write_json(run_dir / ERROR_FILE, {"exit_code": error.exit_code, "error": str(error)})


@contextmanager
def interruptible() -> Iterator[None]:
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
