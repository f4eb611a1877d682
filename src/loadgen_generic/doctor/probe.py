"""What one environment is and whether a provider starts there; runs under that environment's
interpreter, in a process of its own, since what is broken may end it.

It reads a job as one line of JSON on standard input, ``{"model": path, "provider": name,
"options": {...}}`` (without a provider it only describes the environment), and writes one line of
JSON, see :func:`main`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from loadgen_generic.diagnosis import Finding, ProviderError
from loadgen_generic.errors import LoadgenGenericError

__all__ = ["main"]

_BEAR_ON_IT = ("numpy", "mlcommons-loadgen", "nvidia-ml-py", "cuda-bindings", "openvino")
_TOLERANCE = 0.05  # relative: a provider may compute in bfloat16


def main() -> None:
    """Entry point; prints ``onnxruntime``, ``packages`` and ``libraries`` of the environment, or
    of the provider ``starts``, ``seconds``, and if it does not start ``problem`` and ``remedy``."""
    # Native code prints where it likes; the answer keeps a channel of its own.
    story = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    answer = _try(job) if job.get("provider") else _describe()
    story.write(json.dumps(answer) + "\n")
    story.flush()
    os._exit(0)  # a library that crashes on its way out has answered before


def _describe() -> dict[str, Any]:
    from dataclasses import asdict

    from loadgen_generic.diagnosis.libraries import find_libraries
    from loadgen_generic.diagnosis.missing import find_lacking

    versions = {}
    for name in _BEAR_ON_IT:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    here = find_libraries()
    told: dict[str, Any] = {
        "packages": versions,
        "libraries": [asdict(library) for library in here],
    }
    try:
        from loadgen_generic.backends.installed import describe_installed

        runtime = told["onnxruntime"] = describe_installed()
    except ImportError as error:
        return told | _as_answer(_of_import(error))
    cuda = str(runtime["cuda"])
    return told | _as_answer(find_lacking(cuda, here) if cuda else None)


def _try(job: Mapping[str, Any]) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        found = _answers(job)
    except ProviderError as error:
        found = error.finding
    except ImportError as error:
        found = _of_import(error)
    except LoadgenGenericError as error:
        found = Finding(str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user has to know
        import traceback

        traceback.print_exception(error)
        found = _of_error(job["provider"], error)
    return {"seconds": time.perf_counter() - begin, **_as_answer(found)}


def _answers(job: Mapping[str, Any]) -> Finding | None:
    """Load the model on the provider and ask it once, as a run would."""
    import numpy as np

    from loadgen_generic.backends import BackendSpec, create_backend
    from loadgen_generic.models.smallest import SHAPE, expected
    from loadgen_generic.seams import Batch

    options = job.get("options", {})
    spec = BackendSpec(
        "onnxruntime", job["model"], job["provider"], 1, 1, "sequential", provider_options=options
    )
    backend = create_backend(spec)
    backend.load()
    worker = backend.worker()
    values = np.linspace(0.5, 1.5, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
    worker.infer(Batch(1, (values,)))
    (answer,) = worker.outputs()
    if np.allclose(answer, expected(values), rtol=_TOLERANCE):
        return None
    return Finding(
        "It starts and answers wrongly: a convolution and an addition have another result than on "
        "paper.",
        "Try another version of ONNX Runtime or of the driver.",
    )


def _of_import(error: ImportError) -> Finding:
    name = error.name or "a module"
    remedy = f"Install it there: {sys.executable} -m pip install {name}."
    return Finding(f"{name} cannot be imported: {error}.", remedy)


def _of_error(provider: str, error: Exception) -> Finding:
    from loadgen_generic.diagnosis import explain_failure

    text = str(error) or type(error).__name__
    return Finding(explain_failure(provider, text) or text)


def _as_answer(found: Finding | None) -> dict[str, Any]:
    if found is None:
        return {"starts": True, "problem": "", "remedy": ""}
    return {"starts": False, "problem": found.problem, "remedy": found.remedy}
