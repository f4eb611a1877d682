"""The typed result and its file, ``result.json``.

History of the format:

1  first version.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from loadgen_generic.errors import RequestError

__all__ = ["RESULT_FILE", "SCHEMA_VERSION", "Metric", "Result", "read_result", "write_json"]

SCHEMA_VERSION = 1
RESULT_FILE = "result.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Metric(_Record):
    """The headline: LoadGen's own key, its value as logged, and the unit."""

    name: str
    value: float
    unit: str


class ConfigPair(_Record):
    """What the user asked for, and every option as it was in force."""

    requested: dict[str, Any]
    effective: dict[str, Any]


class ModelFacts(_Record):
    """Inputs and outputs as ``name: type[shape]``; the hash is empty for a model without file."""

    path: str
    sha256: str
    inputs: list[str]
    outputs: list[str]


class Result(_Record):
    """One finished LoadGen test.

    Attributes:
        valid: whether the numbers stand; ``invalid_reasons`` says why not.
        verdict: the result in one sentence.
        next_command: the command line to try next; empty if valid.
        latency_ns: ``min``, ``mean``, ``max``, ``p50`` ... ``p99.9``, in ns.
        duration_s: from the first query to the last answer.
        notes: the arithmetic behind the test's size.
        loadgen_logs: name to path of LoadGen's own files.
    """

    schema_version: int = SCHEMA_VERSION
    started_at: str
    scenario: str
    mode: str
    valid: bool
    invalid_reasons: list[str]
    verdict: str
    next_command: str
    metric: Metric
    latency_ns: dict[str, int]
    samples_completed: int
    queries_completed: int
    duration_s: float
    config: ConfigPair
    notes: list[str]
    model: ModelFacts
    providers: list[str]
    host: dict[str, Any]
    packages: dict[str, str]
    output_dir: str
    loadgen_logs: dict[str, str]

    @property
    def path(self) -> Path:
        return Path(self.output_dir) / RESULT_FILE


def write_json(path: Path, content: object) -> None:
    """Write aside and rename, so that a reader finds the whole file or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


def read_result(path: Path) -> Result:
    """Read a ``result.json`` or the one in a directory.

    Raises:
        RequestError: it is missing, damaged, or of a version that this package does not know.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read a result from {file}: {error.strerror}.") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"{file} is not a result: {error}.") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{file} has schema_version {version}; this package reads {SCHEMA_VERSION}."
        )
    return Result.model_validate(content)
