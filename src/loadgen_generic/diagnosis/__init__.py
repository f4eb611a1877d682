"""Why an execution provider does not start, in plain words with the remedy."""

from __future__ import annotations

from loadgen_generic.provider_facts import facts_of

__all__ = ["why_not_installed", "why_not_started"]


def why_not_started(provider: str, said: str, instead: str) -> str:
    """Why a provider that is installed did not start.

    Args:
        provider: ONNX Runtime's name.
        said: what ONNX Runtime and the libraries printed meanwhile; may be empty.
        instead: the providers that ONNX Runtime would have run on.
    """
    return (
        f"--ep {provider}: it is installed but did not start; ONNX Runtime would have run on "
        f"{instead} instead. Its libraries, its driver or its device are missing; harness.log in "
        "the output directory has ONNX Runtime's own words."
    )


def why_not_installed(provider: str, version: str, available: str) -> str:
    """What to install for a provider that this ONNX Runtime was built without.

    Args:
        provider: ONNX Runtime's name.
        version: of ONNX Runtime.
        available: the providers that it has.
    """
    package = facts_of(provider).package
    remedy = f" Install {package} in place of onnxruntime." if package else ""
    return (
        f"--ep {provider}: this onnxruntime {version} was built without it (it has {available})."
        + remedy
    )
