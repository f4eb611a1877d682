"""A library that a provider needs is missing, or is one of another version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

from loadgen_generic.diagnosis.driver import Driver, find_driver
from loadgen_generic.diagnosis.finding import Finding
from loadgen_generic.diagnosis.libraries import CUDA, CUDNN, TENSORRT, Library, find_libraries
from loadgen_generic.diagnosis.remedies import DRIVER, get_environment, get_libraries
from loadgen_generic.provider_facts import facts_of

__all__ = ["find_lacking", "find_missing"]

_MISSING = (
    re.compile(r"(?P<file>lib(?P<name>\w+)\.so(?:\.(?P<major>\d+))?[\w.]*): cannot open shared"),
    # Only the names in between are in the language of the system.
    re.compile(r'"(?P<file>(?P<name>\w+?)(?:64)?(?:_(?P<major>\d+))?\.dll)" which is missing'),
    re.compile(r"dlopen failed for (?P<file>lib(?P<name>\w+)\.so(?:\.(?P<major>\d+))?)"),
)
_NO_NAME = re.compile(
    r'LoadLibrary failed with error 126 .*?"[^"]*onnxruntime_providers_(\w+)\.dll'
)
_UNFIT = re.compile(
    r"undefined symbol: (?P<symbol>\w+)(?:, version (?P<file>lib\S+))?"
    r"|(?P<path>\S+): version `(?P<version>[^']+)' not found"
)
_REQUIRED = re.compile(r"Require cuDNN (?P<cudnn>\d+)\S* and CUDA (?P<cuda>\d+)")
_DRIVER_SYMBOL = re.compile(r"cu[A-Z]")  # of CUDA's libraries only the driver's begin so
_DRIVERS = ("cuda", "nvcuda")
_CUDNN_MAJOR = "9"  # of every onnxruntime-gpu since 1.18.1
_CUDNN, _TENSORRT = ("cudnn",), ("nvinfer", "nvonnxparser")
_CUDA = ("cublas", "cudart", "cufft", "curand", "nvrtc")
# cuFFT has numbers of its own; cuRAND's says nothing of CUDA's.
_CUDA_OF_CUFFT = {"10": "11", "11": "12", "12": "13"}


def find_missing(provider: str, said: str) -> Finding | None:
    """Which library is missing or of the wrong version, and what is here in its place.

    Args:
        provider: ONNX Runtime's name.
        said: what ONNX Runtime and the libraries printed.
    """
    for pattern in _MISSING:
        if match := pattern.search(said):
            return _absent(provider, match["file"], match["name"], match["major"] or "", said)
    if match := _UNFIT.search(said):
        return _unfit(provider, match)
    if (match := _NO_NAME.search(said)) and facts_of(provider).cards:
        needed = _required(said)
        return Finding(
            f"Windows did not say which library is missing; ONNX Runtime needs {needed} and the "
            f"newest Visual C++ runtime.{_instead(find_libraries())}",
            get_libraries(_version()),
        )
    return None


def find_lacking(cuda: str, here: Sequence[Library]) -> Finding | None:
    """What an onnxruntime-gpu was built for and cannot load, told without trying.

    Args:
        cuda: that it was built for, such as ``13.0``.
        here: what there is.
    """
    needed = {CUDA: cuda.partition(".")[0], CUDNN: _CUDNN_MAJOR}
    # CUDA's runtime alone, without cuBLAS, runs no model.
    usable = {(x.kind, x.major) for x in here if x.loadable and x.name != "cudart"}
    lacking = [f"{kind} {major}" for kind, major in needed.items() if (kind, major) not in usable]
    if not lacking:
        return None
    built = " and ".join(f"{kind} {major}" for kind, major in needed.items())
    return Finding(
        f"{_package()} is built for {built}; {' and '.join(lacking)} cannot be loaded."
        f"{_instead(here)}",
        get_libraries(_version()),
    )


def _absent(provider: str, file: str, name: str, major: str, said: str) -> Finding:
    if name in _DRIVERS:
        return Finding(f"There is no NVIDIA driver: {file} is missing.", DRIVER)
    if name.startswith(_CUDNN):
        return _absent_of_three(provider, CUDNN, file, major or _CUDNN_MAJOR)
    if name.startswith(_TENSORRT):
        return _absent_of_three(provider, TENSORRT, file, major)
    if name.startswith(_CUDA):
        if name.startswith("cufft"):
            major = _CUDA_OF_CUFFT.get(major, "")
        if name.startswith("curand") or not major:
            required = _REQUIRED.search(said)
            major = required["cuda"] if required else ""
        return _absent_of_three(provider, CUDA, file, major)
    return Finding(
        f"The library {file} is missing.",
        "Install it, or name the directory that holds it in LD_LIBRARY_PATH.",
    )


def _absent_of_three(provider: str, kind: str, file: str, major: str) -> Finding:
    """CUDA, cuDNN or TensorRT of a major version cannot be loaded."""
    here = [library for library in find_libraries() if library.kind == kind]
    wanted = f"{kind} {major}".strip()
    built = f"{_package()} is built for {wanted}, and {file} is missing"
    right = [library for library in here if library.major == major and not library.loadable]
    if any(_is(library, file) for library in right):
        directory = str(Path(right[0].path).parent)
        return Finding(
            f"{built} where the loader looks, though {directory} has {wanted}.",
            f"Set LD_LIBRARY_PATH={directory} before the run.",
        )
    if file.endswith(".so") and any(x.loadable and x.major == major for x in here):
        return Finding(
            f"{_package()} looks for {file} without a number, and {here[0].path} has one.",
            f"Make a link: ln -s {here[0].path} DIR/{file}, and set LD_LIBRARY_PATH=DIR.",
        )
    others = {library.major: library for library in here if library.major != major}
    if others:
        other = "; ".join(f"{kind} {n} is here, in {_folder(l)}" for n, l in others.items())
        return Finding(f"{built}: {other}.", _get(provider, kind, major))
    parts = f" Only a part of {wanted} is here, in {_folder(here[0])}." if here else ""
    return Finding(f"{built}.{parts}", _get(provider, kind, major))


def _get(provider: str, kind: str, major: str) -> str:
    """How to get a library, or an ONNX Runtime for the libraries and the driver that are here."""
    facts = facts_of(provider)
    if kind == TENSORRT:
        return get_environment(facts)
    driver = find_driver()
    if kind == CUDA and driver is not None and _too_old(driver, major):
        return (
            f"The driver {driver.version} supports no newer CUDA than {driver.cuda}: update it, or "
            f"take an onnxruntime-gpu that is built for CUDA {_major(driver)}. "
            f"{get_environment(facts, _major(driver))}"
        )
    return get_libraries(_version())


def _too_old(driver: Driver, major: str) -> bool:
    supported = _major(driver)
    return supported.isdigit() and major.isdigit() and int(supported) < int(major)


def _major(driver: Driver) -> str:
    return driver.cuda.partition(".")[0]


def _unfit(provider: str, match: re.Match[str]) -> Finding:
    symbol = match["symbol"] or ""
    if _DRIVER_SYMBOL.match(symbol) and not match["file"]:
        return Finding(
            f"The NVIDIA driver is too old for {_package()}: its library has no {symbol}.", DRIVER
        )
    wrong = match["file"] or (match["path"] and f"{match['path']} (no {match['version']})")
    lacks = f" ({symbol} is not in it)" if symbol else ""
    return Finding(
        f"{_package()} found {wrong or 'a library'} in another version than it was built "
        f"for{lacks}.",
        get_libraries(_version()) if facts_of(provider).cards else "",
    )


def _required(said: str) -> str:
    required = _REQUIRED.search(said)
    return f"CUDA {required['cuda']}, cuDNN {required['cudnn']}" if required else "CUDA, cuDNN"


def _instead(here: Sequence[Library]) -> str:
    listed = ", ".join(dict.fromkeys(f"{_called(x)} in {_folder(x)}" for x in here))
    return f" Here are {listed}." if listed else " No CUDA and no cuDNN were found here."


def _called(library: Library) -> str:
    part = "'s runtime" if library.name == "cudart" else ""
    return f"{library.kind} {library.major}{part}"


def _is(library: Library, file: str) -> bool:
    return Path(library.path).name.startswith(file)


def _folder(library: Library) -> str:
    return str(Path(library.path).parent)


def _version() -> str:
    try:
        return version_of("onnxruntime-gpu")
    except PackageNotFoundError:
        return ""


def _package() -> str:
    return f"onnxruntime-gpu {_version()}".strip()
