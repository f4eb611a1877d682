"""The facts of a model file that ONNX Runtime does not tell: operators, weights, sizes."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Summary", "summarize", "weight_types"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a model file consists of.

    Attributes:
        producer: the program that wrote it and its version; may be empty.
        opsets: version by domain; ``ai.onnx`` is the standard one.
        operators: how often each occurs, those in the bodies of loops and functions included,
            most frequent first; with its domain before it where that is not the standard one.
        parameters: numbers in the weights.
        file_bytes: size of the file itself.
        external: files with weights, relative to the model, to their sizes in bytes; None for
            one that is missing.
    """

    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    operators: Mapping[str, int]
    parameters: int
    file_bytes: int
    external: Mapping[str, int | None]


def summarize(model_path: str) -> Summary | None:
    """Read a model without its external weights; None if it is not in ONNX's own format."""
    import onnx
    from google.protobuf.message import DecodeError

    from loadgen_generic.graph.reading import graphs_in

    try:
        model = onnx.load(model_path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None
    directory = Path(model_path).parent
    operators: Counter[str] = Counter()
    parameters, external = 0, dict[str, int | None]()
    graphs = list(graphs_in(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    for node in nodes:
        standard = node.domain in ("", "ai.onnx")
        operators[node.op_type if standard else f"{node.domain}.{node.op_type}"] += 1
    constants = [
        a.t for n in nodes if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    ]
    for tensor in [*(t for graph in graphs for t in graph.initializer), *constants]:
        count = 1
        for size in tensor.dims:
            count *= size
        parameters += count
        for entry in tensor.external_data:
            if entry.key == "location":
                file = directory / entry.value
                external[entry.value] = file.stat().st_size if file.is_file() else None
    return Summary(
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        operators=dict(operators.most_common()),
        parameters=parameters,
        file_bytes=os.path.getsize(model_path),
        external=external,
    )


def weight_types(model_path: str) -> tuple[str, ...]:
    """ONNX's names of the element types of the weights, that of most numbers first; empty if
    the file is not there, or not in ONNX's own format."""
    import onnx
    from google.protobuf.message import DecodeError

    from loadgen_generic.graph.reading import graphs_in

    try:
        model = onnx.load(model_path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError):
        return ()
    found: Counter[str] = Counter()
    for graph in graphs_in(model.graph):
        for tensor in graph.initializer:
            name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            found[name] += math.prod(tensor.dims)
    return tuple(name for name, _ in found.most_common())
