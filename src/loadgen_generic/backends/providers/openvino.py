"""OpenVINO's provider, on Intel's and AMD's processors alike.

One session serves all workers: each of them has a stream of its own, an independent part of the
processor with its own threads. Without ``num_of_threads`` the provider would make one request for
inferences and the workers would wait for each other, whatever the number of streams is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.providers.base import Provider
from loadgen_generic.backends.providers.openvino_plugin import (
    in_force,
    openvino_version,
    what_device_computes,
)
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.machine import available_cores

__all__ = ["OpenVino"]

_PRECISION, _MODE = "INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT"
_PINNING = "ENABLE_CPU_PINNING"
_STREAMS, _THREADS, _HINT = "NUM_STREAMS", "INFERENCE_NUM_THREADS", "PERFORMANCE_HINT"
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
# ``dynamic`` is the plugin's word for the types that the model has.
_NAMES = {hint: name for name, hint in _HINTS.items()} | {"dynamic": "as the model"}
# The plugins' words for what a device has.
_TYPES = {"FP32": "float32", "BF16": "bfloat16", "FP16": "float16", "INT8": "int8"}
# Devices made of others, for which the provider takes no number of streams.
_COMPOSITE = re.compile("AUTO|MULTI|HETERO")


class OpenVino(Provider):
    """Precision: without ``--precision`` the mode that OpenVINO calls ACCURACY, in which it
    computes in no less than the model's own types. Left to itself the plugin takes bfloat16
    wherever the processor has it."""

    def options(self, spec: BackendSpec) -> dict[str, str]:
        given = spec.provider_options
        _refuse_twice(spec)
        device = given.get("device_type", "CPU")
        derived = {
            "device_type": device,
            "precision": "ACCURACY",
            "num_of_threads": str(spec.workers * spec.intra_op_threads),
        }
        if not _COMPOSITE.search(device):
            derived["num_streams"] = str(spec.workers)
        return {**derived, **given, "load_config": json.dumps(_load_config(spec, device))}

    def check(self, session: ort.InferenceSession, spec: BackendSpec) -> None:
        """Refuse a precision that the device does not have: the plugin takes another silently."""
        hint = _HINTS.get(spec.precision or "")
        found = self._in_force(spec).get(_PRECISION)
        if hint is not None and found not in (None, hint):
            device = self.options(spec)["device_type"]
            has = [name for word, name in _TYPES.items() if word in what_device_computes(device)]
            raise RunError(
                f"--precision {spec.precision}: this {device} has no {spec.precision} "
                f"(OpenVINO names {', '.join(has)}), and OpenVINO would compute in "
                f"{_NAMES.get(str(found), found)} without a word. Choose another --precision."
            )

    def effective(self, session: ort.InferenceSession, spec: BackendSpec) -> Mapping[str, object]:
        found = self._in_force(spec)
        known = found.get(_PRECISION)
        asked = "left to OpenVINO" if spec.precision == "auto" else spec.precision or "as the model"
        return {
            "precision": _NAMES.get(known, known)
            if known
            else f"{asked} (as asked; not read back)",
            "ep_options": self.options(spec),
            "ep_properties": found,
            "openvino_version": openvino_version(),
        }

    def notes(self, session: ort.InferenceSession, spec: BackendSpec) -> list[str]:
        found, notes = self._in_force(spec), []
        if spec.precision == "auto" and found.get(_PRECISION) in _NAMES:
            notes.append(f"OpenVINO chose to compute in {_NAMES[found[_PRECISION]]}")
        asked = _properties(self.options(spec))
        for name, what in ((_STREAMS, "stream(s)"), (_THREADS, "thread(s)")):
            if name in found and found[name] != asked.get(name, found[name]):
                notes.append(f"OpenVINO uses {found[name]} {what}, not {asked[name]} as asked")
        return notes

    def _in_force(self, spec: BackendSpec) -> Mapping[str, str]:
        options = self.options(spec)
        return in_force(options["device_type"], tuple(sorted(_properties(options).items())))


def _refuse_twice(spec: BackendSpec) -> None:
    """``--precision`` and the provider's own options for it exclude each other."""
    if spec.precision is None:
        return
    given = spec.provider_options
    own = _read_config(given.get("load_config", "{}")).values()
    if "precision" in given or any({_PRECISION, _MODE} & set(each) for each in own):
        raise RequestError(
            "--ep_options sets the precision as well.",
            flag="precision",
            value=spec.precision,
            remedy="Leave one of the two out.",
        )


def _load_config(spec: BackendSpec, device: str) -> dict[str, dict[str, Any]]:
    """Properties of the device, under those that the user gave."""
    name = _base_name(device)
    ours: dict[str, Any] = {}
    if spec.precision in _HINTS:
        ours[_PRECISION] = _HINTS[spec.precision]
    elif spec.precision == "auto":
        ours[_MODE] = "PERFORMANCE"
    if not _COMPOSITE.search(device):
        # With LATENCY the plugin would use one thread of each core, however many are asked for.
        ours[_HINT] = "LATENCY" if spec.workers == 1 else "THROUGHPUT"
    if name == "CPU" and spec.workers * spec.intra_op_threads < available_cores():
        # Every session would pin its threads to the first cores, and those of several workers
        # that have one each to the same.
        ours[_PINNING] = "NO"
    theirs = _read_config(spec.provider_options.get("load_config", "{}"))
    return {**theirs, name: {**ours, **theirs.get(name, {})}}


def _read_config(text: str) -> dict[str, dict[str, Any]]:
    """``load_config`` as the provider takes it: JSON, or the path of a file that holds it.

    Raises:
        RequestError: it is neither.
    """

    def wrong(why: str) -> RequestError:
        return RequestError(
            f"{why}.",
            flag="ep_options",
            value=f"load_config={text}",
            remedy='It is a file, or JSON such as {"CPU": {"NUM_STREAMS": "2"}}.',
        )

    try:
        content = text if text.lstrip().startswith("{") else Path(text).read_text("utf-8")
        config = json.loads(content)
    except OSError as error:
        raise wrong(f"the file cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise wrong(f"this is not JSON: {error}") from None
    if not isinstance(config, dict) or not all(isinstance(p, dict) for p in config.values()):
        raise wrong("expected properties by the names of devices")
    return config


def _properties(options: Mapping[str, str]) -> dict[str, str]:
    """What the provider gives the plugin for these options of its own."""
    device = options["device_type"]
    found = {}
    if options["precision"] == "ACCURACY":
        found[_MODE] = "ACCURACY"
    elif options["precision"] in ("FP32", "FP16"):
        found[_PRECISION] = {"FP32": "f32", "FP16": "f16"}[options["precision"]]
    if "num_streams" in options:
        found[_STREAMS] = options["num_streams"]
    if _base_name(device) == "CPU":
        found[_THREADS] = options["num_of_threads"]
    config = _read_config(options["load_config"]).get(_base_name(device), {})
    return found | {key: str(value) for key, value in config.items()}


def _base_name(device: str) -> str:
    """``GPU`` of ``GPU.1``, ``AUTO`` of ``AUTO:GPU,CPU``."""
    return re.split("[:.,]", device)[0]
