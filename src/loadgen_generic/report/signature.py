"""What a model is, and what it would be fed: ``loadgen-generic inspect``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment, for_provider
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.graph.summary import Summary, summarize
from loadgen_generic.machine import available_cores
from loadgen_generic.runners.layout import Layout
from loadgen_generic.tensors import SamplePlan, TensorSpec

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["inspect_model", "print_model", "tell"]

_STDERR = 2
_THERE = "import sys; sys.path[0] = sys.argv[1]; from loadgen_generic.report.signature import tell; tell()"
_WIDE = 10_000  # columns where nobody sees lines that are too long
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def inspect_model(config: BenchmarkConfig, model_path: str) -> dict[str, Any]:
    """Load a model as a run would, and describe it.

    Returns:
        What ``--json`` prints: ``path``, ``file_bytes``, ``external_bytes``, ``external_data``,
        ``parameters``, ``ir_version``, ``producer``, ``opsets``, ``operators``, ``inputs``,
        ``outputs``, ``batch_dim``, ``bytes_per_sample`` and ``notes``.

    Raises:
        RequestError: the file is no model, its weights are missing, or an input cannot be fed.
        RunError: ONNX Runtime cannot load it, or no environment has the execution provider.
    """
    environment = for_provider(config.execution_provider)
    if not environment.is_here:
        return _inspect_there(environment, config, model_path)
    summary = summarize(model_path)
    if summary is not None:
        _check_weights(summary, model_path)
    # Looking leaves nothing behind.
    config = config.model_copy(update={"optimized_cache": False})
    assembly = Assembly(config, model_path, available_cores())
    try:
        with _engine_silenced():
            alone = Layout("inline", 1, available_cores(), 1)
            _, signature = assembly.backend(alone)
            plan, notes = settle_plan(config, assembly, alone)
    finally:
        assembly.close()
    facts = asdict(summary) if summary is not None else {}
    external = facts.pop("external", {})
    return {
        "path": model_path,
        **facts,
        "external_data": external,
        "external_bytes": sum(external.values()),
        "inputs": [_input(spec, plan, at) for at, spec in enumerate(signature.inputs)],
        "outputs": [_tensor(spec) for spec in signature.outputs],
        "batch_dim": plan.batch_name,
        "bytes_per_sample": plan.bytes_per_sample,
        "notes": notes,
    }


def tell() -> None:
    """Inspect the model that standard input names, as a process started for that, and print what
    is found, or the error, as the last line."""
    job = json.loads(sys.stdin.readline())
    config = BenchmarkConfig.model_construct(**job["config"])
    try:
        answer: dict[str, Any] = {"model": inspect_model(config, job["model_path"])}
    except LoadgenGenericError as error:
        answer = {"exit_code": error.exit_code, "error": str(error)}
    print("\n" + json.dumps(answer))


def _inspect_there(
    environment: Environment, config: BenchmarkConfig, model_path: str
) -> dict[str, Any]:
    """The same, under the interpreter of another environment."""
    done = subprocess.run(
        [environment.python, "-c", _THERE, str(Path(__file__).resolve().parents[2])],
        input=json.dumps({"config": config.model_dump(), "model_path": model_path}) + "\n",
        capture_output=True,
        encoding="utf-8",
        env=environment.environ(),
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip().rpartition("\n")[2]
        raise RunError(f"{environment.in_words()} cannot inspect the model: {words}")
    answer = json.loads(done.stdout.strip().rpartition("\n")[2])
    if "error" in answer:
        kind = RequestError if answer["exit_code"] == RequestError.exit_code else RunError
        raise kind(answer["error"])
    model: dict[str, Any] = answer["model"]
    return {
        **model,
        "notes": [*model["notes"], f"loaded under {environment.in_words()}"],
    }


def print_model(model: dict[str, Any], stream: TextIO | None = None) -> None:
    """The same for people: coloured on a terminal, plain text elsewhere."""
    from rich.console import Console
    from rich.text import Text

    out = stream or sys.stdout
    terminal = out.isatty()
    console = Console(
        file=out, force_terminal=terminal, width=None if terminal else _WIDE, highlight=False
    )

    def line(name: str, text: str) -> None:
        console.print(Text(f"{name + ':':<12}", "bold"), Text(_printable(text)), soft_wrap=True)

    line("model", model["path"])
    size = _size(model["external_bytes"])
    external = f" and {size} in {', '.join(model['external_data'])}"
    if "file_bytes" in model:
        line("size", _size(model["file_bytes"]) + (external if model["external_data"] else ""))
        line("parameters", f"{model['parameters']:,}")
        line("opsets", ", ".join(f"{domain} {v}" for domain, v in model["opsets"].items()))
        line("made by", f"{model['producer'] or 'unknown'}, IR version {model['ir_version']}")
        counts = [f"{name} {count}" for name, count in model["operators"].items()]
        line("operators", ", ".join(counts) or "none")
    line("batch", model["batch_dim"])
    console.print(_table("input", model["inputs"], {"fed": "each sample is fed"}))
    console.print(_table("output", model["outputs"], {}))
    for note in model["notes"]:
        line("note", note)


def _check_weights(summary: Summary, model_path: str) -> None:
    missing = [name for name, size in summary.external.items() if size is None]
    if missing:
        raise RequestError(
            f"the model keeps weights in {', '.join(missing)}, which is missing.",
            flag="modelpath",
            value=model_path,
            remedy="Put it beside the model; the two belong together.",
        )


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = list(spec.shape) if spec.ranked else None
    return {"name": spec.name, "type": spec.element_type, "shape": shape}


def _input(spec: TensorSpec, plan: SamplePlan, at: int) -> dict[str, Any]:
    sample = plan.inputs[at]
    return {**_tensor(spec), "sample_shape": list(sample.shape), "fed": sample.describe()}


def _table(title: str, tensors: list[dict[str, Any]], more: dict[str, str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title, "type", "shape", *more.values(), box=SIMPLE_HEAD, pad_edge=False)
    for tensor in tensors:
        shape = tensor["shape"]
        dims = "any" if shape is None else "x".join("?" if d is None else str(d) for d in shape)
        cells = [tensor["name"], tensor["type"], dims or "scalar", *(tensor[key] for key in more)]
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    return table


def _printable(text: str) -> str:
    """Names in a model may hold anything, also what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _size(count: float) -> str:
    at = 0
    while count >= 1024 and at < len(_UNITS) - 1:
        count, at = count / 1024, at + 1
    return f"{count:.1f} {_UNITS[at]}" if at else f"{count:.0f} B"


@contextmanager
def _engine_silenced() -> Iterator[None]:
    """What the engine prints about guesses that failed is of no use to anyone: its errors are
    raised as well."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
