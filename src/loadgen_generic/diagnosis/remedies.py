"""What to install, in the words that a user can type."""

from __future__ import annotations

from loadgen_generic.provider_facts import ProviderFacts, facts_of

__all__ = ["DRIVER", "get_environment", "get_libraries", "get_provider"]

_OLDER_CUDA = "12"  # the other that onnxruntime-gpu is to be had for
DRIVER = (
    "Install NVIDIA's driver for this system; a container must also be given the GPUs "
    "(docker run --gpus all)."
)


def get_provider(provider: str) -> str:
    """How to get an ONNX Runtime that has a provider; empty where nobody ships one."""
    facts = facts_of(provider)
    if not facts.package:
        return ""
    return f"It comes with the package {facts.package}. {get_environment(facts)}"


def get_environment(facts: ProviderFacts, cuda: str = "") -> str:
    """How to make an environment for a provider, beside the present one: ONNX Runtime's packages
    exclude one another.

    Args:
        cuda: the major version that it must be built for; empty for the newest.
    """
    older = cuda == _OLDER_CUDA
    make = f"make venv EP={facts.extra}{f' CUDA={cuda}' if older else ''}"
    extra = f"{facts.extra}{cuda if older else ''}"
    return (
        f"`{make}` in a checkout makes an environment for it; elsewhere, "
        f'`pip install "loadgen-generic[{extra}]"` in a new virtual environment.'
    )


def get_libraries(version: str) -> str:
    """How to get the CUDA and cuDNN that an onnxruntime-gpu was built for.

    Args:
        version: of onnxruntime-gpu; empty if it is not known.
    """
    exact = f"=={version}" if version else ""
    return (
        f'`pip install "onnxruntime-gpu[cuda,cudnn]{exact}"` in the same environment brings the '
        "CUDA and cuDNN that it was built for."
    )
