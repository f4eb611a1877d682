"""``loadgen-generic inspect``: what a model is, and what it would be fed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import graph_models
import onnx
import pytest
from command import Command

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    path = tmp_path / "bert.onnx"
    path.write_bytes(graph_models.bert())
    return path


def test_for_people(bert: Path, command: Command) -> None:
    outcome = command("inspect", bert)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stderr == ""
    assert not CONTROL.search(outcome.stdout)
    for told in (
        "ai.onnx 13",
        "Gather 3",
        "parameters:  248,803",
        "batchxsequence",
        "int64[128], uniform over [0, 30522) (index of Gather 'embed' with 30522 rows)",
        "1 everywhere (a mask that hides nothing)",
        "dimension sequence has no size: 128 is taken",
    ):
        assert told in outcome.stdout


def test_for_programs(bert: Path, command: Command) -> None:
    outcome = command("inspect", bert, "--json", dim="sequence=9", range="input_ids=3:8")
    assert outcome.code == 0, outcome.stderr
    model = json.loads(outcome.stdout)
    ids = model["inputs"][0]
    assert ids["name"] == "input_ids"
    assert ids["type"] == "tensor(int64)"
    assert ids["shape"] == ["batch", "sequence"]
    assert ids["sample_shape"] == [9]
    assert ids["fed"] == "int64[9], uniform over [3, 8) (--range)"
    assert model["batch_dim"] == "batch"
    assert model["opsets"] == {"ai.onnx": 13}
    assert model["operators"]["Gather"] == 3
    assert model["file_bytes"] == bert.stat().st_size
    assert model["external_data"] == {}
    assert model["notes"] == []


@pytest.mark.parametrize("there", [True, False])
def test_weights_beside_the_model(there: bool, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        onnx.load_from_string(graph_models.bert()),
        path,
        save_as_external_data=True,
        location="weights.bin",
    )
    weights = tmp_path / "weights.bin"
    size = weights.stat().st_size
    if there:
        model = json.loads(command("inspect", path, "--json").stdout)
        assert model["external_data"] == {"weights.bin": size}
        assert model["external_bytes"] == size
        assert model["inputs"][0]["fed"].endswith("with 30522 rows)")
    else:
        weights.unlink()
        outcome = command("inspect", path)
        assert outcome.code == 2
        assert "keeps weights in weights.bin, which is missing" in outcome.stderr


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_a_bad_file_is_refused_as_a_run_refuses_it(
    content: bytes | None, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    inspected, ran = command("inspect", path), command.run(path)
    assert inspected.code == ran.code == 2
    assert inspected.stderr == ran.stderr


def test_a_name_cannot_command_the_terminal(tmp_path: Path, command: Command) -> None:
    model = onnx.load_from_string(graph_models.conv())
    model.graph.node[0].input[0] = model.graph.input[0].name = "[red]\x1b[2J"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    outcome = command("inspect", path)
    assert outcome.code == 0, outcome.stderr
    assert not CONTROL.search(outcome.stdout)
    assert "[red]\\x1b[2J" in outcome.stdout


def test_failed_guesses_leave_one_line(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_models.picky())
    outcome = command("inspect", path)
    assert outcome.code == 2
    assert outcome.stderr.count("\n") == 1
    assert "--dim width=SIZE" in outcome.stderr


def test_a_built_in_model(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command("inspect", models("matmul"), "--json")
    assert json.loads(outcome.stdout)["parameters"] == 12
