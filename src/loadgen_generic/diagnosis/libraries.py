"""Which of NVIDIA's libraries are here, told from the names of their files: nothing is loaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CUDA", "CUDNN", "TENSORRT", "Library", "find_libraries"]

CUDA, CUDNN, TENSORRT = "CUDA", "cuDNN", "TensorRT"
# The file that stands for each; cuBLAS for CUDA, since a runtime alone runs no model.
_FILES = {CUDA: ("cublasLt", "cudart"), CUDNN: ("cudnn",), TENSORRT: ("nvinfer",)}
_LINUX = re.compile(r"lib(\w+)\.so\.([\d.]+)")
_WINDOWS = re.compile(r"(\w+?)(?:64)?_(\d+)\.dll", re.IGNORECASE)
_LDCONFIG_TIMEOUT_SEC = 10


@dataclass(frozen=True, slots=True)
class Library:
    """One library that is here.

    Attributes:
        kind: ``CUDA``, ``cuDNN`` or ``TensorRT``.
        name: of its file without version, such as ``cublasLt``.
        version: as far as the file's name tells.
        path: of the file.
        loadable: whether it lies where the loader or ONNX Runtime's own preloading looks.
    """

    kind: str
    name: str
    version: str
    path: str
    loadable: bool

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


def find_libraries() -> list[Library]:
    """The libraries of CUDA, cuDNN and TensorRT that this Python could use or nearly could, those
    that it would load first."""
    kinds = {name.lower(): kind for kind, names in _FILES.items() for name in names}
    found: dict[Path, Library] = {}
    for file, loadable in _files():
        match = (_WINDOWS if sys.platform == "win32" else _LINUX).fullmatch(file.name)
        if match is None or match[1].lower() not in kinds:
            continue
        real = file.resolve()
        # The file that a link leads to has more of the version in its name.
        told = (_WINDOWS if sys.platform == "win32" else _LINUX).fullmatch(real.name) or match
        library = Library(kinds[match[1].lower()], match[1], told[2], str(file), loadable)
        found.setdefault(real, library)
    return list(found.values())


def _files() -> Iterator[tuple[Path, bool]]:
    """Files that may be such libraries, and whether they lie where they would be found."""
    path_variable = "PATH" if sys.platform == "win32" else "LD_LIBRARY_PATH"
    searched = os.environ.get(path_variable, "").split(os.pathsep)
    for named in filter(None, searched):
        yield from ((file, True) for file in _within(Path(named)))
    yield from ((file, True) for file in _known_to_ldconfig())
    if Path(sys.prefix, "conda-meta").is_dir():  # its Python looks beside itself
        inner = "Library/bin" if sys.platform == "win32" else "lib"
        yield from ((file, True) for file in _within(Path(sys.prefix, inner)))
    for packages in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib"))):
        for directory in Path(packages).glob("nvidia/*"):
            for inner in ("lib", "bin", "bin/x86_64"):
                yield from ((file, True) for file in _within(directory / inner))
        yield from ((file, True) for file in _within(Path(packages) / "tensorrt_libs"))
    for directory in _toolkits():
        for inner in ("lib64", "lib", "bin", "bin/x64"):
            yield from ((file, False) for file in _within(directory / inner))


def _toolkits() -> list[Path]:
    """Where CUDA is installed by itself."""
    named = [os.environ[name] for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)]
    return [*map(Path, named), *sorted(Path("/usr/local").glob("cuda*"))]


def _within(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # not there, or not for us
        return []


def _known_to_ldconfig() -> list[Path]:
    program = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if program is None:
        return []
    try:
        listed = subprocess.run(
            [program, "-p"],
            capture_output=True,
            text=True,
            timeout=_LDCONFIG_TIMEOUT_SEC,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [Path(line.partition("=>")[2].strip()) for line in listed.splitlines() if "=>" in line]
