"""What is particular to each execution provider. A new one is one new file and one line here,
beside its line in :mod:`loadgen_generic.provider_facts`."""

from __future__ import annotations

import importlib
from typing import cast

from loadgen_generic.backends.providers.base import Provider
from loadgen_generic.provider_facts import facts_of

__all__ = ["Provider", "provider_of"]

# Named, not imported: only the chosen one is loaded.
_PARTICULAR = {
    "cuda": "loadgen_generic.backends.providers.cuda:Cuda",
    "openvino": "loadgen_generic.backends.providers.openvino:OpenVino",
    "tensorrt": "loadgen_generic.backends.providers.tensorrt:TensorRt",
}


def provider_of(name: str) -> Provider:
    """The behaviour of a provider, by ONNX Runtime's name."""
    place = _PARTICULAR.get(facts_of(name).short)
    if place is None:
        return Provider(name)
    module, _, kind = place.partition(":")
    return cast(Provider, getattr(importlib.import_module(module), kind)(name))
