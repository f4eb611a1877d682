"""ONNX Runtime's static quantisation: QDQ format, uint8 activations, int8 weights, MinMax."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from loadgen_generic.errors import RunError
from loadgen_generic.quantization.calibration import Calibration
from loadgen_generic.quantization.recipe import PRODUCTS, nothing_to_quantize

if TYPE_CHECKING:
    import onnx

__all__ = ["prepare", "quantize"]

_OLDEST_PER_CHANNEL = 13  # opset whose DequantizeLinear has an axis
_LARGEST_MESSAGE = 2**31 - 1  # bytes that protobuf takes
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_MATRICES = ("Gemm", "MatMul")


def prepare(model_path: str, directory: Path) -> Path:
    """A copy of a model with the shapes of its tensors in it, constants folded and batch
    normalisations merged into convolutions, as far as ONNX Runtime does that for any processor.

    Returns:
        The file, in ``directory``.
    """
    from onnxruntime.quantization import quant_pre_process

    prepared = directory / "prepared.onnx"
    quant_pre_process(
        model_path,
        str(prepared),
        skip_symbolic_shape=True,  # it needs sympy, which ONNX Runtime no longer brings
        save_as_external_data=_is_large(model_path),
        all_tensors_to_one_file=True,
        external_data_location="prepared.onnx.data",
    )
    return prepared


def quantize(
    model_path: str,
    prepared: Path,
    target: Path,
    calibration: Calibration,
    seven_bits: bool,
    beat: Callable[[], None],
) -> dict[str, Any]:
    """Quantise a prepared model, and see that the result loads and looks as the original does.

    Args:
        seven_bits: leave the weights' range to seven bits.

    Returns:
        How it was done, for the file beside it; ``words`` for people.

    Raises:
        RunError: nothing in it was quantised, or its inputs or outputs changed.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    original = onnx.load(prepared, load_external_data=False)
    per_channel = _opset(original) >= _OLDEST_PER_CHANNEL
    quantize_static(
        prepared,
        target,
        calibration,
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        reduce_range=seven_bits,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        use_external_data_format=_is_large(model_path),
        calibrate_method=CalibrationMethod.MinMax,
        **_which(original),
    )
    beat()
    made = onnx.load(target, load_external_data=False)
    quantized = _quantized(made)
    if not set(PRODUCTS) & set(quantized):
        raise nothing_to_quantize(
            model_path, f"ONNX Runtime quantises no {', no '.join(PRODUCTS)} of it"
        )
    if _face(made) != _face(onnx.load(model_path, load_external_data=False)):
        raise RunError(
            f"ONNX Runtime's int8 version of {model_path} has other inputs or outputs. Leave int8 "
            "out."
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    ort.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    weights = "int8 in seven bits" if seven_bits else "int8"
    channels = "per channel" if per_channel else "per tensor"
    most = ", ".join(f"{name} {count}" for name, count in quantized.most_common())
    return {
        "onnxruntime_version": ort.__version__,
        "format": "QDQ",
        "method": "MinMax",
        "per_channel": per_channel,
        "activations": "uint8",
        "weights": weights,
        "operators": dict(quantized.most_common()),
        "words": f"int8 by ONNX Runtime {ort.__version__}: QDQ, uint8 activations, {weights} weights "
        f"{channels}, MinMax over {calibration.count} samples {calibration.words}; {most}",
    }


def _which(model: onnx.ModelProto) -> dict[str, Any]:
    """What to quantise, as options of ONNX Runtime.

    Matrix products give float results: int8 makes them no faster, and clips the scores of a
    sample that goes beyond those of the calibration.

    A network of convolutions stays in int8 from one to the next, with all that lies between them.
    Elsewhere the products alone are in int8: what attention has between them spans too much for
    8 bits, such as the -10000 of a mask. An encoder of BERT's shape on padded sequences kept a
    cosine similarity of 0.957 with everything in int8, and 0.999 this way, and was no slower.
    """
    options: dict[str, Any] = {
        "extra_options": {"OpTypesToExcludeOutputQuantization": list(_MATRICES)}
    }
    found = Counter(node.op_type for node in model.graph.node)
    if sum(found[name] for name in _CONVOLUTIONS) <= sum(found[name] for name in _MATRICES):
        options["op_types_to_quantize"] = list(PRODUCTS)
    return options


def _is_large(model_path: str) -> bool:
    """Whether the weights have to lie, or do lie, beside the model."""
    from loadgen_generic.graph.summary import summarize

    summary = summarize(model_path)
    return summary is not None and (
        bool(summary.external) or os.path.getsize(model_path) > _LARGEST_MESSAGE
    )


def _opset(model: onnx.ModelProto) -> int:
    return next(int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx"))


def _quantized(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator occurs that reads quantised values."""
    quantized = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    return Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type != "QuantizeLinear" and quantized & set(node.input)
    )


def _face(model: onnx.ModelProto) -> list[list[tuple[str, int]]]:
    """Names and element types of inputs and outputs."""
    weights = {tensor.name for tensor in model.graph.initializer}

    def listed(infos: Iterable[Any]) -> list[tuple[str, int]]:
        return [(i.name, i.type.tensor_type.elem_type) for i in infos if i.name not in weights]

    return [listed(model.graph.input), listed(model.graph.output)]
