"""What this machine is: cores, caches, memory, packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from itertools import takewhile
from pathlib import Path

__all__ = [
    "available_cores",
    "available_memory_bytes",
    "cpu_governor",
    "describe_caches",
    "describe_host",
    "describe_packages",
    "last_level_cache_bytes",
    "processor_count",
    "processor_flags",
    "processor_identity",
]

_PACKAGES = (
    "loadgen-generic",
    "mlcommons-loadgen",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "cuda-bindings",
    "onnx",
    "numpy",
    "pydantic",
)
_ASSUMED_CACHE_BYTES = 32 << 20  # where the system does not tell


def available_cores() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping, within the limit of the container if any."""
    import psutil

    available = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        return min(available, max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        return available


def last_level_cache_bytes() -> int:
    """Bytes of last-level cache, all of its instances together."""
    largest: dict[str, tuple[int, int]] = {}
    for cache in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level = int((cache / "level").read_text())
            size = _parse_size((cache / "size").read_text())
            shared = (cache / "shared_cpu_list").read_text().strip()
        except (OSError, ValueError):
            continue
        largest[f"{level}:{shared}"] = (level, size)
    if not largest:
        return _ASSUMED_CACHE_BYTES
    last = max(level for level, _ in largest.values())
    return sum(size for level, size in largest.values() if level == last)


def describe_caches() -> str | None:
    """Kind and size of the caches of the first core, such as ``L1 data 32K, L2 512K, L3 32M``;
    None where the system does not tell."""
    found = []
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index[0-9]*")):
        try:
            level, kind, size = (
                (cache / name).read_text(encoding="utf-8").strip()
                for name in ("level", "type", "size")
            )
        except OSError:
            continue
        found.append(f"L{level} {size}" if kind == "Unified" else f"L{level} {kind.lower()} {size}")
    return ", ".join(found) or None


def processor_count() -> int | None:
    """Sockets; None where the system does not tell."""
    packages = set()
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id"):
        try:
            packages.add(file.read_text(encoding="utf-8").strip())
        except OSError:
            continue
    return len(packages) or None


def describe_host() -> dict[str, object]:
    """Host name, operating system, kernel, processor and its governor, cores, memory in bytes,
    load of the last minute, Python."""
    import psutil

    return {
        "name": platform.node(),
        "system": platform.platform(),
        "kernel": platform.release(),
        "cpu": _cpu_name(),
        "governor": cpu_governor(),
        "cores_available": available_cores(),
        "cores_logical": psutil.cpu_count(),
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_available_bytes": available_memory_bytes(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def describe_packages() -> dict[str, str]:
    """Name and version of the installed packages that bear on a measurement."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def processor_identity() -> str:
    """Kind of processor and what it can do: changes where code made for one may not suit another."""
    kept = ("vendor_id", "model name", "cpu family", "model", "flags", "Features", "CPU part")
    lines = [line for line in _first_processor() if line.partition(":")[0].strip() in kept]
    return "\n".join([platform.machine(), platform.processor(), *lines])


def processor_flags() -> frozenset[str]:
    """What the processor can do, by Linux's names, such as ``avx512_bf16``; empty where the
    system does not tell."""
    for line in _first_processor():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def _first_processor() -> list[str]:
    """Linux's lines on one processor; the others are alike."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return [line.strip() for line in takewhile(str.strip, lines)]
    except OSError:
        return []


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_governor() -> str | None:
    """How the system sets the processors' frequency; None where it does not tell."""
    found = set()
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            found.add(file.read_text(encoding="utf-8").strip())
        except OSError:
            continue
    return ", ".join(sorted(found)) or None


def _parse_size(text: str) -> int:
    text = text.strip()
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * factor
