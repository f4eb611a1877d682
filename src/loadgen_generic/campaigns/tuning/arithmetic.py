"""Which precisions are worth a try: what the model's numbers are, and what the processor has."""

from __future__ import annotations

import re

from loadgen_generic.answers.precision import precision_of
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.graph.structure import Structure
from loadgen_generic.graph.summary import weight_types
from loadgen_generic.machine import processor_flags
from loadgen_generic.provider_facts import ProviderFacts

__all__ = ["precision_given", "why_emulated", "why_not_float32"]

# Linux's names for what computes in a precision, or takes it from memory without a detour.
_ARITHMETIC = {
    "bfloat16": ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "avx_ne_convert", "asimdhp"),
}
_FLOAT32 = "float"  # ONNX's name
# Options of providers that say in what they compute; load_config may hold any.
_SAYS_PRECISION = re.compile("precision|tf32|fp16|bf16|int8_enable|load_config")


def why_not_float32(model_path: str, structure: Structure | None) -> str:
    """Why no provider can compute a model less precisely than it is, in words; empty for one of
    float32."""
    if structure is None:
        return "the model is not in ONNX's own format, so its precision is not known"
    found = precision_of(model_path)
    if "quantized" in found:
        return "the model is quantised already"
    weights = [name for name in weight_types(model_path) if "float" in name or name == "double"]
    if weights and weights[0] != _FLOAT32:  # the type of most numbers
        return f"the model's weights are {weights[0]}, not float32"
    if weights or _FLOAT32.upper() in found or _FLOAT32 in structure.input_types:
        return ""
    return "the model has no float32 numbers"


def why_emulated(facts: ProviderFacts, precision: str, config: BenchmarkConfig) -> str:
    """Why a provider would compute in a precision no faster, in words; empty if it may.

    What a card has nobody tells before a session is made on it.
    """
    names = _ARITHMETIC.get(precision)
    device = config.ep_options.get("device_type", "CPU")
    if names is None or facts.cards or not device.startswith("CPU"):
        return ""
    flags = processor_flags()
    if not flags:
        return (
            "the system does not tell whether the processor has it; "
            f"--ep {facts.short} --precision {precision} tries it all the same"
        )
    if flags.isdisjoint(names):
        return f"this processor has none of {', '.join(names)}: it would be emulated"
    return ""


def precision_given(config: BenchmarkConfig) -> tuple[str, str]:
    """The precision that the user fixed and by which option, in words; both empty where it is
    open."""
    if config.precision is not None:
        return config.precision, f"--precision names {config.precision}"
    if any(_SAYS_PRECISION.search(key) for key in config.ep_options):
        return "auto", "--ep_options says how precisely to compute"
    return "", ""
