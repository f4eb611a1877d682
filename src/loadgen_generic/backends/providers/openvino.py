"""OpenVINO's provider, on Intel's and AMD's processors alike."""

from __future__ import annotations

from loadgen_generic.backends.providers.base import Provider

__all__ = ["OpenVino"]


class OpenVino(Provider):
    pass
