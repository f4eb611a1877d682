"""Batches on a GPU, with ordinary memory in the place of CUDA's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import tiny_models
from card_standin import Error, Kind, Node, Runtime, Session, install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from pydantic import ValidationError

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.card import buffers as buffers_module
from loadgen_generic.backends.card import worker as worker_module
from loadgen_generic.backends.card.buffers import Lane, why_plain
from loadgen_generic.backends.card.engines import EngineCache, preload_tensorrt
from loadgen_generic.backends.card.graphs import Graphs
from loadgen_generic.backends.card.memory import QUIET, Card, Stream
from loadgen_generic.backends.card.residence import Residences, stretches
from loadgen_generic.backends.card.split import split
from loadgen_generic.backends.card.worker import CardWorker
from loadgen_generic.backends.providers.cuda import TF32_OVERRIDE, Cuda
from loadgen_generic.backends.providers.tensorrt import TensorRt
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.elements import ELEMENTS
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.runners.inline import InlineRunner
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.samples.mixed import MixedSamples, generated_shape
from loadgen_generic.tensors import InputPlan, SamplePlan

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
LOCATIONS = ["host", "pinned", "device"]
FLOATS = [Node("x", "tensor(float)", ["N", 4])]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    for name, module in install(made).items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def plan(dtype: str = "float32", sample: tuple[int, ...] = (4,), **how: Any) -> SamplePlan:
    kind: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype, dtype))
    return SamplePlan((InputPlan("x", kind, sample),), **{"batched": True, **how})


def samples_of(what: SamplePlan, count: int, placed: bool = False) -> SyntheticSamples:
    samples = SyntheticSamples(what, count, seed=3)
    if placed:
        samples.place()
    samples.load(range(count))
    return samples


def lane_of(
    runtime: Runtime,
    inputs: Sequence[Node] = FLOATS,
    outputs: Sequence[Node] | None = None,
    graphs: str = "off here",
    frozen: bool = False,
    number: int = 0,
) -> Lane:
    card = Card(number)
    stream = Stream(card)
    if outputs is None:
        outputs = [Node(f"{node.name}_again", node.type, node.shape) for node in inputs]
    session = Session(runtime, stream.handle, inputs, outputs, frozen)
    return Lane(session, card, stream, Graphs(graphs), "enable_cuda_graph")


def worker_of(lane: Lane, location: str) -> CardWorker:
    if location == "host":
        return CardWorker(lane, None)
    return CardWorker(lane, Residences(lane.card, on_card=location == "device"))


ONNX_NAMES = {element.dtype.name: name for name, element in ELEMENTS.items()}


@pytest.mark.parametrize("location", LOCATIONS)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dtype=st.sampled_from(["float32", "float16", "bfloat16", "int64", "bool", "uint8", "float64"]),
    sample=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    queries=st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=6), min_size=1, max_size=5),
    fixed=st.sampled_from([0, 6]),
)
def test_the_model_sees_the_samples_and_answers_come_back(
    runtime: Runtime,
    location: str,
    dtype: str,
    sample: tuple[int, ...],
    queries: list[list[int]],
    fixed: int,
) -> None:
    what = plan(dtype, sample, fixed_batch=fixed)
    node = Node("x", ONNX_NAMES[dtype], [fixed or "N", *sample])
    lane = lane_of(runtime, [node])
    samples = samples_of(what, 9, placed=location != "host")
    plain = samples_of(what, 9).reader(6)
    worker, reader = worker_of(lane, location), samples.reader(6)
    for indices in queries:
        batch = reader.batch(indices)
        worker.infer(batch)
        (expected,) = plain.batch(indices).arrays
        (seen,) = lane.session.seen[-1]
        assert len(seen) == expected.nbytes
        assert seen[: expected[: len(indices)].nbytes] == expected[: len(indices)].tobytes()
        (answer,) = worker.outputs()
        assert answer.dtype == expected.dtype
        assert answer.shape == expected.shape
        assert answer[: len(indices)].tobytes() == expected[: len(indices)].tobytes()
        assert batch.count == len(indices)


def test_a_model_without_a_batch_dimension(runtime: Runtime) -> None:
    what = plan(sample=(2, 3), batched=False)
    node = Node("x", "tensor(float)", [2, 3])
    for location in LOCATIONS:
        samples = samples_of(what, 4, placed=location != "host")
        worker = worker_of(lane_of(runtime, [node]), location)
        worker.infer(samples.reader(1).batch([2]))
        np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0][2])


def test_large_batches_go_in_pieces(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_PIECE_BYTES", 1000)
    what = plan(sample=(700,))
    samples = samples_of(what, 5)
    worker = worker_of(lane_of(runtime, [Node("x", "tensor(float)", ["N", 700])]), "host")
    worker.infer(samples.reader(5).batch(range(5)))
    np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0])
    assert [n for kind, n in runtime.copied if kind == Kind.cudaMemcpyHostToDevice] == [1000] * 14


def test_where_samples_start_decides_what_is_copied(runtime: Runtime) -> None:
    """Once samples lie on the GPU, no query brings them there."""
    for location, expected in (
        ("host", Kind.cudaMemcpyHostToDevice),
        ("pinned", Kind.cudaMemcpyHostToDevice),
        ("device", Kind.cudaMemcpyDeviceToDevice),
    ):
        samples = samples_of(plan(), 8, placed=location != "host")
        worker = worker_of(lane_of(runtime), location)
        reader = samples.reader(4)
        worker.infer(reader.batch([0, 1, 2, 3]))
        runtime.copied.clear()
        worker.infer(reader.batch([4, 5, 6, 7]))
        assert runtime.copied == [(expected, 64), (Kind.cudaMemcpyDeviceToHost, 64)]


def test_samples_that_lie_apart_are_gathered_in_stretches(runtime: Runtime) -> None:
    samples = samples_of(plan(), 8, placed=True)
    worker = worker_of(lane_of(runtime), "device")
    worker.infer(samples.reader(5).batch([6, 7, 1, 2, 5]))
    np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0][[6, 7, 1, 2, 5]])
    assert list(stretches([6, 7, 1, 2, 5])) == [(6, 2), (1, 2), (5, 1)]
    assert list(stretches(range(3, 7))) == [(3, 4)]


def test_samples_that_are_loaded_later_reach_the_gpu(runtime: Runtime) -> None:
    samples = samples_of(plan(), 6, placed=True)
    worker, reader = worker_of(lane_of(runtime), "device"), samples.reader(2)
    worker.infer(reader.batch([0, 1]))
    samples.unload(range(6))
    samples.load([5, 4, 3, 2, 1, 0])
    (everything,) = samples_of(plan(), 6).pool.arrays
    worker.infer(reader.batch([1, 0]))
    np.testing.assert_array_equal(worker.outputs()[0], everything[[1, 0]])


def test_buffers_are_made_once(runtime: Runtime) -> None:
    samples = samples_of(plan(), 8)
    worker, reader = worker_of(lane_of(runtime), "host"), samples.reader(8)
    worker.infer(reader.batch(range(8)))
    before = runtime.calls["cudaMalloc"], runtime.calls["cudaHostAlloc"]
    for count in (8, 3, 1, 5, 8):
        worker.infer(reader.batch(range(count)))
        np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0][:count])
    assert (runtime.calls["cudaMalloc"], runtime.calls["cudaHostAlloc"]) == before


def test_one_thread_serves_two_cards(runtime: Runtime) -> None:
    lanes = [lane_of(runtime, number=number) for number in (0, 1)]
    workers = [worker_of(lane, "host") for lane in lanes]
    reader = samples_of(plan(), 4).reader(4)
    for _ in range(3):
        for worker in workers:
            worker.infer(reader.batch(range(4)))
    assert [lane.session.cards for lane in lanes] == [[0, 0, 0], [1, 1, 1]]


def test_memory_is_given_back(runtime: Runtime) -> None:
    samples = samples_of(plan(), 8, placed=True)
    worker = worker_of(lane_of(runtime), "device")
    worker.infer(samples.reader(8).batch(range(8)))
    answers = worker.outputs()
    assert len(runtime.held) == 4  # samples, input, output, answers
    del worker, samples, answers
    assert not runtime.held


def test_a_graph_for_each_batch_size_of_each_worker(runtime: Runtime) -> None:
    lane = lane_of(runtime, graphs="")
    reader = samples_of(plan(), 9).reader(9)
    for _ in range(2):  # the next worker has other buffers, so its graphs have other ids
        worker = worker_of(lane, "host")
        for count in (8, 8, 8, 2, 2, 2):
            worker.infer(reader.batch(range(count)))
    # The second time, the answers are compared with those without a graph.
    assert lane.session.graphs == [
        *("1", "-1", "1", "1", "2", "-1", "2", "2"),
        *("3", "-1", "3", "3", "4", "-1", "4", "4"),
    ]
    assert lane.graphs.in_words() == "on"


def test_nobody_infers_while_a_graph_is_recorded(runtime: Runtime) -> None:
    """CUDA gives up a recording, and ONNX Runtime the process, if another thread disturbs it."""
    busy, recording = (worker_of(lane_of(runtime, graphs=""), "host") for _ in range(2))
    reader, other = samples_of(plan(), 4).reader(4), samples_of(plan(), 4).reader(4)
    for _ in range(2):
        busy.infer(reader.batch(range(4)))
    begun, recorded = threading.Event(), threading.Event()
    order: list[str] = []

    def record() -> None:
        begun.set()
        recording.infer(other.batch(range(4)))
        order.append("recorded")
        recorded.set()

    thread = threading.Thread(target=record)

    def while_busy(*_: object) -> None:
        thread.start()
        begun.wait()
        recorded.wait(0.2)  # as long as it would take, did it not wait
        order.append("inferred")

    runtime.before_wait = while_busy
    busy.infer(reader.batch(range(4)))
    thread.join()
    assert order == ["inferred", "recorded"]


def test_memory_that_is_left_during_a_recording_is_given_back_later(runtime: Runtime) -> None:
    card = Card(0)
    holder = [card.on_card(1000, "a test")]
    leave = threading.Thread(target=holder.clear)
    with QUIET:
        leave.start()
        leave.join(timeout=30)
        assert not leave.is_alive()
        assert not runtime.calls["cudaFree"]
    kept = card.on_card(1000, "what comes next")
    assert list(runtime.held) == [kept.address]


def test_graphs_are_bounded(runtime: Runtime) -> None:
    lane = lane_of(runtime, graphs="")
    worker, reader = worker_of(lane, "host"), samples_of(plan(), 20).reader(20)
    for count in range(1, 21):
        worker.infer(reader.batch(range(count)))
    assert lane.session.graphs == [str(n) for n in range(1, 17)] + ["-1"] * 4
    assert lane.graphs.in_words() == "on, but not where a worker has more than 16 batch shapes"


def test_a_graph_that_holds_old_samples_is_dropped(runtime: Runtime) -> None:
    samples = samples_of(plan(), 8)
    lane = lane_of(runtime, graphs="", frozen=True)
    worker, reader = worker_of(lane, "host"), samples.reader(2)
    for first in range(0, 8, 2):
        worker.infer(reader.batch([first, first + 1]))
        np.testing.assert_array_equal(
            worker.outputs()[0], samples.pool.arrays[0][first : first + 2]
        )
    assert lane.graphs.in_words() == "off: a graph gave other answers than the model without one"


def test_outputs_of_unknown_shape_come_from_onnxruntime(runtime: Runtime) -> None:
    found = Node("found", "tensor(float)", ["M", 4])
    lane = lane_of(runtime, outputs=[found], graphs="")
    worker = worker_of(lane, "host")
    samples = samples_of(plan(), 6)
    for count in (2, 5, 3):
        worker.infer(samples.reader(6).batch(range(count)))
        np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0][:count])
    assert set(lane.session.graphs) == {"-1"}
    assert lane.graphs.in_words() == "off: the shape of output found is not known in advance"


def test_the_time_of_an_inference_is_split(runtime: Runtime) -> None:
    lane = lane_of(runtime)
    reader = samples_of(plan(), 8).reader(4)

    def batches() -> Iterator[Any]:
        while True:
            yield reader.batch(range(4))

    beats: list[None] = []
    phases = split(worker_of(lane, "host"), lane.card, batches(), lambda: beats.append(None))
    # The stand-in's clock goes on by a millisecond with each event.
    assert phases == {"copy_in_us": 1000, "compute_us": 1000, "copy_out_us": 1000}
    assert len(beats) == 53


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            "cudaMalloc",
            Error.cudaErrorMemoryAllocation,
            r"GPU 0: allocating memory for a batch \(in x\) of 64 MiB failed: words of 2 .*"
            + r"\. 3 MiB of 81,920 MiB are free\..*--batch_size",
        ),
        (
            "cudaHostAlloc",
            Error.cudaErrorMemoryAllocation,
            r"page-locked memory for a batch .* of 64 MiB failed.*The host has no such memory",
        ),
        ("cudaMemcpyAsync", Error.cudaErrorUnknown, r"copying .* is lost to this process"),
        (
            "cudaStreamSynchronize",
            Error.cudaErrorIllegalAddress,
            r"waiting for an inference failed.*operator failed on the GPU",
        ),
        ("cudaStreamSynchronize", Error.cudaErrorDevicesUnavailable, r"The GPU is lost"),
        ("cudaStreamSynchronize", Error.cudaErrorInvalidValue, r"doctor may say more"),
    ],
)
def test_what_fails_is_said_in_plain_words(
    runtime: Runtime, call: str, error: Error, words: str
) -> None:
    samples = samples_of(plan(sample=(4 << 20,)), 4)
    worker = worker_of(lane_of(runtime, [Node("x", "tensor(float)", ["N", 4 << 20])]), "host")
    runtime.failing[call] = error
    with pytest.raises(RunError, match=words):
        worker.infer(samples.reader(4).batch(range(4)))


def test_a_gpu_that_is_not_there(runtime: Runtime) -> None:
    with pytest.raises(RunError, match=r"GPU 7: choosing the GPU failed.*--devices names a GPU"):
        Card(7)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Error.cudaErrorInsufficientDriver, "driver is missing or too old"),
        (Error.cudaErrorNoDevice, "CUDA sees no GPU"),
    ],
)
def test_no_gpu_can_be_had(runtime: Runtime, error: Error, words: str) -> None:
    runtime.failing["cudaSetDevice"] = error
    with pytest.raises(RunError, match=words):
        Card(0)


def test_the_bindings_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(RunError, match=r"needs the package cuda-bindings.*pip install"):
        Card(0)


def test_what_cannot_lie_on_a_gpu() -> None:
    def why(kind: str) -> str:
        nodes = SimpleNamespace(get_inputs=lambda: [Node("x", kind, ["N"])], get_outputs=list)
        return why_plain(nodes)

    assert why("tensor(float)") == ""
    assert why("tensor(string)") == "x is tensor(string)"
    assert why("seq(tensor(float))") == "x is seq(tensor(float))"
    assert why("tensor(int4)") == "elements of x share bytes (tensor(int4))"


def spec(provider: str = CUDA, model: str = "", **more: Any) -> BackendSpec:
    return BackendSpec("onnxruntime", model, provider, 1, 1, "sequential", **more)


class Maker:
    """Opens sessions, and keeps what was asked of them."""

    def __init__(self, runtime: Runtime, refuse: str = "", on: str = CUDA) -> None:
        self.asked: list[dict[str, dict[str, str]]] = []
        self._runtime, self._refuse, self._on = runtime, refuse, on

    def __call__(self, asked: Any) -> Any:
        self.asked.append({name: dict(options) for name, options in asked})
        (_, options), *_ = asked
        graphs = options.get("enable_cuda_graph", options.get("trt_cuda_graph_enable"))
        if self._refuse and graphs == "1":
            raise RuntimeError(self._refuse)
        stream = int(options["user_compute_stream"])
        session: Any = Session(
            self._runtime, stream, FLOATS, [Node("y", "tensor(float)", ["N", 4])]
        )
        session.get_providers = lambda: [self._on]
        session.get_provider_options = lambda: {asked[0][0]: options}
        return session


def opened(provider: Cuda, what: BackendSpec, make: Maker) -> tuple[Any, Callable[[], Any]]:
    """A session, and how to make a worker of it."""
    session = provider.open(what, make)
    provider.check(session, what)
    return session, lambda: provider.worker(session, what, lambda: provider.open(what, make))


def test_each_worker_has_a_session_and_a_stream(runtime: Runtime) -> None:
    provider, make, what = Cuda(CUDA), Maker(runtime), spec(device=1)
    session, worker = opened(provider, what, make)
    first, second = worker(), worker()
    streams = [each[CUDA]["user_compute_stream"] for each in make.asked]
    assert len(set(streams)) == len(streams) == 2
    assert {each[CUDA]["device_id"] for each in make.asked} == {"1"}
    told = provider.effective(session, what)
    assert told["sessions"] == 2
    assert "user_compute_stream" not in told["ep_options"]
    assert any("2 times" in note for note in provider.notes(session, what))
    del first
    third = worker()  # takes over the session that is free
    assert len(make.asked) == 2
    del second, third


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            "This session cannot use the graph capture feature as requested by the user as the "
            + "model has control flow nodes which can't be supported by CUDAExecutionProvider",
            "off: the model has control flow",
        ),
        (
            "This session cannot use the CUDA Graph feature as requested by the user as all the "
            + "graph nodes have not been partitioned to the CUDA EP.",
            "off: not all operators run on the GPU",
        ),
    ],
)
def test_a_model_that_onnxruntime_records_no_graph_of(
    runtime: Runtime, refusal: str, words: str
) -> None:
    provider, make = Cuda(CUDA), Maker(runtime, refusal)
    session, worker = opened(provider, spec(), make)
    workers = worker(), worker()
    assert [each[CUDA].get("enable_cuda_graph") for each in make.asked] == ["1", None, None]
    assert provider.effective(session, spec())["cuda_graph"] == words
    assert f"CUDA graphs are {words}" in provider.notes(session, spec())
    del workers


def test_another_error_of_a_session_is_not_taken_for_one_of_graphs(runtime: Runtime) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        Cuda(CUDA).open(spec(), Maker(runtime, "out of luck"))


def test_graphs_as_the_user_says(runtime: Runtime) -> None:
    off = spec(provider_options={"enable_cuda_graph": "0"})
    provider, make = Cuda(CUDA), Maker(runtime)
    session, worker = opened(provider, off, make)
    alive = worker()
    assert make.asked[0][CUDA]["enable_cuda_graph"] == "0"
    assert provider.effective(session, off)["cuda_graph"] == "off: --ep_options says so"
    del alive
    on = spec(provider_options={"enable_cuda_graph": "1"})
    with pytest.raises(RuntimeError, match="graph capture feature"):
        Cuda(CUDA).open(on, Maker(runtime, "cannot use the graph capture feature"))


@pytest.mark.parametrize(
    ("precision", "asked", "words"),
    [
        (None, "0", "as the model"),
        ("float32", "0", "float32"),
        ("tf32", "1", "tf32"),
        ("auto", None, "auto (as asked; not read back)"),
    ],
)
def test_nobody_lowers_the_precision_unasked(
    runtime: Runtime, precision: str | None, asked: str | None, words: str
) -> None:
    what, make, provider = spec(precision=precision), Maker(runtime), Cuda(CUDA)
    session, _ = opened(provider, what, make)
    assert make.asked[0][CUDA].get("use_tf32") == asked
    assert provider.effective(session, what)["precision"] == words


def test_the_environment_forbids_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TF32_OVERRIDE, "0")
    with pytest.raises(RequestError, match=r"--precision tf32: .*NVIDIA_TF32_OVERRIDE=0"):
        Cuda(CUDA).prepare(spec(precision="tf32"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device_id": "1"}, "--ep_options: device_id=1 is another GPU than 0. .*--devices"),
        ({"user_compute_stream": "7"}, "each worker has a stream of its own"),
    ],
)
def test_options_that_are_not_the_users(options: dict[str, str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Cuda(CUDA).options(spec(provider_options=options))


def test_a_further_session_that_lands_elsewhere(runtime: Runtime) -> None:
    provider, what = Cuda(CUDA), spec()
    session = provider.open(what, Maker(runtime))
    elsewhere = Maker(runtime, on="CPUExecutionProvider")

    def worker() -> Any:
        return provider.worker(session, what, lambda: provider.open(what, elsewhere))

    kept = worker()
    with pytest.raises(RunError, match=r"worker 2 of a GPU .* came up on CPUExecutionProvider"):
        worker()
    del kept


def test_strings_start_in_ordinary_memory_only(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, make, what = Cuda(CUDA), Maker(runtime), spec(data_location="pinned")
    monkeypatch.setattr(sys.modules[__name__], "FLOATS", [Node("x", "tensor(string)", ["N", 4])])
    session = provider.open(what, make)
    with pytest.raises(RequestError, match=r"--data_location pinned: .* x is tensor.string"):
        provider.check(session, what)
    provider.check(session, spec())
    assert provider.effective(session, spec())["cuda_graph"] == "off: x is tensor(string)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(TF32_OVERRIDE, "1")  # put back at the end, whatever a provider sets
    return tmp_path / "cache"


def tensorrt_spec(directory: Path, **more: Any) -> BackendSpec:
    model = directory / "model.onnx"
    if not model.exists():
        model.write_bytes(tiny_models.matmul())
    return spec(TENSORRT, str(model), **{"optimized_cache": True, **more})


def test_engines_are_kept_for_what_they_were_built_from(cache: Path, tmp_path: Path) -> None:
    base = tensorrt_spec(tmp_path)
    first = EngineCache(base, "H100", {}).directory
    assert first is not None
    assert first.parent == cache / "engines"
    assert EngineCache(base, "H100", {}).directory == first
    others = [
        EngineCache(base, "H200", {}).directory,
        EngineCache(tensorrt_spec(tmp_path, precision="float16"), "H100", {}).directory,
        EngineCache(base, "H100", {"trt_builder_optimization_level": "5"}).directory,
    ]
    Path(base.model_path).write_bytes(tiny_models.matmul(4))
    others.append(EngineCache(base, "H100", {}).directory)
    assert len({first, *others}) == 5


def test_engines_that_are_not_kept(cache: Path, tmp_path: Path) -> None:
    off = EngineCache(tensorrt_spec(tmp_path, optimized_cache=False), "H100", {})
    assert (off.directory, off.options, off.built()) == (None, {}, None)
    own = EngineCache(tensorrt_spec(tmp_path), "H100", {"trt_engine_cache_path": str(tmp_path)})
    assert (own.directory, own.options) == (tmp_path, {})
    assert not cache.exists()


def test_tensorrt_says_how_long_it_built(cache: Path, tmp_path: Path, runtime: Runtime) -> None:
    what, make = tensorrt_spec(tmp_path, precision="float16"), Maker(runtime, on=TENSORRT)
    provider = TensorRt(TENSORRT)
    provider.prepare(what)
    session, worker = opened(provider, what, make)
    asked = make.asked[-1]
    assert list(asked) == [TENSORRT, CUDA]
    assert asked[CUDA]["user_compute_stream"] == asked[TENSORRT]["user_compute_stream"]
    assert asked[TENSORRT]["trt_fp16_enable"] == "1"
    assert "trt_int8_enable" not in asked[TENSORRT]
    assert os.environ[TF32_OVERRIDE] == "0"
    alive = worker()
    alive.infer(samples_of(plan(), 4).reader(4).batch(range(4)))
    told = provider.effective(session, what)
    assert (told["engines_built"], told["engine_build_sec"]) == (0, 0.0)
    assert not any("built" in note for note in provider.notes(session, what))
    (Path(str(told["engine_cache"])) / "a.engine").write_bytes(b"built meanwhile")
    told = provider.effective(session, what)
    assert told["engines_built"] == 1
    assert told["engine_build_sec"] > 0
    assert told["precision"] == "float16"
    assert any("TensorRT built engines for " in note for note in provider.notes(session, what))
    assert str(told["cuda_graph"]).startswith("off: input x has an open shape")


@pytest.mark.parametrize("location", LOCATIONS)
def test_an_engine_is_wide_enough_before_the_test(runtime: Runtime, location: str) -> None:
    """TensorRT builds another one for a batch smaller than all before, for minutes."""
    lane = replace(lane_of(runtime), widens=True)
    samples = samples_of(plan(), 8, placed=location != "host")
    worker, reader = worker_of(lane, location), samples.reader(8)
    worker.infer(reader.batch([5, 6, 7]))
    assert [len(seen) // 16 for (seen,) in lane.session.seen] == [1, 3]
    np.testing.assert_array_equal(worker.outputs()[0], samples.pool.arrays[0][5:])
    worker.infer(reader.batch([0, 1]))
    worker.infer(reader.batch([0, 1, 2]))
    assert [len(seen) // 16 for (seen,) in lane.session.seen[2:]] == [1, 2, 3]
    fixed = replace(lane_of(runtime, [Node("x", "tensor(float)", [3, 4])]), widens=True)
    worker_of(fixed, location).infer(reader.batch([5, 6, 7]))
    assert [len(seen) // 16 for (seen,) in fixed.session.seen] == [3]


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE", "BOOL", "INT8", "UINT64"])
def test_onnxruntime_takes_the_addresses(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real sessions, whose GPU is the host."""
    for name, module in install(Runtime(eager=True)).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(buffers_module, "_DEVICE", "cpu")
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny_models.typed(getattr(TensorProto, kind)))
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    dtype = ELEMENTS[session.get_inputs()[0].type].dtype.name
    card = Card(0)
    lane = Lane(session, card, Stream(card), Graphs("off here"), "enable_cuda_graph")
    for location in LOCATIONS:
        samples = samples_of(plan(dtype), 6, placed=location != "host")
        worker = worker_of(lane, location)
        for indices in ([0, 1, 2], [4], [5, 1, 0]):
            worker.infer(samples.reader(3).batch(indices))
            (answer,) = worker.outputs()
            assert answer.dtype.name == dtype
            assert answer.tobytes() == samples.pool.arrays[0][indices].tobytes()


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_whole_run(location: str, tmp_path: Path) -> None:
    """The real test, with CUDA's memory and the provider's session on the host."""
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny_models.matmul())
    config = BenchmarkConfig.model_validate(
        {
            "scenario": "Offline",
            "batch_size": 4,
            "concurrency": 2,
            "runner": "threadpool",
            "loadgen_duration_sec": 0.1,
            "loadgen_expected_qps": 2000,
            "verify": "reference",
            "telemetry": "off",
            "optimized_cache": False,
        }
    ).model_dump(mode="json")
    config["data_location"] = location  # which the request refuses on the CPU's provider
    files = {"run_dir": str(tmp_path), "progress": str(tmp_path / "progress")}
    job = {"config": config, "model_path": str(model), **files}
    standin = Path(__file__).with_name("card_standin.py")
    run = subprocess.run(
        [sys.executable, str(standin), json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    effective = told["facts"]["effective"]
    assert effective["data_location"] == location
    assert effective["sessions"] == 2
    assert told["answers"]["verification"]["passed"] is True
    assert told["phases"]["data_location"] == location
    assert told["phases"]["batch_size"] == 4
    assert all(told["phases"][f"{name}_us"] > 0 for name in ("copy_in", "compute", "copy_out"))


def test_samples_of_several_shapes(runtime: Runtime) -> None:
    parts = [
        generated_shape(plan(sample=(4,)), [1], [0, 2, 4]),
        generated_shape(plan(sample=(7,)), [2], [1, 3]),
    ]
    samples = MixedSamples(parts)
    samples.place()
    samples.load(range(5))
    worker = worker_of(lane_of(runtime, [Node("x", "tensor(float)", ["N", "L"])]), "device")
    reader = samples.reader(2)
    for indices, shape in (([0, 2], (2, 4)), ([3], (1, 7)), ([4, 0], (2, 4))):
        batch = reader.batch(indices)
        worker.infer(batch)
        assert worker.outputs()[0].shape == shape
        np.testing.assert_array_equal(worker.outputs()[0], batch.arrays[0])


def test_processes_do_not_see_what_is_loaded() -> None:
    asked = {"execution_provider": "cuda", "data_location": "device", "runner": "processpool"}
    with pytest.raises(ValidationError, match=r"--data_location device: .* another --runner"):
        BenchmarkConfig.model_validate(asked)


def test_a_library_of_tensorrt_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preload_tensorrt()  # without the package there is nothing to load
    (tmp_path / "tensorrt_libs").mkdir()
    (tmp_path / "tensorrt_libs" / "__init__.py").touch()
    (tmp_path / "tensorrt_libs" / "libnvinfer.so.10").write_bytes(b"not a library")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RunError, match=r"libnvinfer\.so\.10 cannot be loaded: .*CUDA version"):
        preload_tensorrt()


@pytest.mark.parametrize("per_thread", [True, False])
def test_graphs_are_recorded_on_loadgens_thread_before_it_issues(per_thread: bool) -> None:
    """They belong to a thread, and LoadGen's is another than the one that warmed up."""
    threads: list[int] = []
    infer = lambda _: threads.append(threading.get_ident())
    worker = SimpleNamespace(infer=infer, outputs=list, per_thread=per_thread)
    backend: Any = SimpleNamespace(worker=lambda: worker)
    samples = samples_of(plan(), 4)
    setup = RunnerSetup("inline", 1, 1, 0.0, 3, False, [], [backend], samples, lambda: None)
    runner = InlineRunner(setup)
    here = threading.get_ident()
    assert threads == [here] * 3
    loadgen = threading.Thread(target=runner.enter)
    loadgen.start()
    loadgen.join()
    assert len(threads) == (6 if per_thread else 3)
    assert (set(threads) == {here}) is not per_thread
