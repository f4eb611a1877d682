"""Every element type of ONNX Runtime: drawn, fed, answered as numpy does."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tiny_models
from command import Command
from few import few
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from recording import Recorder

from loadgen_generic.assembly import Assembly, settle_plan
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.elements import ELEMENTS, STRING, kind_of, limits
from loadgen_generic.errors import RequestError
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.seams import Backend, Batch
from loadgen_generic.tensors import Array, InputPlan, SamplePlan
from loadgen_generic.values import Values, default_values

FLOAT4 = "tensor(float4e2m1)"  # without any kernel in ONNX Runtime 1.32.0
RUN = sorted(set(ELEMENTS) - {FLOAT4})
FOREIGN = [name for name in RUN if not ELEMENTS[name].native and name != STRING]
_POOL = 24


def backend_of(directory: Path, model: bytes) -> Backend:
    path = directory / "model.onnx"
    path.write_bytes(model)
    return create_backend(
        BackendSpec("onnxruntime", str(path), "CPUExecutionProvider", 1, 1, "sequential")
    )


def drawn(name: str, shape: Sequence[int], seed: int = 0) -> Array:
    plan = SamplePlan((InputPlan("x", ELEMENTS[name].dtype, tuple(shape)),), False)
    samples = SyntheticSamples(plan, 1, seed)
    samples.load([0])
    return np.array(samples.reader(1).batch([0]).arrays[0])


def same(got: Array, wanted: Array) -> None:
    """Equal in value and, but for strings, in type."""
    if wanted.dtype.kind == "U":
        assert got.tolist() == wanted.tolist()
        return
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got.astype(np.float64), wanted.astype(np.float64))


@pytest.mark.parametrize("name", list(ELEMENTS))
def test_the_table_agrees_with_onnx(name: str) -> None:
    element = ELEMENTS[name]
    word = TensorProto.DataType.Name(element.onnx).lower()
    assert name == f"tensor({word})"
    if name != STRING:
        assert helper.tensor_dtype_to_np_dtype(element.onnx) == element.dtype
        assert element.bits == 8 * element.dtype.itemsize or element.packed
    assert pickle.loads(pickle.dumps(element.dtype)) == element.dtype


def test_no_element_type_of_onnx_is_forgotten() -> None:
    """What is neither in the table nor here is new: find out whether ONNX Runtime has it."""
    known = {element.onnx for element in ELEMENTS.values()}
    missing = {name for name, number in TensorProto.DataType.items() if number not in known}
    assert missing <= {"UNDEFINED", "COMPLEX64", "COMPLEX128", "FLOAT6E2M3", "FLOAT6E3M2"}


@pytest.mark.parametrize("name", few(RUN, 4))
def test_runs_in_offline_and_single_stream(name: str, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(ELEMENTS[name].onnx))
    batched = command.run(path, scenario="Offline", batch_size=4, samples=64)
    assert batched.result.samples_completed == 64
    assert batched.effective["batch_size"] == 4
    single = command.run(path, scenario="SingleStream", samples=64, output_dir="single")
    assert single.result.samples_completed == 64


@pytest.mark.parametrize("scenario", ["Offline", "SingleStream"])
@pytest.mark.parametrize("name", few(["tensor(bfloat16)", "tensor(float8e4m3fn)", STRING], 3))
def test_runs_in_worker_processes(
    name: str, scenario: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(ELEMENTS[name].onnx))
    outcome = command.run(path, scenario=scenario, runner="processpool", samples=64)
    assert outcome.result.samples_completed == 64


@pytest.mark.parametrize(
    ("runner", "names"),
    [
        ("inline", RUN),
        ("threadpool", ["tensor(float8e5m2)", "tensor(int4)", STRING]),
        ("processpool", ["tensor(bfloat16)", "tensor(float8e4m3fn)", "tensor(uint2)", STRING]),
    ],
)
def test_every_sample_gets_its_own_answer(
    runner: str, names: Sequence[str], tmp_path: Path
) -> None:
    """Also where a batch is fed anew from memory that has changed since."""
    for name in names:
        path = tmp_path / "model.onnx"
        path.write_bytes(tiny_models.element(ELEMENTS[name].onnx))
        config = BenchmarkConfig(model_path=str(path), runner=runner)
        assembly = Assembly(config, str(path), cores=2)
        plan, notes = settle_plan(config, assembly, Layout("inline", 1, 2, 1))
        assert plan.batched
        assert not notes
        samples = SyntheticSamples(plan, _POOL, seed=1, shared=runner == "processpool")
        samples.load(range(_POOL))
        inputs = samples.pool.arrays[0].copy()
        running = assembly.build(Layout(runner, 1 if runner == "inline" else 2, 1, 4), samples, 3)
        record = Recorder()
        running.start(record.make_complete, record.fail)
        asked = [*range(_POOL), *(int(i) for i in np.random.default_rng(0).permutation(_POOL))]
        running.issue(list(range(_POOL)), asked[:_POOL])
        for identity in range(_POOL, 2 * _POOL):
            running.issue([identity], [asked[identity]])
        running.flush()
        record.wait(2 * _POOL)
        running.close()
        assert not record.errors
        cast = ELEMENTS[name].onnx in tiny_models.ONLY_CAST
        for identity, (answer,) in record.answers:
            wanted = inputs[asked[identity]]
            same(answer, wanted.astype(np.float32) if cast else wanted)
        assembly.close()


@pytest.mark.parametrize("known_shape", [True, False])
@pytest.mark.parametrize("name", FOREIGN)
def test_outputs_that_numpy_lacks(name: str, known_shape: bool, tmp_path: Path) -> None:
    """Odd numbers of elements, so that packed ones do not fill their last byte."""
    element = ELEMENTS[name]
    backend = backend_of(tmp_path, tiny_models.cast_to(element.onnx, known_shape=known_shape))
    assert backend.load().outputs[0].dtype == element.dtype
    worker = backend.worker()
    for rows in (1, 3, 1):
        wanted = drawn(name, (rows, 3), seed=rows)
        worker.infer(Batch(rows, (wanted.astype(np.float32),)))
        (answer,) = worker.outputs()
        same(answer, wanted)


def test_a_batch_of_strings_runs_again_on_what_its_memory_holds_then(tmp_path: Path) -> None:
    backend = backend_of(tmp_path, tiny_models.element(ELEMENTS[STRING].onnx))
    backend.load()
    worker = backend.worker()
    batch = Batch(1, (np.array([["one", "zwei", "trois"]], "<U16"),))
    worker.infer(batch)
    batch.arrays[0][0, 1] = "二"
    worker.infer(batch)
    assert worker.outputs()[0].tolist() == [["one", "二", "trois"]]


@pytest.mark.parametrize("name", ["tensor(bfloat16)", "tensor(int4)", "tensor(int64)"])
def test_strings_beside_other_inputs(name: str, tmp_path: Path) -> None:
    backend = backend_of(tmp_path, tiny_models.strings_and(ELEMENTS[name].onnx))
    backend.load()
    worker = backend.worker()
    words, numbers = drawn(STRING, (2, 3)), drawn(name, (2, 3))
    worker.infer(Batch(2, (words, numbers)))
    text, converted = worker.outputs()
    same(text, words)
    same(converted, numbers.astype(np.float32))


@pytest.mark.parametrize("name", FOREIGN)
def test_strings_beside_an_output_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    model = tiny_models.strings_and(TensorProto.FLOAT, ELEMENTS[name].onnx)
    backend = backend_of(tmp_path, model)
    with pytest.raises(RequestError, match=r"output y is tensor\(\w+\).*cast to float"):
        backend.load()


@pytest.mark.parametrize("number", [TensorProto.COMPLEX64, TensorProto.COMPLEX128])
def test_complex_numbers_are_refused(number: int, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(number))
    outcome = command.run(path, samples=4)
    assert outcome.code == 2
    assert "element type tensor(complex" in outcome.stderr
    assert "pairs of floats" in outcome.stderr


def test_float4_has_no_kernels(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(ELEMENTS[FLOAT4].onnx))
    outcome = command.run(path, samples=4)
    assert outcome.code == 1
    assert "not for its element types: Could not find an implementation for" in outcome.stderr


def values_in(dtype: np.dtype[np.generic], values: Values) -> float:
    """How many different values of the type lie in the range."""
    if dtype.itemsize > 1 or kind_of(dtype) != "f":
        return values.high - values.low
    every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)
    return len(np.unique(every[(every >= values.low) & (every < values.high)]))


@st.composite
def plans(draw: st.DrawFn) -> SamplePlan:
    inputs = []
    for position in range(draw(st.integers(1, 4))):
        dtype = ELEMENTS[draw(st.sampled_from(sorted(ELEMENTS)))].dtype
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        values = default_values(dtype)
        kind = draw(st.sampled_from(["uniform", "normal"]))
        least, most = limits(dtype)
        if draw(st.booleans()):
            low = draw(st.integers(int(max(least, 1, -100)), int(min(most, 50))))
            high = draw(st.integers(low + 1, low + 100))
            values = Values(kind, low, min(high, int(most) + 1), "asked for")
            assume(kind_of(dtype) != "f" or values_in(dtype, values) > 0)
        inputs.append(InputPlan(f"x{position}", dtype, shape, values))
    return SamplePlan(tuple(inputs), draw(st.booleans()))


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(0, 2**32))
@example(
    SamplePlan(
        (
            InputPlan(
                "x", ELEMENTS["tensor(float8e4m3fn)"].dtype, (), Values("uniform", 11, 12, "")
            ),
        ),
        False,
    ),
    0,
)
def test_samples_of_any_signature(plan: SamplePlan, seed: int) -> None:
    """They fit, are reproducible, and differ."""
    count = 40
    first, again = (SyntheticSamples(plan, count, seed) for _ in range(2))
    for samples in (first, again):
        samples.load(range(count))
    for each, array, twin in zip(plan.inputs, first.pool.arrays, again.pool.arrays, strict=True):
        assert array.dtype == each.dtype
        assert array.shape == (count, *each.shape)
        assert array.tobytes() == twin.tobytes()
        if not array.size:
            continue
        values = each.values or default_values(each.dtype)
        if kind_of(each.dtype) != "U":
            numbers = array.astype(np.float64)
            assert np.all(numbers >= values.low)
            assert np.all(numbers < values.high)
        fine = kind_of(each.dtype) == "f" and each.dtype.itemsize > 1
        if fine or (values_in(each.dtype, values) >= 2 and values.kind == "uniform"):
            assert len({row.tobytes() for row in array}) > 1


def test_words_are_short_and_distinct() -> None:
    plan = SamplePlan((InputPlan("x", ELEMENTS[STRING].dtype, (8,)),), True)
    samples = SyntheticSamples(plan, 500, 0)
    samples.load(range(500))
    words = samples.pool.arrays[0].reshape(-1)
    assert all(2 <= len(word) <= 8 and word.isalpha() for word in words.tolist())
    assert len(set(words.tolist())) > 0.99 * len(words)


def test_a_range_of_strings_is_a_vocabulary() -> None:
    values = Values("uniform", 0, 50, "--range")
    plan = SamplePlan((InputPlan("x", ELEMENTS[STRING].dtype, (64,), values),), True)
    samples = SyntheticSamples(plan, 64, 0)
    samples.load(range(64))
    assert len(np.unique(samples.pool.arrays[0])) == 50


@pytest.mark.parametrize("name", ["tensor(float)", "tensor(bfloat16)", "tensor(int8)"])
def test_large_samples_do_not_depend_on_how_they_are_loaded(name: str) -> None:
    plan = SamplePlan((InputPlan("x", ELEMENTS[name].dtype, (3, 1 << 19)),), True)
    whole, some = (SyntheticSamples(plan, count, 7) for count in (4, 3))
    whole.load([0, 1, 2, 3])
    some.load([2, 0])
    rows = whole.pool.arrays[0]
    assert rows[2].tobytes() == some.pool.arrays[0][0].tobytes()
    assert rows[0].tobytes() == some.pool.arrays[0][1].tobytes()
    assert rows[0].tobytes() != rows[1].tobytes()


def test_what_the_types_hold() -> None:
    assert limits(np.dtype(ml_dtypes.int4)) == (-8, 7)
    assert limits(np.dtype("u1")) == (0, 255)
    assert limits(np.dtype(ml_dtypes.float8_e4m3fn)) == (-448, 448)
    assert [kind_of(ELEMENTS[f"tensor({n})"].dtype) for n in ("uint2", "int2", "bfloat16")] == [
        "u",
        "i",
        "f",
    ]


def test_a_range_without_values_of_the_type_is_refused(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(ELEMENTS["tensor(float8e4m3fn)"].onnx))
    outcome = command.run(path, samples=4, range="x=45:46")
    assert outcome.code == 2
    assert "input x holds float8_e4m3fn, which has no value from 45 to 46" in outcome.stderr
