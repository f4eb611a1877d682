"""Execution providers in a session: their options, fallback, placement, precision."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from command import Command
from hypothesis import given
from hypothesis import strategies as st

from loadgen_generic.answers.compare import compare, tolerance_of
from loadgen_generic.answers.precision import coarse_type
from loadgen_generic.backends import BackendSpec, create_backend
from loadgen_generic.backends.placement import Placement, placement_of, recording
from loadgen_generic.backends.providers import openvino, openvino_plugin, provider_of
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.provider_facts import PROVIDERS, facts_of
from loadgen_generic.seams import Batch

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
VINO = "OpenVINOExecutionProvider"
# ONNX Runtime knows it, no package that is named here has it, and no environment is looked for.
UNSHIPPED = "XnnpackExecutionProvider"


def spec(path: Path | str = "", **changes: object) -> BackendSpec:
    plain = BackendSpec("onnxruntime", str(path), CPU, 1, 1, "sequential")
    return replace(plain, **changes)  # type: ignore[arg-type]


def vino_options(**changes: object) -> dict[str, str]:
    return provider_of(VINO).options(spec(execution_provider=VINO, **changes))


def config_of(options: Mapping[str, str]) -> dict[str, dict[str, str]]:
    config: dict[str, dict[str, str]] = json.loads(options["load_config"])
    return config


# Options of the provider


def test_an_option_that_the_provider_lacks(command: Command, models: Callable[[str], Path]) -> None:
    """The CPU's provider would take it and do nothing."""
    outcome = command.run(models("matmul"), ep_options="num_streams=2", samples=5)
    assert outcome.code == 2
    assert (
        "--ep_options num_streams=2: the cpu provider has no option num_streams" in outcome.stderr
    )


@pytest.mark.parametrize(
    ("provider", "written", "meant"),
    [
        ("openvino", "num_stream", "num_streams"),
        ("cuda", "use_tf23", "use_tf32"),
        ("tensorrt", "trt_fp16_enabled", "trt_fp16_enable"),
    ],
)
def test_the_option_that_was_meant(provider: str, written: str, meant: str) -> None:
    assert facts_of(provider).suggestion(written) == f"Did you mean {meant}?"
    assert meant in facts_of(provider).suggestion("zzz")


@pytest.mark.parametrize("facts", PROVIDERS, ids=lambda facts: facts.short)
def test_options_are_known_of_every_provider_but_the_cpu(facts: object) -> None:
    assert isinstance(facts, type(PROVIDERS[0]))
    assert bool(facts.options) is (facts.name != CPU)
    assert list(facts.options) == sorted(set(facts.options))


# Fallback


def test_no_fallback_unless_allowed(command: Command, models: Callable[[str], Path]) -> None:
    refused, allowed = (
        command.run(
            models("matmul"), ep=UNSHIPPED, allow_fallback=allow, samples=5, output_dir=str(allow)
        )
        for allow in (None, True)
    )
    assert refused.code == 1
    assert UNSHIPPED in refused.stderr
    assert allowed.code == 0, allowed.stderr
    assert allowed.result.providers == [CPU]
    effective = allowed.effective
    assert effective["execution_provider"] == CPU
    assert "built without it" in effective["fallback"]
    assert f"runs on {CPU}, not on {UNSHIPPED}: " in allowed.stderr
    assert allowed.result.config.requested["execution_provider"] == UNSHIPPED


def test_a_fallback_computes_as_the_cpu_does(models: Callable[[str], Path]) -> None:
    """What was asked of the other provider is no claim about this one."""
    backend = create_backend(
        spec(
            models("matmul"),
            execution_provider=CUDA,
            allow_fallback=True,
            precision="tf32",
            provider_options={"use_tf32": "1"},
            device=1,
            data_location="device",
        )
    )
    backend.load()
    effective = backend.effective()
    assert effective["execution_provider"] == CPU
    assert effective["precision"] == "as the model"
    assert effective["ep_options"] == {}
    assert effective["fallback"]
    assert "operators" not in effective
    worker = backend.worker()
    worker.infer(Batch(2, (np.ones((2, 4), np.float32),)))
    assert worker.outputs()[0].shape == (2, 3)


def test_where_the_provider_starts_nothing_is_said(models: Callable[[str], Path]) -> None:
    backend = create_backend(spec(models("matmul"), allow_fallback=True))
    backend.load()
    assert "fallback" not in backend.effective()
    assert backend.notes() == []


def test_a_wrong_option_is_no_reason_to_fall_back(
    models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [VINO, CPU])

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Invalid OpenVINO EP option: num_stream")

    monkeypatch.setattr(ort, "InferenceSession", refuse)
    asked = spec(
        models("matmul"),
        execution_provider=VINO,
        allow_fallback=True,
        provider_options={"num_stream": "2"},
    )
    with pytest.raises(RequestError, match=r"--ep_options: .*num_stream.*Did you mean num_streams"):
        create_backend(asked).load()


def test_a_broken_model_is_no_reason_to_fall_back(models: Callable[[str], Path]) -> None:
    asked = spec(models("not_onnx"), execution_provider=CUDA, allow_fallback=True)
    with pytest.raises(RequestError, match="not an ONNX model"):
        create_backend(asked).load()


# Placement


@pytest.fixture
def recorded(models: Callable[[str], Path]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    for key, value in recording().items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(str(models("random")), options, providers=[CPU])


def test_operators_elsewhere_are_counted_and_named(recorded: ort.InferenceSession) -> None:
    placed = placement_of(recorded, CUDA)
    assert placed.effective() == {
        "operators": {CPU: 2},
        "operators_elsewhere": {"RandomUniformLike": 1, "Add": 1},
    }
    with pytest.raises(RunError, match=f"takes no operator of the model: all 2 would run on {CPU}"):
        placed.check()
    assert placed.note() == (
        f"2 of 2 operators run on {CPU}, not on cuda: RandomUniformLike 1, Add 1"
    )


def test_operators_at_home_need_no_note(recorded: ort.InferenceSession) -> None:
    placed = placement_of(recorded, CPU)
    placed.check()
    assert placed.effective() == {"operators": {CPU: 2}, "operators_elsewhere": {}}
    assert placed.note() == ""


def test_many_types_are_summed_up() -> None:
    elsewhere = {f"Kind{number}": 9 - number for number in range(9)}
    placed = Placement(CUDA, {CUDA: 55, CPU: 40, VINO: 5}, elsewhere)
    assert placed.note().startswith(f"45 of 100 operators run on {CPU} and {VINO}, not on cuda: ")
    assert placed.note().endswith(
        "Kind0 9, Kind1 8, Kind2 7, Kind3 6, Kind4 5, Kind5 4, 3 more types"
    )


def test_an_onnxruntime_that_does_not_tell(
    recorded: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = next(
        each
        for each in ort.InferenceSession.__mro__
        if "get_provider_graph_assignment_info" in vars(each)
    )
    monkeypatch.delattr(owner, "get_provider_graph_assignment_info")
    assert recording() == {}
    placed = placement_of(recorded, CUDA)
    assert placed.effective() == {}
    assert "does not tell which operators run on cuda" in placed.note()


# OpenVINO's options


@given(st.integers(1, 256), st.integers(1, 64))
def test_every_worker_has_a_stream_and_a_request(workers: int, threads: int) -> None:
    """num_of_threads is also how many inferences the provider lets run at once."""
    options = vino_options(workers=workers, intra_op_threads=threads)
    assert int(options["num_streams"]) == workers
    assert int(options["num_of_threads"]) == workers * threads >= workers
    hint = config_of(options)["CPU"]["PERFORMANCE_HINT"]
    assert hint == ("LATENCY" if workers == 1 else "THROUGHPUT")


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """So many are there."""
    return lambda count: monkeypatch.setattr(openvino, "available_cores", lambda: count)


@pytest.mark.parametrize(
    ("workers", "threads", "pinned"), [(2, 2, True), (4, 1, True), (1, 1, False)]
)
def test_a_session_beside_others_is_not_pinned(
    workers: int, threads: int, pinned: bool, processors: Callable[[int], None]
) -> None:
    """Each session would pin its threads to the first processors."""
    processors(4)
    properties = config_of(vino_options(workers=workers, intra_op_threads=threads))["CPU"]
    assert properties.get("ENABLE_CPU_PINNING") == (None if pinned else "NO")


@pytest.mark.parametrize(
    ("precision", "properties"),
    [
        (None, {}),
        ("float32", {"INFERENCE_PRECISION_HINT": "f32"}),
        ("bfloat16", {"INFERENCE_PRECISION_HINT": "bf16"}),
        ("float16", {"INFERENCE_PRECISION_HINT": "f16"}),
        ("auto", {"EXECUTION_MODE_HINT": "PERFORMANCE"}),
    ],
)
def test_precision_is_always_set(
    precision: str | None, properties: Mapping[str, str], processors: Callable[[int], None]
) -> None:
    """ACCURACY is no less than the model; without it the plugin would choose."""
    processors(1)
    options = vino_options(precision=precision)
    assert options["precision"] == "ACCURACY"
    assert config_of(options)["CPU"] == {"PERFORMANCE_HINT": "LATENCY", **properties}


def test_own_options_win(tmp_path: Path, processors: Callable[[int], None]) -> None:
    processors(2)
    file = tmp_path / "config.json"
    own = {"CPU": {"PERFORMANCE_HINT": "UNDEFINED", "NUM_STREAMS": "3"}, "GPU": {"A": "b"}}
    file.write_text(json.dumps(own))
    for text in (str(file), json.dumps(own)):
        options = vino_options(
            workers=2, provider_options={"num_streams": "5", "load_config": text, "layout": "x"}
        )
        assert options["num_streams"] == "5"
        assert options["layout"] == "x"
        assert config_of(options) == own


@pytest.mark.parametrize("device", ["AUTO:GPU,CPU", "HETERO:GPU,CPU", "MULTI:GPU,CPU"])
def test_devices_made_of_others_take_no_streams(device: str) -> None:
    options = vino_options(workers=2, provider_options={"device_type": device})
    assert "num_streams" not in options
    assert config_of(options) == {device.partition(":")[0]: {}}


@pytest.mark.parametrize("text", ['{"CPU"', "[1]", '{"CPU": 1}', "no/such/file.json"])
def test_a_load_config_that_cannot_be_read(text: str) -> None:
    with pytest.raises(RequestError, match=r"--ep_options load_config="):
        vino_options(provider_options={"load_config": text})


@pytest.mark.parametrize(
    "own",
    [{"precision": "FP32"}, {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'}],
)
def test_a_precision_that_is_set_twice(own: Mapping[str, str]) -> None:
    assert vino_options(provider_options=own)
    with pytest.raises(RequestError, match="--precision bfloat16: --ep_options sets"):
        vino_options(precision="bfloat16", provider_options=own)


def test_json_among_pairs_on_the_command_line(
    command: Command, models: Callable[[str], Path]
) -> None:
    """Commas inside it part nothing."""
    text = 'load_config={"CPU": {"A": "1", "B": "2"}},num_streams=2'
    outcome = command.run(
        models("matmul"), ep=UNSHIPPED, allow_fallback=True, ep_options=text, samples=5
    )
    assert outcome.result.config.requested["ep_options"] == {
        "load_config": '{"CPU": {"A": "1", "B": "2"}}',
        "num_streams": "2",
    }


# What OpenVINO reads back


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the plugin answer so."""

    def answer(**found: str) -> None:
        monkeypatch.setattr(openvino, "in_force", lambda *_: found)
        monkeypatch.setattr(openvino, "what_device_computes", lambda _: ["FP32", "INT8", "BIN"])

    return answer


def test_a_precision_that_the_processor_lacks(
    read_back: Callable[..., None], models: Callable[[str], Path]
) -> None:
    session = ort.InferenceSession(str(models("matmul")), providers=[CPU])
    asked = spec(execution_provider=VINO, precision="bfloat16")
    read_back(INFERENCE_PRECISION_HINT="bf16")
    provider_of(VINO).check(session, asked)
    read_back(INFERENCE_PRECISION_HINT="f32")
    with pytest.raises(
        RunError,
        match=r"--precision bfloat16: this CPU has no bfloat16 \(OpenVINO names float32, int8\), "
        "and OpenVINO would compute in float32 without a word",
    ):
        provider_of(VINO).check(session, asked)


@pytest.mark.parametrize(
    ("hint", "asked", "said"),
    [
        ("dynamic", None, "as the model"),
        ("bf16", "auto", "bfloat16"),
        ("f32", "float32", "float32"),
        ("", "bfloat16", "bfloat16 (as asked; not read back)"),
        ("", None, "as the model (as asked; not read back)"),
    ],
)
def test_the_precision_in_a_result(
    hint: str,
    asked: str | None,
    said: str,
    read_back: Callable[..., None],
    models: Callable[[str], Path],
) -> None:
    read_back(**({"INFERENCE_PRECISION_HINT": hint} if hint else {}))
    session = ort.InferenceSession(str(models("matmul")), providers=[CPU])
    provider, wish = provider_of(VINO), spec(execution_provider=VINO, precision=asked)
    assert provider.effective(session, wish)["precision"] == said
    chosen = [f"OpenVINO chose to compute in {said}"] if asked == "auto" else []
    assert provider.notes(session, wish) == chosen


def test_fewer_streams_than_asked_for(
    read_back: Callable[..., None], models: Callable[[str], Path]
) -> None:
    read_back(NUM_STREAMS="2", INFERENCE_NUM_THREADS="8")
    session = ort.InferenceSession(str(models("matmul")), providers=[CPU])
    wish = spec(execution_provider=VINO, workers=8)
    assert provider_of(VINO).notes(session, wish) == ["OpenVINO uses 2 stream(s), not 8 as asked"]


def test_without_openvino_nothing_is_read_back() -> None:
    if VINO in ort.get_available_providers():
        pytest.skip("it is here")
    assert openvino_plugin.in_force("CPU", ()) == {}
    assert openvino_plugin.what_device_computes("CPU") == ()
    assert openvino_plugin.openvino_version() == ""


# Verification of what was computed in less


@pytest.mark.parametrize(
    ("words", "coarse"),
    [
        ("as the model", ""),
        ("float32", ""),
        ("bfloat16", "bfloat16"),
        ("float16 (as asked; not read back)", "float16"),
        ("tf32 (not read back)", "tf32"),
        ("int8, float16", "int8"),
    ],
)
def test_the_type_that_decides_on_tolerance(words: str, coarse: str) -> None:
    assert coarse_type(words) == coarse


@pytest.mark.parametrize(
    ("computed", "error", "passes"),
    [
        ("", 3e-3, False),
        ("tf32", 3e-3, True),
        ("tf32", 1e-1, False),
        ("float16", 3e-3, True),
        ("bfloat16", 3e-2, True),
        ("bfloat16", 0.3, False),
    ],
)
def test_tolerance_by_the_type_of_the_computation(
    computed: str, error: float, passes: bool
) -> None:
    right = np.linspace(0.5, 1, 7, dtype=np.float32)
    tolerance = tolerance_of(right.dtype, computed=computed)
    assert (not compare(right + np.float32(error), right, tolerance).what) is passes


def test_whole_numbers_stay_exact_in_any_computation() -> None:
    named = np.array([3], np.int64)
    assert compare(named + 1, named, tolerance_of(named.dtype, computed="bfloat16")).what


def test_a_provider_that_tells_nothing_is_not_taken_at_its_word(
    models: Callable[[str], Path],
) -> None:
    session = ort.InferenceSession(str(models("matmul")), providers=[CPU])
    other = provider_of("CoreMLExecutionProvider")
    effective = other.effective(session, spec(provider_options={"MLComputeUnits": "ALL"}))
    assert effective["precision"] == "not told by the provider"
    assert effective["ep_options"] == {"MLComputeUnits": "ALL"}


def test_errors_of_a_request_keep_their_kind(models: Callable[[str], Path]) -> None:
    """Not wrapped as if ONNX Runtime had failed."""
    with pytest.raises(LoadgenGenericError) as raised:
        create_backend(spec(models("matmul"), provider_options={"x": "1"})).load()
    assert raised.value.exit_code == 2
