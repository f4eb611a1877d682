"""The other servers that tests of clients have, with nothing of this project in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from servers import Client, RefusedError, Server, tensor

pytestmark = pytest.mark.slow

X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, 3]}
Start = Callable[..., Server]


@pytest.fixture(params=["mlserver", "plain_kserve"])
def start(request: pytest.FixtureRequest, models: Callable[[str], Path]) -> Start:
    """Starts one of them with the model matmul."""
    begin = request.getfixturevalue(request.param)
    tensors = ([X], [Y]) if request.param == "mlserver" else ()
    return lambda **extra: begin(models("matmul"), *tensors, **extra)


def test_it_answers_and_fails_as_told(start: Start, ask: Callable[..., Client]) -> None:
    client = ask(start().endpoint)
    assert client("metadata", model="matmul")["inputs"] == [{**X, "shape": ["-1", "4"]}]
    ones = tensor("x", "FP32", [[1.0, 0, 0, 0], [0, 12.0, 0, 0]])
    answer = client.infer("matmul", ones)["outputs"]["y"]
    assert answer["shape"] == [2, 3]
    assert answer["data"][1] == pytest.approx([3, 4, 5])
    broken = ask(start(fail=True).endpoint)
    with pytest.raises(RefusedError, match="as it was told to"):
        broken.infer("matmul", ones)
