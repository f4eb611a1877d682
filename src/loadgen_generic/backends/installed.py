"""What this Python's ONNX Runtime is, as it says itself."""

from __future__ import annotations

import onnxruntime as ort

__all__ = ["describe_installed"]


def describe_installed() -> dict[str, object]:
    """Of ONNX Runtime: ``version``, ``cuda`` (what it was built for; empty without) and
    ``providers`` that are built in."""
    return {
        "version": ort.__version__,
        "cuda": getattr(ort, "cuda_version", "") or "",
        "providers": ort.get_available_providers(),
    }
