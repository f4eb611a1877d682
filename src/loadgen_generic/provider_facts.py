"""What is known of ONNX Runtime's execution providers without loading any: one line for each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROVIDERS", "ProviderFacts", "facts_of"]

_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """One execution provider.

    Attributes:
        name: ONNX Runtime's.
        package: the Python package of ONNX Runtime that has it; empty where nobody ships one.
        extra: the extra of this package that brings it, also the name of its environment in
            ``make venv EP=``; empty without a package.
        cards: it answers on numbered devices with memory of their own, see ``--devices``.
        streams: a session is made for a number of workers, which it serves at once.
        precisions: values of ``--precision`` that it has a switch for, ``auto`` apart.
    """

    name: str
    package: str = ""
    extra: str = ""
    cards: bool = False
    streams: bool = False
    precisions: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The name as people type it: cpu, cuda, tensorrt, openvino."""
        return self.name.removesuffix(_SUFFIX).lower()


PROVIDERS = (
    ProviderFacts("CPUExecutionProvider", "onnxruntime", "cpu", precisions=("float32",)),
    ProviderFacts(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        "cuda",
        cards=True,
        precisions=("float32", "tf32"),
    ),
    ProviderFacts(
        "TensorrtExecutionProvider",
        "onnxruntime-gpu",
        "tensorrt",
        cards=True,
        precisions=("float32", "tf32", "float16", "bfloat16", "int8"),
    ),
    ProviderFacts(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        "openvino",
        streams=True,
        precisions=("float32", "bfloat16", "float16"),
    ),
)


def facts_of(provider: str) -> ProviderFacts:
    """The facts of a provider, by ONNX Runtime's name or the short one in any case.

    Of a provider that is not in ``PROVIDERS`` only the name is known, as it was given.
    """
    short = provider.strip().lower().removesuffix(_SUFFIX.lower())
    for facts in PROVIDERS:
        if facts.short == short:
            return facts
    return ProviderFacts(provider)
