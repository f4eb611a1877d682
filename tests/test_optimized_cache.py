"""Optimised models that are kept: the same answers, never a stale or a damaged one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import graph_models
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from command import Command
from onnx import TensorProto, helper, numpy_helper

from loadgen_generic.answers.reference import reference_spec
from loadgen_generic.backends import BackendSpec, create_backend, optimized
from loadgen_generic.seams import Batch
from loadgen_generic.tensors import Array, ModelSignature

WIDTH, HIDDEN = 64, 36_000  # weights of 18 MiB
SHORT = {"samples": 8, "warmup_queries": 1, "runner": "inline"}


def weighty(factor: float = 1.0) -> bytes:
    """Two layers that ONNX Runtime fuses, with a constant that it folds."""
    random = np.random.default_rng(3)
    one, other = (
        random.normal(size=shape).astype(np.float32) for shape in ((WIDTH, HIDDEN), (HIDDEN, WIDTH))
    )
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "one"], ["hidden"]),
        make("Add", ["hidden", "bias"], ["biased"]),
        make("Relu", ["biased"], ["active"]),
        make("Mul", ["half", "half"], ["quarter"]),
        make("Mul", ["active", "quarter"], ["scaled"]),
        make("MatMul", ["scaled", "other"], ["y"]),
    ]
    return graph_models.graph_model(
        nodes,
        [("x", TensorProto.FLOAT, ["N", WIDTH])],
        [("y", TensorProto.FLOAT, ["N", WIDTH])],
        one=one,
        other=other * np.float32(factor),
        bias=np.ones(HIDDEN, np.float32),
        half=np.array([0.5], np.float32),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(weighty())
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "optimized"


@pytest.fixture
def cached(command: Command, cache: Path) -> Command:
    return replace(command, environ={**command.environ, "LOADGEN_GENERIC_CACHE": cache.parent})


def spec(path: Path, *, keep: bool = True) -> BackendSpec:
    plain = BackendSpec("onnxruntime", str(path), "CPUExecutionProvider", 1, 1, "sequential")
    return replace(plain, optimized_cache=keep)


def loaded(wanted: BackendSpec, feed: Array) -> tuple[str, ModelSignature, Sequence[Array], str]:
    """How it was loaded, the signature, the answers, and the notes."""
    backend = create_backend(wanted)
    signature = backend.load()
    worker = backend.worker()
    worker.infer(Batch(len(feed), (feed,)))
    answers = [np.array(answer) for answer in worker.outputs()]
    state = str(backend.effective()["optimized_model"])
    return state, signature, answers, "".join(backend.notes())


def feed() -> Array:
    return np.random.default_rng(4).normal(size=(3, WIDTH)).astype(np.float32)


def entry_of(cache: Path) -> Path:
    (entry,) = cache.iterdir()
    return entry


def forge(entry: Path) -> None:
    """Let the entry look as if it had been written as it now is."""
    source = json.loads((entry / "source.json").read_text())
    for name in source["entry"]:
        stat = (entry / name).stat()
        source["entry"][name] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    (entry / "source.json").write_text(json.dumps(source))


def test_the_same_model_to_the_bit(model: Path, cache: Path) -> None:
    plain, first, second = (loaded(spec(model, keep=k), feed()) for k in (False, True, True))
    assert [plain[0], first[0], second[0]] == ["off: not asked for", "written", "cached"]
    for other in (first, second):
        assert other[1] == plain[1]
        assert other[1].inputs[0].shape == ("N", WIDTH)
        np.testing.assert_array_equal(other[2], plain[2])
        assert other[3] == ""


@pytest.mark.slow
def test_resnet50_to_the_bit(tmp_path: Path, cache: Path) -> None:
    from loadgen_generic.models.resnet50 import cached

    path = cached(tmp_path)
    images = np.random.default_rng(4).normal(size=(4, 3, 224, 224)).astype(np.float32)
    plain, first, second = (loaded(spec(path, keep=k), images) for k in (False, True, True))
    assert [first[0], second[0]] == ["written", "cached"]
    for other in (first, second):
        assert other[1] == plain[1]
        np.testing.assert_array_equal(other[2], plain[2])


@pytest.mark.parametrize(
    "runner",
    [
        "processpool",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("inline", "threadpool+replication")),
    ],
)
def test_runs_say_so_and_verify(runner: str, model: Path, cached: Command, cache: Path) -> None:
    flags = {**SHORT, "runner": runner, "verify": "reference"}
    states, signatures = [], []
    for number, switch in enumerate((None, None, False)):
        out = cached.run(model, **flags, output_dir=f"out{number}", optimized_cache=switch)
        assert out.code == 0, out.stderr
        states.append(out.effective["optimized_model"])
        signatures.append((out.result.model.inputs, out.result.model.outputs))
    assert states == ["written", "cached", "off: not asked for"]
    assert signatures[0] == signatures[1] == signatures[2]


def test_a_model_that_changed_under_its_name(model: Path, cache: Path) -> None:
    """Also where its size and its time stay what they were."""
    loaded(spec(model), feed())
    before = model.stat()
    model.write_bytes(weighty(factor=2.0))
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_size == before.st_size
    state, _, answers, _ = loaded(spec(model), feed())
    assert state == "written"
    np.testing.assert_array_equal(answers, loaded(spec(model, keep=False), feed())[2])
    assert len(list(cache.iterdir())) == 1


def flip(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2)
        content.write(b"\xff\xff\x7f\x7f")


DAMAGES = {
    "weights flipped": lambda entry: flip(entry / "weights.bin"),
    "weights cut": lambda entry: os.truncate(entry / "weights.bin", 1 << 20),
    "weights gone": lambda entry: (entry / "weights.bin").unlink(),
    "graph flipped": lambda entry: flip(entry / "model.onnx"),
    "graph empty": lambda entry: os.truncate(entry / "model.onnx", 0),
    "source no JSON": lambda entry: (entry / "source.json").write_text("{"),
    "source of another kind": lambda entry: (entry / "source.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_replaced(damage: str, model: Path, cache: Path) -> None:
    loaded(spec(model), feed())
    DAMAGES[damage](entry_of(cache))
    state, _, answers, note = loaded(spec(model), feed())
    assert state == "written"
    assert str(entry_of(cache)) in note
    np.testing.assert_array_equal(answers, loaded(spec(model, keep=False), feed())[2])
    assert loaded(spec(model), feed())[0] == "cached"


def test_an_entry_that_onnxruntime_cannot_load(model: Path, cached: Command, cache: Path) -> None:
    loaded(spec(model), feed())
    (entry_of(cache) / "model.onnx").write_bytes(b"no model")
    forge(entry_of(cache))
    outcome = cached.run(model, **SHORT)
    assert outcome.effective["optimized_model"] == "written"
    assert "could not be loaded; it was removed" in outcome.stderr
    assert cached.run(model, **SHORT, output_dir="b").effective["optimized_model"] == "cached"


def test_the_hash_of_the_model_has_the_last_word(model: Path, cached: Command, cache: Path) -> None:
    """Where the file system keeps no times, the file may be another one all the same."""
    loaded(spec(model), feed())
    source = entry_of(cache) / "source.json"
    source.write_text(json.dumps({**json.loads(source.read_text()), "sha256": "0" * 64}))
    outcome = cached.run(model, **SHORT)
    assert outcome.code == 1
    assert f"{model} is not the model that the cached optimised one was made from" in outcome.stderr
    assert cached.run(model, **SHORT, output_dir="b").effective["optimized_model"] == "written"


def test_the_reference_never_comes_from_the_cache(
    model: Path, cached: Command, cache: Path
) -> None:
    """A wrong model in the cache is what is measured, and is found out."""
    loaded(spec(model), feed())
    entry = entry_of(cache)
    wrong = onnx.load(entry / "model.onnx", load_external_data=True)
    for tensor in wrong.graph.initializer:
        if tensor.name == "other":
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(2), "other"))
    (entry / "weights.bin").unlink()
    onnx.save(wrong, entry / "model.onnx", save_as_external_data=True, location="weights.bin")
    forge(entry)
    outcome = cached.run(model, **SHORT, verify="reference")
    assert outcome.code == 1, outcome.stderr
    state = loaded(reference_spec(spec(model), str(model)), feed())[0]
    assert state == "off: the graph is not optimised"


LOAD = """
import sys
import numpy as np
from test_optimized_cache import feed, loaded, spec
from pathlib import Path
print("ready", flush=True)
sys.stdin.readline()
state, _, answers, note = loaded(spec(Path(sys.argv[1])), feed())
print(state, np.asarray(answers).tobytes().hex())
"""


def test_processes_that_write_at_once(model: Path, cache: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(model)],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    right = np.asarray(loaded(spec(model, keep=False), feed())[2]).tobytes().hex()
    assert {answers for _, answers in said} == {right}
    assert {state for state, _ in said} <= {"written", "cached"}
    assert loaded(spec(model), feed())[0] == "cached"
    assert len(list(cache.iterdir())) == 1


def test_what_shapes_the_graph_has_an_entry_of_its_own(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"session.set_denormal_as_zero": "1"}
    for other in (spec(model), replace(spec(model), options=options)):
        assert loaded(other, feed())[0] == "written"
    assert loaded(replace(spec(model), intra_op_threads=2), feed())[0] == "cached"
    monkeypatch.setattr(optimized, "processor_identity", lambda: "another processor")
    assert loaded(spec(model), feed())[0] == "written"
    assert len(list(cache.iterdir())) == 3


def test_each_level_of_optimization_has_an_entry_of_its_own(model: Path, cache: Path) -> None:
    for level in ("all", "extended"):
        wanted = replace(spec(model), graph_optimization=level)
        assert [loaded(wanted, feed())[0] for _ in range(2)] == ["written", "cached"]
        backend = create_backend(wanted)
        backend.load()
        assert backend.effective()["graph_optimization"] == level
    assert len(list(cache.iterdir())) == 2
    off = loaded(replace(spec(model), graph_optimization="disabled"), feed())[0]
    assert off == "off: the graph is not optimised"


def test_the_cache_is_bounded(
    model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not used for the longest time goes, and what was left half written."""
    monkeypatch.setattr(optimized, "_LARGEST_TOTAL_BYTES", int(2.5 * model.stat().st_size))
    others = [tmp_path / f"{name}.onnx" for name in "ab"]
    for other in others:
        other.write_bytes(model.read_bytes())
    abandoned = cache / "x.tmp"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    for path, expected in (
        (model, "written"),
        (others[0], "written"),
        (model, "cached"),
        (others[1], "written"),
        (model, "cached"),
        (others[0], "written"),
    ):
        assert loaded(spec(path), feed())[0] == expected
    assert len(list(cache.iterdir())) == 2
    assert not abandoned.exists()


def test_a_cache_that_cannot_be_written(model: Path, command: Command) -> None:
    (command.directory / "file").write_text("")
    environ = {**command.environ, "LOADGEN_GENERIC_CACHE": str(command.directory / "file")}
    outcome = replace(command, environ=environ).run(model, **SHORT)
    assert outcome.effective["optimized_model"].startswith("off: Not a directory")
    assert "--no-optimized_cache" in outcome.stderr


def test_what_is_not_kept(model: Path, cache: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    small.write_bytes(graph_models.bert())
    backend = create_backend(spec(small))
    backend.load()
    assert backend.effective()["optimized_model"] == "off: the file is smaller than 16 MiB"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    own = loaded(spec(tmp_path / "model.ort"), feed())[0]
    assert own == "off: it is in ONNX Runtime's own format"
    mixed = onnx.load(model)
    for tensor in mixed.graph.initializer:
        if tensor.name == "bias":
            onnx.external_data_helper.set_external_data(tensor, "bias.bin")
    onnx.save(mixed, model)
    assert (tmp_path / "bias.bin").exists()
    assert loaded(spec(model), feed())[0] == "off: its weights are in other files"
    assert not cache.exists()


def test_looking_at_a_model_leaves_nothing_behind(
    model: Path, cached: Command, cache: Path
) -> None:
    assert cached("inspect", model).code == 0
    assert not cache.exists()
