"""TensorRT: NVIDIA GPUs, with engines built for the card."""

from __future__ import annotations

from loadgen_generic.backends.providers.cuda import Cuda

__all__ = ["TensorRt"]


class TensorRt(Cuda):
    pass
