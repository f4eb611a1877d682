"""The description of the system, filled from the machine that the runs were made on."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.errors import RequestError
from loadgen_generic.machine import describe_caches, processor_count
from loadgen_generic.results.result import Result

__all__ = ["NOT_STATED", "STATUSES", "SYSTEM_TYPES", "describe_system", "read_overrides"]

NOT_STATED = "not stated"
STATUSES = ("available", "preview", "rdi")
SYSTEM_TYPES = ("edge", "datacenter", "datacenter,edge", "edge,datacenter")
_NONE = "N/A"
_GIB = 2**30


def describe_system(
    result: Result,
    submitter: str,
    name: str,
    status: str,
    system_type: str,
    overrides: Mapping[str, str],
) -> dict[str, str]:
    """The fields that the checker asks for; :data:`NOT_STATED` where the machine does not tell.

    Args:
        result: of the performance run.
        overrides: fields that the submitter states, which win.
    """
    host = result.host
    here = host.get("name") == platform.node()
    packages = result.packages
    engine = next((n for n in sorted(packages) if n.startswith("onnxruntime")), "onnxruntime")
    others = ", ".join(f"{n} {v}" for n, v in sorted(packages.items()) if n != engine)
    accelerated = [each for each in result.providers if each != "CPUExecutionProvider"]
    sockets = processor_count() if here else None
    cores = host.get("cores_physical") or host.get("cores_logical")
    disk = f"{shutil.disk_usage('/').total / _GIB:.0f} GiB" if here else NOT_STATED
    fields = {
        "division": "open",
        "submitter": submitter,
        "status": status,
        "system_name": name,
        "system_type": system_type,
        "system_type_detail": NOT_STATED,
        "number_of_nodes": "1",
        "host_processor_model_name": host.get("cpu"),
        "host_processors_per_node": sockets,
        "host_processor_core_count": cores // sockets if cores and sockets else cores,
        "host_processor_frequency": None,
        "host_processor_caches": describe_caches() if here else None,
        "host_processor_interconnect": "",
        "host_memory_capacity": f"{host['memory_bytes'] / _GIB:.0f} GiB",
        "host_memory_configuration": None,
        "host_storage_type": None,
        "host_storage_capacity": disk,
        "host_networking": None,
        "host_networking_topology": None,
        "host_network_card_count": None,
        "accelerators_per_node": None if accelerated else "0",
        "accelerator_model_name": None if accelerated else _NONE,
        "accelerator_memory_capacity": None if accelerated else _NONE,
        "accelerator_memory_configuration": None if accelerated else _NONE,
        "accelerator_host_interconnect": None if accelerated else _NONE,
        "accelerator_interconnect": None if accelerated else _NONE,
        "accelerator_interconnect_topology": "",
        "accelerator_frequency": "",
        "accelerator_on-chip_memories": "",
        "cooling": None,
        "framework": f"{engine} {packages.get(engine, '')}".strip(),
        "operating_system": host.get("system"),
        "other_software_stack": f"{others}, Python {host.get('python')}",
        "hw_notes": "",
        "sw_notes": f"execution providers: {', '.join(result.providers)}",
    }
    stated = {k: NOT_STATED if v is None else str(v) for k, v in fields.items()}
    return stated | dict(overrides)


def read_overrides(path: Path | None, flag: str) -> dict[str, str]:
    """A JSON object of fields that the submitter states.

    Raises:
        RequestError: it cannot be read, or holds something else.
    """
    if path is None:
        return {}
    try:
        content: Any = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}.", flag=flag, value=path) from None
    except ValueError as error:
        raise RequestError(f"is not JSON: {error}.", flag=flag, value=path) from None
    if not isinstance(content, dict) or any(isinstance(v, (dict, list)) for v in content.values()):
        raise RequestError("must hold one JSON object of texts.", flag=flag, value=path)
    empty = [key for key, value in content.items() if value in (None, "")]
    if empty:
        raise RequestError(
            f"{empty[0]} is empty.", flag=flag, value=path, remedy="State it, or leave it out."
        )
    return {str(key): str(value) for key, value in content.items()}
