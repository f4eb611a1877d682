"""Why an execution provider does not start or fails in a run, in plain words with the remedy.

ONNX Runtime and the libraries below it say what is wrong in texts of their own, on the native
standard error or in an exception. Here is what those texts mean for a user.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from loadgen_generic.diagnosis.cuda import find_card_trouble
from loadgen_generic.diagnosis.finding import Finding, ProviderError
from loadgen_generic.diagnosis.missing import find_missing
from loadgen_generic.diagnosis.options import find_wrong_option
from loadgen_generic.diagnosis.preflight import find_driver_trouble
from loadgen_generic.diagnosis.remedies import get_environment, get_provider
from loadgen_generic.errors import plain_words
from loadgen_generic.provider_facts import PROVIDERS, facts_of

__all__ = [
    "Finding",
    "ProviderError",
    "diagnose",
    "explain_failure",
    "find_driver_trouble",
    "why_not_installed",
    "why_not_started",
]

_FAILURE = re.compile(r"\w+ failure -?\d+: [^;]+")
_NODE = re.compile(r"while running (\w+) node\. Name:('[^']*')")


def diagnose(provider: str, said: str) -> Finding | None:
    """What a text says of a provider; None where nothing in it is known.

    Args:
        provider: ONNX Runtime's name.
        said: an exception's text, or what was printed, or both.
    """
    wrong = find_wrong_option(provider, said) or find_missing(provider, said)
    if wrong is not None or not facts_of(provider).cards:
        return wrong
    trouble = find_card_trouble(said)
    if trouble is None and "Please install TensorRT libraries" in said:
        return Finding(
            "TensorRT's libraries cannot be loaded.", get_environment(facts_of(provider))
        )
    return trouble


def why_not_started(provider: str, said: str, instead: str) -> Finding:
    """Why a provider that is installed did not start.

    Args:
        provider: ONNX Runtime's name.
        said: what ONNX Runtime and the libraries printed meanwhile; may be empty.
        instead: the providers that ONNX Runtime would have run on.
    """
    return diagnose(provider, said) or Finding(
        f"It is installed but did not start; ONNX Runtime would have run on {instead} instead. Its "
        "libraries, its driver or its device are missing.",
        "harness.log in the output directory has ONNX Runtime's own words; `loadgen-generic "
        "doctor` shows what is here.",
    )


def why_not_installed(provider: str, ort_version: str, available: str) -> Finding:
    """What to install for a provider that this ONNX Runtime was built without.

    Args:
        provider: ONNX Runtime's name.
        ort_version: of ONNX Runtime.
        available: the providers that it has.
    """
    packages = _installed()
    if len(packages) > 1:
        return Finding(
            f"This onnxruntime {ort_version} has {available} only, and {' and '.join(packages)} are "
            "installed together: each overwrites the files of the other, so nobody knows which of "
            "them runs.",
            f"Remove both (`pip uninstall {' '.join(packages)}`), then install the one that is "
            f"needed. {get_provider(provider)}".strip(),
        )
    return Finding(
        f"This onnxruntime {ort_version} was built without it (it has {available}).",
        get_provider(provider),
    )


def explain_failure(provider: str, text: str) -> str:
    """What an error in the middle of a run means, with the remedy; empty where it is not known.

    Args:
        provider: ONNX Runtime's name, or the short one.
        text: of the error.
    """
    facts = facts_of(provider)
    if not facts.cards:
        return ""
    found = find_missing(provider, text) or find_card_trouble(text)
    if found is None:
        return ""
    return f"{found.problem} {found.remedy} ONNX Runtime said: {_briefly(text)}"


def _briefly(text: str) -> str:
    """The part of an error's text that tells something; the whole is in harness.log."""
    failure, node = _FAILURE.search(text), _NODE.search(text)
    if failure is None:
        return " ".join(plain_words(text).split())
    return failure[0].strip() + (f", in {node[1]} {node[2]}" if node else "")


def _installed() -> list[str]:
    """The packages of ONNX Runtime in this environment, of those that are known."""
    found = []
    for name in dict.fromkeys(facts.package for facts in PROVIDERS):
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found
