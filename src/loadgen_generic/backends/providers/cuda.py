"""CUDA: NVIDIA GPUs."""

from __future__ import annotations

from loadgen_generic.backends.providers.base import Provider

__all__ = ["Cuda"]


class Cuda(Provider):
    pass
