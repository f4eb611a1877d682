"""What this machine is: cores, caches, memory, packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = [
    "available_cores",
    "available_memory_bytes",
    "describe_host",
    "describe_packages",
    "last_level_cache_bytes",
]

_PACKAGES = (
    "loadgen-generic",
    "mlcommons-loadgen",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
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


def describe_host() -> dict[str, object]:
    """Host name, operating system, processor, cores, memory in bytes, Python."""
    import psutil

    return {
        "name": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores_available": available_cores(),
        "cores_logical": psutil.cpu_count(),
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
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


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _parse_size(text: str) -> int:
    text = text.strip()
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * factor
