"""What went wrong while a session was made, in plain words."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import onnxruntime as ort

from loadgen_generic.backends.wire import external_weights
from loadgen_generic.diagnosis import explain_failure
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError, plain_words

__all__ = ["explain"]

_UNREGISTERED = re.compile(r"MLDataType for: (\S+) is not currently registered")


def _what_weights_lack(model_path: str) -> str:
    """Which file of weights is missing or too short, in words; empty if none is."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # no model, so none is missing
        for name, needed in external_weights(model_path).items():
            file = Path(model_path).parent / name
            if not file.is_file():
                return f"the model keeps weights in {name}, which is missing."
            if (size := file.stat().st_size) < needed:
                return (
                    f"the model keeps weights in {name}, of which it needs {needed:,} bytes; the "
                    f"file has {size:,}, so it is only a part."
                )
    return ""


def explain(error: Exception, model_path: str, provider: str) -> LoadgenGenericError:
    """The error that a user is told of, for one that ONNX Runtime raised.

    Args:
        provider: ONNX Runtime's name.
    """
    kind, text = type(error).__name__, str(error)
    name = Path(model_path).name
    detail = plain_words(text.rpartition(" failed:")[2] or text)
    weights = _what_weights_lack(model_path)
    if weights:
        return RequestError(
            weights,
            flag="modelpath",
            value=model_path,
            remedy="Put the whole file beside the model; the two belong together.",
        )
    if kind == "InvalidProtobuf" or "No graph was found" in text:
        return RequestError(
            "this is not an ONNX model, or only a part of one.",
            flag="modelpath",
            value=model_path,
            remedy="Check that the file was copied or downloaded whole.",
        )
    unregistered = _UNREGISTERED.search(text)
    if unregistered is not None:
        return RequestError(
            f"the model uses the element type {unregistered[1]}, which onnxruntime "
            f"{ort.__version__} does not have.",
            flag="modelpath",
            value=model_path,
            remedy="Export it with another type, such as complex numbers as pairs of floats.",
        )
    if kind == "NotImplemented":
        return RunError(
            f"{name}: onnxruntime {ort.__version__} knows an operator of the model, but not for "
            f"its element types: {detail}. Export this part of the model with other ones."
        )
    if "No Op registered" in text or "is not a registered function" in text:
        return RunError(
            f"{name} needs an operator that onnxruntime {ort.__version__} does not have: "
            f"{detail} Update onnxruntime, or export the model with standard operators."
        )
    if "Opset" in text or "opset" in text:
        return RunError(
            f"{name} needs a newer onnxruntime than {ort.__version__}: {detail.strip()}"
        )
    if kind in ("InvalidGraph", "InvalidArgument"):
        return RequestError(f"the model is not valid: {detail}", flag="modelpath", value=model_path)
    failure = explain_failure(provider, text)
    if failure:
        return RunError(f"{name} cannot be loaded. {failure}")
    if "allocate" in text or "bad_alloc" in text:
        return RunError(f"{name} does not fit into memory: {detail}")
    return RunError(f"ONNX Runtime could not load {name} on {provider}: {detail}")
