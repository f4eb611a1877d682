"""The house: rooms on floors, small modules, one importer of LoadGen, a light child."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import loadgen_generic
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.progress import Progress

ROOT = Path(loadgen_generic.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
LONGEST = 300

# A room imports only from floors below its own, and from itself. Fractions are half-storeys:
# rooms of one floor where one still stands on the other.
FLOORS = {
    "errors": 0,
    "hashing": 0,
    "notation": 0,
    "elements": 0,
    "option": 0,
    "early_stopping": 0,
    "progress": 0,
    "machine": 0,
    "callbacks": 0,
    "native": 0,
    "provider_facts": 0,
    "diagnosis": 0.1,
    "conditions": 0.1,
    "": 0.5,  # the package itself; what else it names it resolves on first use
    "values": 0.3,
    "wording": 0,
    "tensors": 0.5,
    "shapes": 0.6,
    "config": 0.65,
    "rundir": 0.5,
    "environments": 0.6,
    "devices": 0.7,
    "flags": 0.7,
    "models": 1,
    "graph": 1,
    "seams": 1,
    "placed": 1.2,
    "pulse": 1.5,
    "backends": 1.5,
    "cluster": 1.3,
    "samples": 1.5,
    "conf": 0.6,
    "passes": 2,
    "remote": 2.1,
    "settings": 2,
    "runners": 2.1,
    "results": 2.1,
    "answers": 2.2,
    "loadgen": 2.5,
    "fitting": 2.6,
    "assembly": 2.8,
    "feed": 2.9,
    "nodes": 3.55,
    "replication": 2.7,
    "quantization": 2.95,
    "benchmark": 3.6,
    "telemetry": 3.5,
    "child": 4,
    "supervisor": 4.1,
    "serving": 4.5,
    "report": 5,
    "campaigns": 5.5,
    "doctor": 3.5,
    "commands": 5.8,
    "cli": 6,
    "request": 6,
}
# The rooms that a query goes through know each other by protocol only.
STRANGERS = {"loadgen", "runners", "backends", "samples"}


def room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a module imports at run time, wherever in it."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            if module == "loadgen_generic":
                yield from (f"{module}.{name.name}" for name in node.names)
            else:
                yield module


def rooms_of(path: Path) -> set[str]:
    """The rooms of our own that a module imports from."""
    found = set()
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "loadgen_generic":
            candidate = rest.partition(".")[0]
            known = (ROOT / candidate).is_dir() or (ROOT / f"{candidate}.py").exists()
            found.add(candidate if known else "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "a module says what it is for"
    own = room(path)
    assert own in FLOORS, f"{own} has no floor: add it to FLOORS"
    for other in rooms_of(path) - {own}:
        assert FLOORS[other] < FLOORS[own], f"{own} imports {other}, which is not below it"
    if own in STRANGERS:
        assert not (rooms_of(path) - {own}) & STRANGERS


def test_no_circle_inside_a_room() -> None:
    graph = {
        path: {
            target
            for name in imports(path)
            if (target := ROOT.parent / (name.replace(".", "/") + ".py")) in MODULES
        }
        for path in MODULES
    }

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " -> ".join(p.name for p in (*trail, path))
        for target in graph[path]:
            visit(target, (*trail, path))

    for path in MODULES:
        visit(path, ())


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        ("mlperf_loadgen", {"loadgen"}),
        ("onnxruntime", {"backends", "quantization"}),
        ("rich", {"report"}),
        ("vl_convert", {"report"}),
        ("pynvml", {"telemetry"}),
        ("optuna", {"campaigns"}),
        ("tritonclient", {"backends"}),
        ("ray", {"cluster"}),
        ("onnx", {"answers", "graph", "models", "quantization", "samples"}),
    ],
)
def test_who_imports_a_library(library: str, importers: set[str]) -> None:
    found = {
        room(path) for path in MODULES for name in imports(path) if name.split(".")[0] == library
    }
    assert found <= importers
    assert library == "onnx" or found == importers


def test_nobody_imports_the_module_that_empties_loadgen() -> None:
    assert not any("mlcommons_loadgen" in set(imports(path)) for path in MODULES)


LOADED = """
import sys
from loadgen_generic.benchmark import main
import os
sys.stdin = open(sys.argv[1])
real = os._exit
def leave(code):
    print("LOADED", *sorted(sys.modules), file=sys.stderr)
    sys.stderr.flush()
    real(code)
os._exit = leave
from loadgen_generic import benchmark
benchmark._end_with_supervisor = lambda: None
main()
"""


def test_the_measured_process_is_light(tmp_path: Path) -> None:
    """What it does not need, it does not load: its memory and its start are measured."""
    Progress.create(tmp_path / "progress")
    config = BenchmarkConfig.model_validate({"backend": "fake", "samples": 5})
    job = {
        "config": config.model_dump(),
        "model_path": "",
        "run_dir": str(tmp_path),
        "progress": str(tmp_path / "progress"),
    }
    (tmp_path / "job").write_text(json.dumps(job) + "\n")
    child = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path / "job")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    loaded = set(child.stderr.partition("LOADED ")[2].split())
    assert "mlperf_loadgen" in loaded
    assert not loaded & {
        "rich",
        "onnx",
        "argparse",
        "onnxruntime",
        "pynvml",
        "vl_convert",
        "loadgen_generic.cli",
        "loadgen_generic.telemetry",
    }
