"""What an environment holds, read from its directories."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path

from loadgen_generic.provider_facts import PROVIDERS, facts_of

__all__ = ["NEEDED", "Environment", "here", "read"]

# What the measured process imports besides ONNX Runtime: distribution to module.
NEEDED: Mapping[str, str] = {
    "ml-dtypes": "ml_dtypes",
    "mlcommons-loadgen": "mlperf_loadgen",
    "numpy": "numpy",
    "onnx": "onnx",
    "psutil": "psutil",
    "pydantic": "pydantic",
}
_HERE = "this Python"
_ONNXRUNTIMES = ("onnxruntime*.dist-info", "ort_nightly*.dist-info")
_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", re.MULTILINE)
_FOLDER_VERSION = re.compile(r"python(\d+)\.(\d+)$")


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter and the ONNX Runtime that it would import.

    Attributes:
        name: of its directory, without ``.venv-``; ``this Python`` for the running one.
        python: the interpreter.
        packages: distributions that bring the module ``onnxruntime``, with their versions; more
            than one is a broken environment, since they overwrite each other's files.
        providers: short names of the providers in ``PROVIDERS`` that these packages have.
        version: of Python, major and minor; None where no file tells.
        missing: distributions in ``NEEDED`` that were not found.
    """

    name: str
    python: Path
    packages: Mapping[str, str]
    providers: frozenset[str] = field(default=frozenset())
    version: tuple[int, int] | None = None
    missing: tuple[str, ...] = ()

    @property
    def is_here(self) -> bool:
        return self.name == _HERE

    def has(self, provider: str) -> bool:
        """Whether its ONNX Runtime has a provider; of one that nobody knows, only that there is
        an ONNX Runtime to ask."""
        facts = facts_of(provider)
        return bool(self.packages) and (not facts.package or facts.short in self.providers)

    def described(self) -> str:
        """Its packages in words: ``onnxruntime-openvino 1.24.1``."""
        return " and ".join(f"{name} {version}" for name, version in self.packages.items())

    def in_words(self) -> str:
        """Which it is, where, and with what."""
        return (
            f"the environment {self.name} ({self.python}, {self.described() or 'no ONNX Runtime'})"
        )

    def environ(self) -> dict[str, str]:
        """The variables that its interpreter starts with: ours, less those that belong to ours."""
        alien = () if self.is_here else ("PYTHONHOME", "__PYVENV_LAUNCHER__")
        return {name: value for name, value in os.environ.items() if name not in alien}


def here() -> Environment:
    """The environment of the running interpreter."""
    sites = [Path(entry) for entry in sys.path if entry]
    packages, providers = _onnxruntimes(sites)
    if not packages and importlib.util.find_spec("onnxruntime") is not None:
        # Built on the spot and put on the path: it has to be asked what it has.
        packages, providers = {"onnxruntime": "unknown"}, frozenset(f.short for f in PROVIDERS)
    missing = (name for name, module in NEEDED.items() if not importlib.util.find_spec(module))
    version = (sys.version_info.major, sys.version_info.minor)
    return Environment(_HERE, Path(sys.executable), packages, providers, version, tuple(missing))


def read(directory: Path, name: str) -> Environment | None:
    """The environment in a directory; None where there is none."""
    python = _python_in(directory)
    if python is None:
        return None
    sites = list(_sites(directory))
    packages, providers = _onnxruntimes(sites)
    missing = [
        name
        for name in NEEDED
        if not any(list(site.glob(f"{name.replace('-', '_')}-*.dist-info")) for site in sites)
    ]
    return Environment(
        name, python, packages, providers, _version(directory, sites), tuple(missing)
    )


def _python_in(directory: Path) -> Path | None:
    for place in ("bin/python", "Scripts/python.exe", "python.exe"):
        if (directory / place).is_file():
            return directory / place
    return None


def _sites(directory: Path) -> Iterator[Path]:
    """Its site-packages; lib64 is often the same as lib."""
    seen = set()
    for pattern in ("lib*/python3*/site-packages", "Lib/site-packages"):
        for site in sorted(directory.glob(pattern)):
            if site.resolve() not in seen:
                seen.add(site.resolve())
                yield site


def _version(directory: Path, sites: Iterable[Path]) -> tuple[int, int] | None:
    try:
        told = _VERSION.search((directory / "pyvenv.cfg").read_text(encoding="utf-8"))
    except OSError:
        told = None
    for site in sites:
        told = told or _FOLDER_VERSION.search(site.parent.name)
    return (int(told[1]), int(told[2])) if told is not None else None


def _onnxruntimes(sites: Iterable[Path]) -> tuple[dict[str, str], frozenset[str]]:
    """The distributions that bring ``onnxruntime``, and the providers that they have."""
    packages: dict[str, str] = {}
    providers: set[str] = set()
    for site in sites:
        for pattern in _ONNXRUNTIMES:
            for info in sorted(site.glob(pattern)):
                distribution = Distribution.at(info)
                files = distribution.read_text("RECORD")
                # Others, such as onnxruntime-extensions, bring modules of their own.
                if files is not None and not re.search(
                    r"^onnxruntime/__init__\.py,", files, re.MULTILINE
                ):
                    continue
                name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
                packages.setdefault(name, distribution.version)
                providers |= _providers(name, files or "")
    return packages, frozenset(providers)


def _providers(package: str, files: str) -> set[str]:
    """By the package's name, or by the provider's own library in a package of another name."""
    return {"cpu"} | {
        facts.short
        for facts in PROVIDERS
        if facts.package == package or f"onnxruntime_providers_{facts.short}." in files
    }
