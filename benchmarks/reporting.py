"""What every benchmark says and asks alike: where it works, where its JSON goes, on which machine
it ran."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import REPOSITORY

from loadgen_generic.machine import describe_host, describe_packages

__all__ = ["add_output", "add_work", "circumstances", "machine_slug", "write"]


def add_work(parser: argparse.ArgumentParser, what: str = "models and scratch") -> None:
    """The flag ``--work``; ``what`` is what goes there."""
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / ".cm" / "bench", help=f"{what} (.cm/bench)"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """The flag ``--output``."""
    parser.add_argument(
        "--output",
        type=Path,
        default=REPOSITORY / "benchmarks" / "results",
        help="where the JSON goes (benchmarks/results)",
    )


def circumstances() -> dict[str, Any]:
    """When, on what machine (without its name), with which packages, at which commit."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {name: value for name, value in describe_host().items() if name != "name"},
        "load_average_at_end": os.getloadavg(),
        "packages": describe_packages(),
        "commit": _commit(),
    }


def machine_slug(name: str = "") -> str:
    """A machine in a file name: what it computes on, by default its processor and cores."""
    machine = describe_host()
    name = name or f"{machine['cpu']}-{machine['cores_available']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or platform.machine()


def write(report: Mapping[str, Any], path: Path) -> Path:
    """The report as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)
    return path


def _commit() -> str:
    """The commit of the checkout; empty where it is none, such as a copy."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
