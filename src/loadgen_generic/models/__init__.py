"""Models that need no file of the user's."""

from __future__ import annotations

from pathlib import Path

__all__ = ["builtin_model"]


def builtin_model(name: str, cache_dir: Path) -> Path:
    """The path of a built-in model, built on first use.

    Args:
        name: ``demo``.
        cache_dir: where built models are kept.
    """
    from loadgen_generic.models import resnet50

    assert name == "demo"
    return resnet50.cached(cache_dir)
