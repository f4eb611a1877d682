"""The benchmark of GPUs, walked on the CPU provider; its figures mean nothing here."""

from __future__ import annotations

import ctypes
import json
import math
import platform
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from nvml import FakeCard, nvml

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu
import gpu_card
import gpu_lane
import gpu_loop
import gpu_watch
import models
from campaign import Campaign
from gpu_pool import Task
from lab import Case, Lab, Measured, UnavailableError
from suite import Figure, Row
from table import Record, judge

# One model, one batch size: everything but MultiStream, Server and SingleStream, which take long.
LOOK = ["--ep", "cpu", "--quick", "--seconds", "0.1", "--models", "bert-tiny", "--batches", "4"]
ROWS = ["verify/*/float16/*", "offline/*/float16/*/best"]
BEST = "offline/bert-tiny/float16/host/best"


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def where(directory: Path) -> list[object]:
    return ["--work", directory / "work", "--output", directory / "results"]


@pytest.fixture(scope="module")
def outcome(directory: Path, where: list[object]) -> tuple[str, Path, dict[str, Any]]:
    """The table, the file and the JSON of a quick look."""
    done = benchmark(*LOOK, *where, "--only", *ROWS)
    assert done.returncode == 0, done.stderr
    assert "4 runs, about" in done.stderr
    (file,) = (directory / "results").iterdir()
    return done.stdout, file, json.loads(file.read_text(encoding="utf-8"))


def row_of(report: dict[str, Any], key: str) -> dict[str, Any]:
    (row,) = [row for row in report["rows"] if row["key"] == key]
    return dict(row)


def test_both_sides_have_figures_and_a_ratio(outcome: tuple[str, Path, dict[str, Any]]) -> None:
    table, _, report = outcome
    row = row_of(report, BEST)
    assert row["by_round"] == [pytest.approx(row["ours"] / row["other"])]
    assert row["reached"] == row["by_round"][0]
    assert f"{row['ours']:,.0f}" in next(line for line in table.splitlines() if BEST in line)


def test_answers_of_both_sides_are_checked(outcome: tuple[str, Path, dict[str, Any]]) -> None:
    _, _, report = outcome
    assert row_of(report, "verify/bert-tiny/float16/host/ours")["holds"] is True
    assert row_of(report, "verify/bert-tiny/float16/host/raw")["holds"] is True
    told = report["cases"]["verify/bert-tiny/float16/host/ours"]["rounds"][0]["detail"]
    assert told["samples"] == 8


def test_every_figure_has_its_command_line(outcome: tuple[str, Path, dict[str, Any]]) -> None:
    _, _, report = outcome
    commands = {key: case["command"] for key, case in report["cases"].items()}
    assert len(commands) == 4
    assert all("bert-tiny-float16.onnx" in command for command in commands.values())
    ours = commands["offline/bert-tiny/float16/host/ours/batch-4"]
    assert "loadgen-generic run" in ours
    assert "--value_range input_ids=0:1000" in ours
    raw = commands["offline/bert-tiny/float16/host/raw/batch-4"]
    assert "gpu_loop.py" in raw
    assert "--range input_ids=0:1000" in raw


def test_file_says_on_what_it_was_measured(outcome: tuple[str, Path, dict[str, Any]]) -> None:
    _, _, report = outcome
    (session,) = report["sessions"]
    assert session["packages"]["onnxruntime"] == ort.__version__
    assert session["command"].startswith("gpu.py --ep cpu --quick")
    assert platform.node() not in json.dumps(session["machine"])
    assert str(BENCHMARKS.parent) not in json.dumps(report["cases"])


def test_append_goes_on_where_it_ended(
    where: list[object], outcome: tuple[str, Path, dict[str, Any]]
) -> None:
    table, file, before = outcome
    done = benchmark(*LOOK, *where, "--only", *ROWS, "--append", file)
    assert done.returncode == 0, done.stderr
    assert "0 runs, about 0.0 min" in done.stderr
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after["cases"] == before["cases"]
    assert len(after["sessions"]) == 2
    assert done.stdout.splitlines()[:5] == table.splitlines()[:5]


def test_append_refuses_figures_of_another_kind(
    capsys: pytest.CaptureFixture[str], outcome: tuple[str, Path, dict[str, Any]]
) -> None:
    _, file, _ = outcome
    before = file.read_bytes()
    assert gpu.main([*LOOK, "--seconds", "7", "--append", str(file)]) == 2
    assert "has seconds 0.1, now it is 7.0" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_no_group_starts_that_would_end_too_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--work", str(tmp_path / "work"), "--output", str(tmp_path)]
    assert gpu.main([*LOOK, *where, "--minutes", "0.001"]) == 0
    said = capsys.readouterr().out
    assert "not run yet: verify/bert-tiny/float32/host, verify/bert-tiny/float16/host" in said
    assert "--append" in said


def test_list_names_rows_and_estimates(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--ep", "cpu", "--list", "--models", "mlp", "--batches", "64"]) == 0
    said = capsys.readouterr()
    assert "offline/mlp/float32/host/batch-64" in said.out.splitlines()
    assert "runs, about" in said.err
    assert gpu.main(["--ep", "cpu", "--only", "nothing/*"]) == 2


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="there is CUDA here"
)
def test_without_cuda_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert gpu.main(["--work", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "has no CUDA" in capsys.readouterr().err


@pytest.mark.slow
def test_every_row_of_a_quick_look(where: list[object], tmp_path: Path) -> None:
    done = benchmark("--ep", "cpu", "--quick", *where[:2], "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.iterdir()
    report = json.loads(file.read_text(encoding="utf-8"))
    kinds = {row["key"].partition("/")[0] for row in report["rows"]}
    assert kinds == {"verify", "offline", "singlestream", "multistream", "server"}
    for row in report["rows"]:
        assert row["ours"] is not None or "INVALID" in row["note"], row
        assert row["other"] is not None or row["judge"] in ("value", "least"), row


@pytest.fixture
def model(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model to run in this process, on a few samples."""
    monkeypatch.setattr(gpu_loop, "pool_size", lambda *_: 20)
    return models.write("bert-tiny", directory / "models")


def loop(model: Path, mode: str, location: str, *more: str) -> int:
    ranges = ["--range", "input_ids=0:1000", "--range", "attention_mask=1:2"]
    words = ["--ep", "cpu", "--location", location, "--batch", "3", "--seconds", "0.01"]
    return gpu_loop.main([str(model), mode, *words, *ranges, *more])


@pytest.mark.parametrize("location", ["host", "pinned", "device"])
def test_raw_loop_computes_the_model(
    model: Path,
    location: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_lane, "_LEAST_PIECE", 100)  # of 384 bytes
    assert loop(model, "check", location) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["least_cosine"] > 0.9999
    assert found["cuda_graph"] == "off: the CPU provider has none"


def test_raw_loop_that_moves_nothing_is_found_out(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_card.HostCard, "copy", lambda *_: None)
    with pytest.raises(SystemExit, match="not the CPU provider's"):
        loop(model, "check", "host")


def test_raw_loop_runs_the_layout_that_it_is_given(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop(model, "throughput", "host", "--layout", "2,plain") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["full"]) == ["2,plain"]
    assert found["samples_per_sec"] > 0
    assert not found["tried"]


class PlayedCard(gpu_card.HostCard):
    """Memory of its own, though ordinary, and graphs, though none is recorded."""

    graphs, shared = True, False


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A GPU is played by the CPU provider; what each session was asked for."""
    asked: list[dict[str, str]] = []

    def open_session(
        task: Task, card: gpu_card.Card, options: dict[str, str], threads: int = 0
    ) -> ort.InferenceSession:
        asked.append({**options, **task.options})
        if task.options.get("refuses") and options["enable_cuda_graph"] == "1":
            raise RuntimeError("This session cannot use the graph capture feature\nat all")
        return ort.InferenceSession(task.model, providers=["CPUExecutionProvider"])

    for module in (gpu_lane, gpu_loop):
        monkeypatch.setattr(module, "open_session", open_session)
        monkeypatch.setattr(module, "card_of", lambda provider, device: PlayedCard(device))
    return asked


@pytest.mark.parametrize("location", ["host", "pinned", "device"])
def test_played_gpu_with_and_without_graphs(
    model: Path, location: str, asked: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop(model, "check", location, "--ep", "cuda", "--tf32") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["least_cosine"] > 0.9999
    assert found["cuda_graph"] == "on"
    assert {name.split()[0] for name in found["cosine"]} == {"1,graph", "1,plain"}
    (options,) = asked
    assert options == {
        "device_id": "0",
        "use_tf32": "1",
        "user_compute_stream": "0",
        "enable_cuda_graph": "1",
    }


def test_played_gpu_tries_lanes(
    model: Path, asked: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop(model, "throughput", "host", "--ep", "cuda", "--trial", "0.01") == 0
    found = json.loads(capsys.readouterr().out)
    layouts = [f"{lanes},{kind}" for lanes in (1, 2, 4) for kind in ("graph", "plain")]
    assert list(found["tried"]) == layouts
    assert len(found["full"]) == 2
    assert len(asked) == 4


def test_graphs_that_are_refused_are_told(
    model: Path, asked: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop(model, "latency", "host", "--ep", "cuda", "--option", "refuses=1") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cuda_graph"] == "off: This session cannot use the graph capture feature"
    assert list(found["all"]) == ["1,plain"]
    assert [options["enable_cuda_graph"] for options in asked] == ["1", "0"]


def test_pieces_of_upstream_use_the_settings_of_the_provider(
    model: Path, asked: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop(model, "pieces", "host", "--ep", "cuda", "--batch", "1") == 0
    assert json.loads(capsys.readouterr().out)["calls"] > 0
    assert asked == [{"device_id": "0"}]


class Code(IntEnum):
    FINE = 0
    FULL = 2


class Kind(IntEnum):
    cudaMemcpyDefault = 4  # noqa: N815


def runtime(memory: int) -> ModuleType:
    """A stand-in for cuda.bindings.runtime with so many bytes: ordinary memory behind its calls."""
    module, kept = ModuleType("cuda.bindings.runtime"), []

    def take(size: int, *flags: int) -> tuple[Code, int]:
        if size > memory:
            return Code.FULL, 0
        kept.append(ctypes.create_string_buffer(size))
        return Code.FINE, ctypes.addressof(kept[-1])

    def copy(target: int, source: int, size: int, kind: Kind, stream: int) -> tuple[Code]:
        assert (kind, stream) == (Kind.cudaMemcpyDefault, 77)
        ctypes.memmove(target, source, size)
        return (Code.FINE,)

    members = {
        "cudaSetDevice": lambda device: (Code.FINE,),
        "cudaStreamCreateWithFlags": lambda flags: (Code.FINE, 77),
        "cudaStreamSynchronize": lambda stream: (Code.FINE,),
        "cudaStreamNonBlocking": 1,
        "cudaHostAlloc": take,
        "cudaHostAllocDefault": 0,
        "cudaMalloc": take,
        "cudaMemcpyAsync": copy,
        "cudaMemcpyKind": Kind,
        "cudaGetErrorString": lambda error: (Code.FINE, b"out of memory"),
    }
    for name, member in members.items():
        setattr(module, name, member)
    return module


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> gpu_card.CudaCard:
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = runtime(1 << 20)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    return gpu_card.CudaCard(0)


def test_bytes_go_to_the_card_and_back(card: gpu_card.CudaCard) -> None:
    sent, back, stream = card.pinned(100), card.pinned(100), card.stream()
    sent[:] = np.arange(100)
    address = card.memory(100)
    card.copy(address, sent.ctypes.data, 100, stream)
    sent[:] = 0
    card.copy(back.ctypes.data, address, 100, stream)
    card.wait(stream)
    assert back.tolist() == list(range(100))


def test_call_that_fails_is_named(card: gpu_card.CudaCard) -> None:
    with pytest.raises(gpu_card.CardError, match=r"^cudaMalloc: out of memory$"):
        card.memory(1 << 21)


def test_missing_bindings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(gpu_card.CardError, match="cuda-bindings"):
        gpu_card.CudaCard(0)


def test_cards_tell_clocks_and_power(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [FakeCard(b"Big", processes=lambda: [(1, 5)]), FakeCard(tells=False)]
    driver = {
        "NVML_CLOCK_MEM": 2,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlSystemGetCudaDriverVersion": lambda: 13000,
    }
    monkeypatch.setitem(sys.modules, "pynvml", nvml(cards, **driver))
    big, silent = gpu_watch.cards()
    assert (big["name"], big["sm_clock_mhz"], big["power_w"]) == ("Big", 1410, 250.5)
    assert big["processes"] == 1
    assert (silent["power_w"], silent["temperature_c"]) == (None, None)
    assert gpu_watch.describe()["driver"] == "580.1"


@pytest.mark.parametrize("name", ["bert-tiny", "mlp"])
def test_float16_model_answers_nearly_the_same(name: str, directory: Path) -> None:
    files = [models.write(each, directory / "models") for each in (name, f"{name}-float16")]
    full, half = (ort.InferenceSession(str(file)) for file in files)
    random = np.random.default_rng(0)
    ranges = models.MODELS[name].ranges
    feed = {
        node.name: random.integers(*ranges[node.name], (2, *node.shape[1:]))
        if ranges
        else random.random((2, *node.shape[1:]), dtype=np.float32)
        for node in full.get_inputs()
    }
    (right,) = full.run(None, feed)
    (found,) = half.run(
        None, {n: a.astype(np.float16) if a.dtype == np.float32 else a for n, a in feed.items()}
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, right, atol=0.02 * float(abs(right).max()))


def test_masked_tokens_do_not_count(model: Path) -> None:
    session = ort.InferenceSession(str(model))
    random = np.random.default_rng(0)
    feed = {node.name: random.integers(0, 2, (1, 16)) for node in session.get_inputs()}
    feed["attention_mask"] = np.array([[1] * 8 + [0] * 8])
    other = {**feed, "input_ids": feed["input_ids"].copy()}
    other["input_ids"][0, 8:] += 500
    (one,), (two,) = session.run(None, feed), session.run(None, other)
    np.testing.assert_allclose(one[0, :8], two[0, :8], atol=1e-6)
    assert abs(one[0, 8:] - two[0, 8:]).max() > 1e-3


def record(*values: float, dropped: bool = False) -> Record:
    return Record([Measured({"rate": value}, "command") for value in values], dropped=dropped)


def test_best_of_ours_is_paired_with_the_best_of_the_others() -> None:
    """The machine is slower in the second round and the third, for both."""
    records = {
        "a": record(60.0, dropped=True),
        "b": record(99.0, 48.0, 90.0),
        "c": record(100.0, 50.0, 80.0),
    }
    row = Row(
        "r",
        Figure("a", "rate"),
        (Figure("c", "rate"),),
        "1/s",
        wanted=0.98,
        or_ours=(Figure("b", "rate"),),
        paired=True,
    )
    verdict = judge(row, records)
    assert verdict.ours_case == "b"
    assert verdict.by_round == [pytest.approx(ratio) for ratio in (0.99, 0.96, 1.125)]
    assert verdict.reached == pytest.approx(0.99)  # the medians alone would say 1.125
    assert verdict.holds is True
    assert judge(Row("r", Figure("a", "rate"), (), "1/s", "least", 61), records).holds is False


def test_rounds_that_are_known_are_not_run_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(lab: Lab) -> Measured:
        asked.append("good")
        return Measured({"rate": 1.0}, "")

    def fail(lab: Lab) -> Measured:
        asked.append("bad")
        raise UnavailableError("no")

    lab = Lab(tmp_path, 1, 1.0, 1.0, True)
    records = {"good": record(5.0, 6.0)}
    saved: list[int] = []
    cases = [Case("good", measure), Case("bad", fail)]
    Campaign(lab, cases, 3, records, lambda: saved.append(1)).run()
    assert asked == ["bad", "good"]
    assert records["good"].values("rate") == [5.0, 6.0, 1.0]
    assert records["bad"].unavailable == "no"
    assert math.isnan(records["bad"].median("rate"))
    assert len(saved) == 2
