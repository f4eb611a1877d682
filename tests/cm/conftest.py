"""The real cm, in a CM home of its own that tools/register.py set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from cm_driver import Cm, new_home
from onnx import TensorProto, helper


@pytest.fixture(scope="session")
def cm_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return new_home(tmp_path_factory.mktemp("cm-home"))


@pytest.fixture
def cm(
    cm_environ: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cm]:
    temporary = tmp_path_factory.mktemp("temporary")
    yield Cm({**cm_environ, "TMPDIR": str(temporary)}, tmp_path)
    left = list(temporary.glob("loadgen-generic-*"))
    assert not left, "customize.py takes its directory away, however a run ends"


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """An ONNX model that multiplies N rows of four numbers by a matrix."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], [0.5] * 12)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = onnx.ModelProto.SerializeToString(model)
    return content


@pytest.fixture
def model(cm: Cm, tiny_model: bytes) -> Path:
    """The tiny model as tiny.onnx in the current directory."""
    path = cm.directory / "tiny.onnx"
    path.write_bytes(tiny_model)
    return path
