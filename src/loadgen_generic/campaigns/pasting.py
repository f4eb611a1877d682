"""A run as a command of CM."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from loadgen_generic.config import options as all_options
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.results.build import as_text

__all__ = ["cm_command"]

_TAGS = "app,loadgen,generic,loadgen-generic,python"
# Providers for which a variation brings the package of ONNX Runtime as well.
_DEVICES = ("cuda", "tensorrt", "openvino")
_DEFAULT = "cpu"


def cm_command(options: Mapping[str, Any]) -> str:
    """The command, quoted for a shell.

    Args:
        options: of a run, by the names of their fields; None, an empty text and an empty mapping
            are as if they were not there.

    Raises:
        ValueError: CM has neither a flag nor a variation for an option.
    """
    given = {name: text for name, value in options.items() if (text := as_text(value))}
    tags = [_TAGS, *_variations(given)]
    flags = []
    for name, option, _ in all_options():
        if option.in_cm and name in given:
            flag = option.aliases[0] if option.aliases else name
            flags.append(f"--{flag}={given.pop(name)}")
    if given:
        raise ValueError(f"CM has no flag for {', '.join(given)}")
    return shlex.join(["cm", "run", "script", f"--tags={','.join(tags)}", *flags, "--quiet"])


def _variations(given: dict[str, str]) -> list[str]:
    """Those that stand for options, which are taken out of ``given``."""
    found = []
    if "model" in given:
        found.append(f"_{given.pop('model')}")
    device = facts_of(given.get("execution_provider", _DEFAULT)).short
    if device in _DEVICES:
        found.append(f"_{device}")
    if device in (*_DEVICES, _DEFAULT):
        given.pop("execution_provider", None)
    return found
