"""Weights beside the model, more than 2 GiB of them: read in place, and their absence named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import Command, Outcome
from onnx import TensorProto, helper, numpy_helper

from loadgen_generic.backends.wire import external_weights
from loadgen_generic.results.result import read_result

ROWS, WIDTH = (1 << 23) + 1, 65  # 2.03 GiB of float32
SMALL_ROWS = 64
KNOWN = 16  # the last rows, behind the second GiB, hold numbers; the others are holes in the file
WEIGHTS = "table.bin"
MIB = 1 << 20
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def known_rows() -> np.ndarray:
    return np.random.default_rng(6).normal(size=(KNOWN, WIDTH)).astype(np.float32)


def write_model(directory: Path, rows: int) -> Path:
    """Rows of a table by their number, and twice their values."""
    size = rows * WIDTH * 4
    table = TensorProto(
        name="table",
        data_type=TensorProto.FLOAT,
        dims=[rows, WIDTH],
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(size))):
        table.external_data.add(key=key, value=value)
    two = numpy_helper.from_array(np.float32(2), "two")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "row"], ["values"]),
            helper.make_node("Mul", ["values", "two"], ["y"]),
        ],
        "graph",
        [info("row", TensorProto.INT64, ["N"])],
        [info("y", TensorProto.FLOAT, ["N", WIDTH])],
        [table, two],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with (directory / WEIGHTS).open("wb") as file:
        file.seek(size - KNOWN * WIDTH * 4)
        file.write(known_rows().tobytes())
    return path


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model whose weights take no room on the disk, where it can keep holes in files."""
    directory = tmp_path_factory.mktemp("huge")
    path = write_model(directory, ROWS)
    weights = directory / WEIGHTS
    if weights.stat().st_blocks * 512 > 64 * MIB:
        weights.unlink()
        pytest.skip("this file system cannot keep holes in files")
    assert weights.stat().st_size > 2 << 30
    yield path
    weights.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_model(tmp_path, SMALL_ROWS)


def measured(command: Command, *words: object) -> tuple[str, int]:
    """Standard output of a command and its largest memory in bytes."""
    program = Path(sys.executable).with_name("loadgen-generic")
    outcome = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, (program, *words))],
        cwd=command.directory,
        env=dict(command.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    said, _, peak = outcome.stdout.rstrip("\n").rpartition("\n")
    return said, int(peak) << 10


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["inline", "threadpool+replication", "processpool"])
def test_more_than_2_gib_give_right_answers_in_little_memory(
    runner: str, huge: Path, command: Command
) -> None:
    rows = f"row={ROWS - KNOWN}:{ROWS}"
    flags = ["--range", rows, "--distinct_samples", 40, "--runner", runner, "--output_dir", "out"]
    _, peak = measured(
        command, "run", huge, *flags, "--mode", "accuracy", "--save_outputs", "--verify",
        "reference",
    )  # fmt: skip
    assert peak < 400 * MIB
    result = read_result(command.directory / "out")
    assert result.accuracy is not None
    answers = np.load(command.directory / "out" / str(result.accuracy.outputs_file))["y"]
    assert answers.shape == (40, WIDTH)
    known = 2 * known_rows()
    which = [int(np.argmin(np.abs(known - answer).sum(axis=1))) for answer in answers]
    np.testing.assert_array_equal(answers, known[which])
    assert len(set(which)) > KNOWN // 2
    assert result.verification is not None
    assert result.verification.passed


@pytest.mark.slow
def test_more_than_2_gib_without_flags(huge: Path, command: Command) -> None:
    """The numbers of rows are found from the graph, up to the last of 8 million."""
    said, peak = measured(command, "inspect", huge, "--json")
    model = json.loads(said)
    assert peak < 400 * MIB
    assert model["external_data"] == {WEIGHTS: ROWS * WIDTH * 4}
    assert model["external_bytes"] == ROWS * WIDTH * 4
    assert model["parameters"] == ROWS * WIDTH + 1
    assert f"with {ROWS} rows" in model["inputs"][0]["fed"]
    outcome = command.run(huge, samples=20)
    assert outcome.result.samples_completed == 20


@pytest.mark.slow
def test_a_part_of_more_than_2_gib(huge: Path, command: Command, tmp_path: Path) -> None:
    """What a download leaves that broke off at the limit of 32 bits."""
    (tmp_path / "model.onnx").write_bytes(huge.read_bytes())
    with (tmp_path / WEIGHTS).open("wb") as file:
        file.truncate((1 << 31) - 1)
    outcome = command.run(tmp_path / "model.onnx", samples=4)
    refused(outcome, WEIGHTS, f"needs {ROWS * WIDTH * 4:,} bytes", "has 2,147,483,647")


@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_weights_that_are_missing(verb: str, small: Path, command: Command) -> None:
    (small.parent / WEIGHTS).unlink()
    refused(command(verb, small), WEIGHTS, "is missing", "beside the model")


@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_weights_that_are_cut(verb: str, small: Path, command: Command) -> None:
    os.truncate(small.parent / WEIGHTS, 100)
    refused(command(verb, small), WEIGHTS, "needs 16,640 bytes", "has 100", "beside the model")


def test_a_folder_where_the_weights_should_be(small: Path, command: Command) -> None:
    (small.parent / WEIGHTS).unlink()
    (small.parent / WEIGHTS).mkdir()
    refused(command.run(small), WEIGHTS, "is missing")


def test_which_files_hold_weights(small: Path) -> None:
    assert external_weights(str(small)) == {WEIGHTS: SMALL_ROWS * WIDTH * 4}


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code == 2, outcome.stderr
    for word in ("--modelpath", *words):
        assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr
