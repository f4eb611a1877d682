"""Verification: right models pass, and wrong answers of any kind are caught and named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from command import Command
from few import few
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper
from wrong_answers import Late, Swapping

from loadgen_generic.answers.compare import Tolerance, compare, tolerance_of
from loadgen_generic.answers.reference import Reference, reference_spec
from loadgen_generic.answers.split import split
from loadgen_generic.answers.verify import Question, spread, verify
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.config import SCENARIOS
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.result import Verification, read_result
from loadgen_generic.runners import create_runner
from loadgen_generic.runners.setup import RunnerSetup
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.tensors import InputPlan, SamplePlan, plan_samples

RUNNERS = ("inline", "threadpool", "threadpool+replication", "processpool")
POOL = 24
SIZES = {"Server": {"target_qps": 500, "target_latency_ms": 100}}
TYPES = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)

# --- comparing two arrays

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3), elements=FLOATS)
ORDINARY = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=2),
    elements=st.floats(-1000, 1000, width=32),
)


@given(ARRAYS, st.booleans())
def test_what_is_identical_passes(array: np.ndarray, by_direction: bool) -> None:
    tolerance = tolerance_of(array.dtype)
    difference = compare(array, array.copy(), tolerance)
    assert (difference.what, difference.excess, difference.max_abs) == ("", 0, 0)


@pytest.mark.parametrize(
    "dtype", [*TYPES, np.int64, np.uint8, np.bool_, np.complex64, ml_dtypes.int4]
)
def test_identical_values_of_every_type_pass(dtype: type) -> None:
    array = np.arange(6).astype(dtype)
    assert not compare(array, array.copy(), tolerance_of(array.dtype)).what


@given(ORDINARY, st.data())
def test_what_is_beyond_the_tolerance_fails(array: np.ndarray, data: st.DataObject) -> None:
    tolerance = tolerance_of(array.dtype)
    at = data.draw(st.integers(0, array.size - 1))
    scale = float(np.abs(array).max())
    allowed = tolerance.absolute * scale + 1e-7 + tolerance.relative * abs(float(array.flat[at]))
    perturbed = array.astype(np.float64)
    perturbed.flat[at] += data.draw(st.sampled_from([-1, 1])) * allowed * 1.01
    assert "the tolerance" in compare(perturbed, array, tolerance).what
    perturbed.flat[at] = array.flat[at] + allowed * 0.98
    assert not compare(perturbed, array, tolerance).what


@given(st.permutations(range(6)))
def test_other_samples_answers_fail(order: list[int]) -> None:
    answers = np.random.default_rng(0).random((6, 5), dtype=np.float32)
    wrong = [
        bool(compare(answers[o], answers[i], tolerance_of(answers.dtype)).what)
        for i, o in enumerate(order)
    ]
    assert wrong == [i != o for i, o in enumerate(order)]


def test_a_nan_agrees_with_a_nan_alone() -> None:
    nan, one = np.array([np.nan, 1], np.float32), np.array([1, 1], np.float32)
    tolerance = tolerance_of(nan.dtype)
    assert not compare(nan, nan, tolerance).what
    assert "nan in place of 1 at [0], beyond" in compare(nan, one, tolerance).what
    assert "1 in place of nan" in compare(one, nan, tolerance).what
    assert compare(-one * np.float32(np.inf), one * np.float32(np.inf), tolerance).what


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_are_exact(dtype: type) -> None:
    big = np.array([2**62 + 1], dtype)
    assert compare(big, big - dtype(1), tolerance_of(big.dtype)).what
    assert not compare(big, big - dtype(1), tolerance_of(big.dtype, absolute=1)).what


def test_strings_are_compared_whole() -> None:
    right = np.array(["yes", "no"], object)
    assert not compare(np.array([b"yes", "no"], object), right, Tolerance(0, 0)).what
    found = compare(np.array(["yes", "ni"], object), right, Tolerance(0, 0)).what
    assert found == "'ni' in place of 'no' at 1"


def test_a_shape_is_named() -> None:
    one, other = np.zeros((3, 2)), np.zeros((2, 3))
    assert compare(one, other, Tolerance(1, 1)).what == "its shape is [3, 2] where [2, 3] is right"


@pytest.mark.parametrize("dtype", TYPES)
def test_one_rounding_of_the_type_passes(dtype: type) -> None:
    exact = np.random.default_rng(1).random(64)
    rounded = exact.astype(dtype)
    assert not compare(rounded, exact, tolerance_of(rounded.dtype)).what


def test_by_direction_a_near_tie_passes_and_another_class_does_not() -> None:
    right = np.array([0, 0.2, 1, 0.99], np.float32)
    tolerance = tolerance_of(right.dtype, by_direction=True)
    assert not compare(np.array([0, 0.2, 0.99, 1], np.float32), right, tolerance).what
    nearly = np.array([0, 0.2, 1, 0.90], np.float32)
    other = np.array([0, 0.2, 0.94, 0.96], np.float32)
    assert compare(other, nearly, tolerance).what == "top-1 is 3 in place of 2"
    assert "cosine similarity" in compare(-right, right, tolerance).what
    assert not tolerance_of(right.dtype, 0.1, None, by_direction=True).by_direction


def test_samples_are_spread_over_the_pool() -> None:
    assert spread(5, 64) == [0, 1, 2, 3, 4]
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(7, 1) == [0]


def test_outputs_are_split_by_the_batch_and_padding_dropped() -> None:
    plan = SamplePlan((InputPlan("x", np.dtype(np.float32), (2,)),), batched=True, fixed_batch=4)
    rows = np.arange(8).reshape(4, 2)
    assert [[list(o) for o in a] for a in split(plan, [rows], 3)] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    with pytest.raises(RunError, match="no row for each"):
        split(plan, [np.zeros(3)], 2)


# --- wrong runners


def _verified(
    runner: str,
    scenario: str,
    path: Path,
    *,
    late: bool = False,
    swapping: bool = False,
    against: Path | None = None,
    resident: int = POOL,
    **judged: str,
) -> Verification:
    """What a verification of a runner that was built by hand says."""
    spec = BackendSpec("onnxruntime", str(path), "CPUExecutionProvider", 1, 1, "sequential")
    make = partial(Late if late else create_backend, spec)
    backend = make()
    signature = backend.load()
    plan = plan_samples(signature, {})
    samples = SyntheticSamples(plan, POOL, seed=3, shared=runner == "processpool")
    samples.load(range(POOL))
    setup = RunnerSetup(
        runner=runner,
        workers=1 if runner == "inline" else 2,
        batch_size=3,
        batch_timeout_sec=0,
        warmup_queries=0,
        pin=False,
        make_backends=[make],
        backends=[backend],
        samples=samples,
        beat=lambda: None,
    )
    running = create_runner(setup)
    right = Reference(reference_spec(spec, str(against or path)), samples, plan, signature)
    names = [each.name for each in signature.outputs]
    per_query = 4 if scenario == "MultiStream" else 1
    question = Question("reference", names, scenario, per_query, **judged)
    asked = Swapping(running) if swapping else running
    try:
        return verify(
            question, right, asked, samples, samples.source, plan, range(POOL), lambda: None
        )
    finally:
        running.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_right_runner_passes(runner: str, scenario: str, models: Callable[[str], Path]) -> None:
    found = _verified(runner, scenario, models("matmul"))
    assert (found.passed, found.samples, found.worst_sample) == (True, POOL, -1)
    assert found.outputs[0].min_cosine == pytest.approx(1)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("runner", RUNNERS)
def test_the_previous_answer_is_caught(
    runner: str, scenario: str, models: Callable[[str], Path]
) -> None:
    found = _verified(runner, scenario, models("matmul"), late=True)
    assert not found.passed
    assert f"sample {found.worst_sample}, output y: " in found.sentence


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_swapped_pair_is_caught(
    runner: str, scenario: str, models: Callable[[str], Path]
) -> None:
    found = _verified(runner, scenario, models("matmul"), swapping=True)
    pairs = POOL // 4 if scenario == "MultiStream" else 1
    assert (found.passed, found.failed_samples) == (False, 2 * pairs)


def test_a_single_sample_of_wrong_values_is_named(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    found = _verified("inline", "Offline", models("matmul"), against=_wrong(models, tmp_path))
    assert found.failed_samples > POOL / 2
    assert found.outputs[0].mismatches == found.failed_samples
    assert found.worst_output == "y"


@pytest.mark.parametrize(
    ("judged", "passes"),
    [
        ({}, False),
        ({"computed": "bfloat16"}, True),
        ({"tolerance": "bfloat16"}, True),
        ({"computed": "tf32", "tolerance": "bfloat16"}, True),
        ({"computed": "bfloat16", "tolerance": "float32"}, False),
        ({"computed": "bfloat16", "tolerance": "float16"}, False),
    ],
)
def test_a_given_tolerance_is_in_place_of_the_computations(
    judged: dict[str, str], passes: bool, models: Callable[[str], Path], tmp_path: Path
) -> None:
    near = _wrong(models, tmp_path, by=0.04)  # some percent off
    found = _verified("inline", "Offline", near, against=models("matmul"), **judged)
    assert found.passed is passes
    (output,) = found.outputs
    if "tolerance" in judged:
        assert f"(by --tolerance {judged['tolerance']}" in output.criterion
    if "computed" in judged:
        assert f"computed in {judged['computed']})" in output.criterion


# --- the command


def _wrong(models: Callable[[str], Path], directory: Path, by: float = 0.5) -> Path:
    """The matmul model with one weight changed."""
    model = onnx.load(models("matmul"))
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[2, 1] += by
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    path = directory / "wrong.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("runner", few(RUNNERS, 3))
def test_a_changed_weight_is_caught_in_each_runner(
    runner: str, command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    wrong = _wrong(models, tmp_path)
    outcome = command.run(wrong, samples=40, runner=runner, verify=models("matmul"))
    assert outcome.code == 1
    found = read_result(outcome.run_dir).verification
    assert found is not None
    assert not found.passed
    named = f"the worst is sample {found.worst_sample}, output y: "
    assert named in outcome.stderr
    assert "in place of" in outcome.stderr
    assert named in outcome.stdout
    right = command.run(
        models("matmul"), samples=40, runner=runner, verify=models("matmul"), output_dir="right"
    )
    assert right.code == 0
    assert "verified: 64 samples agree with " in right.stdout


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_reference_in_each_scenario(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    more = SIZES.get(scenario, {})
    outcome = command.run(
        models("two_inputs"),
        scenario=scenario,
        samples=40,
        verify="reference",
        verify_samples=10,
        **more,
    )
    found = outcome.result.verification
    assert found is not None
    assert (found.passed, found.samples, found.against) == (True, 10, "reference")


def test_tolerances_are_the_users(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    flags = {"samples": 10, "verify": models("matmul")}
    wrong = _wrong(models, tmp_path)
    assert command.run(wrong, **flags, atol=1).code == 0
    outcome = command.run(wrong, **flags, atol=0.01, rtol=0.01, output_dir="strict")
    assert outcome.code == 1


def test_tolerance_of_a_type(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    near = _wrong(models, tmp_path, by=0.04)
    flags = {"samples": 10, "verify": models("matmul")}
    for tolerance, criterion in (
        ("bfloat16", "error of at most 0.05 x largest value + 0.05 x value"),
        ("int8", "cosine similarity of at least 0.99, same top-1"),
    ):
        outcome = command.run(near, **flags, tolerance=tolerance, output_dir=tolerance)
        (found,) = outcome.result.verification.outputs
        assert found.criterion == f"{criterion} (by --tolerance {tolerance})"
        assert outcome.effective["tolerance"] == tolerance


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"verify": "data"}, "--verify data: no expected outputs came with the data."),
        ({"verify": "none.onnx"}, "there is no such file"),
        ({"atol": 1}, "--atol has no meaning without --verify"),
        ({"save_outputs": True}, "--save_outputs has no meaning without --mode accuracy"),
        ({"verify": "reference", "backend": "fake"}, "no model file to make a reference of"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    flags: dict[str, object], words: str, command: Command, models: Callable[[str], Path]
) -> None:
    model = [] if "backend" in flags else [models("matmul")]
    outcome = command("run", *model, samples=5, **flags)
    assert outcome.code == 2
    assert words in outcome.stderr


def test_another_kind_of_model_is_refused(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(models("matmul"), samples=5, verify=models("two_inputs"))
    assert outcome.code == 2
    assert "those of the model are x." in outcome.stderr


def test_expected_outputs_of_the_data(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).random((12, 4), np.float32)
    weight = (np.arange(12, dtype=np.float32) / 12).reshape(4, 3)
    y = x @ weight
    for name, answers in (("good", y), ("bad", y[::-1])):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "all.npz", x=x, y=answers)
    flags = {"samples": 10, "verify": "data"}
    good = command.run(models("matmul"), dataset="good", **flags)
    assert "12 samples agree with the expected outputs" in good.result.verification.sentence
    bad = command.run(models("matmul"), dataset="bad", output_dir="wrong", **flags)
    assert bad.code == 1
    assert "12 of 12 samples differ from the expected outputs of the data" in bad.stderr


# --- other precisions


def _cnn(path: Path) -> Path:
    """Two convolutions, a mean and a classifier: float32 [N, 3, 16, 16] to [N, 10]."""
    random = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return numpy_helper.from_array((random.normal(size=shape) * scale).astype("f4"), name)

    node = helper.make_node
    nodes = [
        node("Conv", ["x", "c1"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "c2"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["d"]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "cnn",
        [info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [info("y", TensorProto.FLOAT, ["N", 10])],
        [weight("c1", 8, 3, 3, 3), weight("c2", 16, 8, 3, 3), weight("w", 10, 16)],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def _as_float16(source: Path, keep_io: bool) -> Path:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    path = source.with_name(f"{source.stem}-float16-{keep_io}.onnx")
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=keep_io), path)
    return path


def _as_int8(source: Path, input_name: str, shape: tuple[int, ...]) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            random = np.random.default_rng(5)
            self._left = [random.random(shape, np.float32) for _ in range(4)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {input_name: self._left.pop()} if self._left else None

    path = source.with_name(f"{source.stem}-int8.onnx")
    quantize_static(source, path, Reader(), per_channel=True)
    return path


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _cnn(tmp_path_factory.mktemp("cnn") / "cnn.onnx")


def _versions(source: Path, input_name: str, shape: tuple[int, ...]) -> dict[str, Path]:
    return {
        "float16": _as_float16(source, True),
        "float16 inputs": _as_float16(source, False),
        "int8": _as_int8(source, input_name, shape),
    }


def test_other_precisions_pass_against_float32(cnn: Path, command: Command) -> None:
    for name, path in _versions(cnn, "x", (1, 3, 16, 16)).items():
        outcome = command.run(path, samples=20, verify=cnn, verify_samples=16, output_dir=name)
        assert outcome.code == 0, outcome.stderr
        (found,) = outcome.result.verification.outputs
        assert found.criterion.startswith("cosine similarity")
        assert 0.99 < found.min_cosine <= 1
        assert found.max_abs_error > 0
        assert found.top_1_agreement > 0.5


@pytest.mark.slow
def test_another_precision_is_held_to_a_given_tolerance(cnn: Path, command: Command) -> None:
    version = _as_int8(cnn, "x", (1, 3, 16, 16))
    flags = {"samples": 20, "verify": cnn, "verify_samples": 16}
    outcome = command.run(version, **flags, tolerance="float32")
    assert outcome.code == 1
    assert "times the tolerance" in outcome.stderr
    assert command.run(version, **flags, tolerance="int8", output_dir="loose").code == 0


def test_another_float16_model_fails_against_float32(
    cnn: Path, command: Command, tmp_path: Path
) -> None:
    model = onnx.load(cnn)
    weight = numpy_helper.to_array(model.graph.initializer[2])
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(weight[::-1].copy(), "w"))
    onnx.save(model, tmp_path / "other.onnx")
    wrong = _as_float16(tmp_path / "other.onnx", True)
    outcome = command.run(wrong, samples=20, verify=cnn)
    assert outcome.code == 1
    assert "cosine similarity" in outcome.stderr


@pytest.mark.slow
def test_resnet50_in_other_precisions(command: Command, tmp_path: Path) -> None:
    from loadgen_generic.models.resnet50 import cached

    source = cached(tmp_path)
    for name, path in _versions(source, "input", (1, 3, 224, 224)).items():
        flags = {"samples": 2, "distinct_samples": 16, "verify_samples": 8, "output_dir": name}
        outcome = command.run(path, verify=source, warmup_queries=0, **flags)
        assert outcome.code == 0, outcome.stderr


def test_models_that_do_not_go_together() -> None:
    from loadgen_generic.answers.reference import check_other_model
    from loadgen_generic.tensors import ModelSignature, TensorSpec

    def signature(kind: str, *outputs: str) -> ModelSignature:
        dtype = np.dtype(np.float32)
        return ModelSignature(
            (TensorSpec("x", kind, dtype, ("N",)),),
            tuple(TensorSpec(name, "tensor(float)", dtype, ("N",)) for name in outputs),
        )

    ours = signature("tensor(float)", "a", "b")
    assert check_other_model(ours, signature("tensor(float16)", "b", "a"), "p") == ([0], [1, 0])
    assert check_other_model(ours, signature("tensor(float)", "c", "d"), "p") == ([0], [0, 1])
    with pytest.raises(RequestError, match="it has 1 outputs, the model has 2"):
        check_other_model(ours, signature("tensor(float)", "a"), "p")
    with pytest.raises(RequestError, match="that of the model is tensor"):
        check_other_model(ours, signature("tensor(int64)", "a", "b"), "p")
