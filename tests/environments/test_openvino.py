"""Real models under the OpenVINO provider: streams, precision, options, placement, answers.

The environment is one that is there already (see ``LOADGEN_GENERIC_ENVIRONMENTS`` and ``make venv
EP=openvino``), else one that is made here, which fetches about 200 MB.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, Outcome
from fragile_models import fragile_mlp

from loadgen_generic.environments import known
from loadgen_generic.results.result import OutputComparison

pytestmark = pytest.mark.slow

VINO = "OpenVINOExecutionProvider"
CPU = "CPUExecutionProvider"
_ROOT = Path(__file__).resolve().parents[2]
_PROCESSORS = os.cpu_count() or 1
# As a processor without bfloat16 would be: OpenVINO's kernels then use AVX2 at most.
_OLD = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an environment named openvino."""
    for environment in known():
        if environment.name == "openvino":
            return Path(os.path.abspath(environment.python)).parents[2]
    directory = tmp_path_factory.mktemp("environments")
    venv.create(directory / "openvino", with_pip=True)
    python = directory / "openvino" / "bin" / "python"
    constraints = ["-c", str(_ROOT / "constraints.txt")]
    what = ["-e", f"{_ROOT}[openvino]"]
    subprocess.run([python, "-m", "pip", "install", "-q", *constraints, *what], check=True)
    return directory


@pytest.fixture
def vino(command: Command, environments: Path, models: Callable[[str], Path]) -> Callable[..., Any]:
    """Runs a tiny model under OpenVINO."""

    def run(
        model: str = "matmul", environ: dict[str, str] | None = None, **flags: object
    ) -> Outcome:
        places = {"LOADGEN_GENERIC_ENVIRONMENTS": str(environments)}
        here = Command(command.directory, {**command.environ, **places, **(environ or {})})
        return here.run(models(model), **{"ep": "openvino", "samples": 50, **flags})

    return run


def compared(outcome: Outcome) -> OutputComparison:
    verification = outcome.result.verification
    assert verification is not None
    assert verification.passed, verification.sentence
    return verification.outputs[0]


def has_bfloat16(vino: Callable[..., Outcome]) -> bool:
    return vino(precision="bfloat16", output_dir="look").code == 0


@pytest.mark.parametrize(
    ("asked", "said"), [(None, "as the model"), ("float32", "float32")], ids=["none", "float32"]
)
def test_no_precision_is_lost_unasked(
    asked: str | None, said: str, vino: Callable[..., Outcome]
) -> None:
    """Left to itself OpenVINO takes bfloat16 where the processor has it."""
    outcome = vino(precision=asked, verify="reference")
    assert outcome.effective["precision"] == said
    assert outcome.result.providers[0] == VINO
    assert compared(outcome).max_abs_error < 1e-5  # type: ignore[operator]


@pytest.mark.parametrize("asked", ["bfloat16", "auto"])
def test_bfloat16_is_stated_and_really_computed(asked: str, vino: Callable[..., Outcome]) -> None:
    """By the size of the error, and by the kernels that OpenVINO says it ran."""
    if not has_bfloat16(vino):
        pytest.skip("the processor has no bfloat16")
    outcome = vino(precision=asked, verify="reference", environ={"ONEDNN_VERBOSE": "1"})
    assert outcome.effective["precision"] == "bfloat16"
    found = compared(outcome)
    assert "(computed in bfloat16)" in found.criterion
    assert 1e-4 < found.max_abs_error < 5e-2  # type: ignore[operator]
    log = (outcome.run_dir / "harness.log").read_text("utf-8", "replace")
    kernels = re.findall(r"primitive,exec,cpu,(?:inner_product|matmul),.*?src:(\w+):", log)
    assert kernels
    assert set(kernels) == {"bf16"}


def test_bfloat16_on_a_processor_without_it(vino: Callable[..., Outcome]) -> None:
    """OpenVINO would compute in float32 and say nothing."""
    outcome = vino(precision="bfloat16", environ=_OLD)
    assert outcome.code == 1
    assert "this CPU has no bfloat16" in outcome.stderr
    assert "compute in float32 without a word" in outcome.stderr
    left = vino(precision="auto", environ=_OLD, output_dir="auto")
    assert left.effective["precision"] == "float32"


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_and_threads_follow_the_workers(workers: int, vino: Callable[..., Outcome]) -> None:
    outcome = vino(runner="threadpool", concurrency=workers, intraop=1)
    options = outcome.effective["ep_options"]
    assert (options["num_streams"], options["num_of_threads"]) == (str(workers), str(workers))
    streams = str(min(workers, _PROCESSORS))
    assert outcome.effective["ep_properties"]["NUM_STREAMS"] == streams
    assert outcome.effective["ep_properties"]["INFERENCE_NUM_THREADS"] == streams


@pytest.mark.skipif(_PROCESSORS == 1, reason="one processor is nothing to share")
def test_processes_side_by_side_are_not_pinned(vino: Callable[..., Outcome]) -> None:
    """They would all be pinned to the first processor."""
    outcome = vino(runner="processpool", concurrency=2, intraop=1, verify="reference")
    assert outcome.effective["ep_properties"]["ENABLE_CPU_PINNING"] == "NO"
    assert compared(outcome).mismatches == 0


def test_own_options_are_in_force(vino: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"CPU": {"ENABLE_CPU_PINNING": "NO"}}))
    outcome = vino(
        runner="threadpool", concurrency=2, ep_options="num_streams=1,load_config=own.json"
    )
    properties = outcome.effective["ep_properties"]
    assert properties["NUM_STREAMS"] == "1"
    assert properties["ENABLE_CPU_PINNING"] == "NO"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("num_stream=2", "Did you mean num_streams?"),
        ("precision=BF16", "CPU only supports FP32, ACCURACY"),
        ('load_config={"CPU": {"NUM_STREAM": "2"}}', "NUM_STREAM"),
    ],
)
def test_options_that_openvino_refuses(
    options: str, words: str, vino: Callable[..., Outcome]
) -> None:
    outcome = vino(ep_options=options)
    assert outcome.code == 2, outcome.stderr
    assert "--ep_options" in outcome.stderr
    assert words in outcome.stderr


@pytest.mark.parametrize(
    ("model", "options"), [("matmul", "device_type=NONSENSE"), ("two_inputs", None)]
)
def test_a_run_of_which_openvino_takes_nothing(
    model: str, options: str | None, vino: Callable[..., Outcome]
) -> None:
    """ONNX Runtime names OpenVINO first all the same."""
    refused = vino(model, ep_options=options)
    assert refused.code == 1
    assert "takes no operator of the model" in refused.stderr
    allowed = vino(model, ep_options=options, allow_fallback=True, output_dir="allowed")
    assert allowed.effective["execution_provider"] == CPU
    assert "takes no operator of the model" in allowed.effective["fallback"]


def test_operators_that_openvino_leaves_to_the_cpu(vino: Callable[..., Outcome]) -> None:
    outcome = vino("random")
    assert outcome.effective["operators"] == {VINO: 1, CPU: 1}
    assert outcome.effective["operators_elsewhere"] == {"RandomUniformLike": 1}
    assert f"1 of 2 operators run on {CPU}, not on openvino: RandomUniformLike 1" in outcome.stderr


@pytest.mark.parametrize(
    "model", ["matmul", "identity", "sequence", "fixed_batch", "float16", "bool", "int64", "scalar"]
)
def test_models_of_all_kinds_answer_right(model: str, vino: Callable[..., Outcome]) -> None:
    flags = {"dim": "seq=3"} if model == "sequence" else {}
    assert compared(vino(model, verify="reference", **flags)).mismatches == 0


def test_the_reference_does_not_run_on_openvino(
    environments: Path, models: Callable[[str], Path]
) -> None:
    """Though ONNX Runtime's package is OpenVINO's."""
    program = (
        "import sys\n"
        "from loadgen_generic.answers.reference import reference_spec\n"
        "from loadgen_generic.backends import BackendSpec, create_backend\n"
        "measured = BackendSpec('onnxruntime', sys.argv[1], 'openvino', 1, 1, 'sequential',\n"
        "    precision='auto', provider_options={'num_streams': '1'})\n"
        "backend = create_backend(reference_spec(measured, sys.argv[1]))\n"
        "backend.load()\n"
        "print(*backend.providers())\n"
    )
    python = environments / "openvino" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", program, models("matmul")],
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [CPU]


def test_version_of_openvino_is_stated(vino: Callable[..., Outcome]) -> None:
    assert re.match(r"20\d\d\.\d", vino().effective["openvino_version"])


def test_tune_refuses_a_bfloat16_that_breaks_the_model(
    vino: Callable[..., Outcome], command: Command, environments: Path, tmp_path: Path
) -> None:
    """A network with a large dynamic range, then a subtraction."""
    if not has_bfloat16(vino):
        pytest.skip("the processor has no bfloat16")
    model = tmp_path / "fragile.onnx"
    model.write_bytes(fragile_mlp())
    places = {"LOADGEN_GENERIC_ENVIRONMENTS": str(environments)}
    outcome = Command(command.directory, {**command.environ, **places})(
        "tune", model, budget="20s", loadgen_duration_sec=1, output_dir="tuned", json=True
    )
    assert outcome.code == 0, outcome.stderr
    answer = json.loads(outcome.stdout)["answer"]
    (refused,) = (each for each in answer["candidates"] if each["stage"] == "refused")
    assert refused["family"] == "openvino bfloat16"
    assert "samples differ" in refused["why"]
    assert refused["max_abs_error"] > 0.05
    winner = next(each for each in answer["candidates"] if each["number"] == answer["winner"])
    assert winner["family"] in ("cpu float32", "openvino float32")


def test_the_benchmark_against_openvino_itself(environments: Path, tmp_path: Path) -> None:
    """In an environment of its own, of the same version; fetches about 50 MB."""
    given = ["--rounds", 1, "--seconds", 1, "--batches", 1, "--precisions", "float32"]
    places = ["--work", tmp_path, "--output", tmp_path / "results"]
    command = [sys.executable, _ROOT / "benchmarks" / "openvino_provider.py", *given, *places]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "LOADGEN_GENERIC_ENVIRONMENTS": str(environments)},
        capture_output=True,
        text=True,
        check=True,
    )
    (file,) = (tmp_path / "results").iterdir()
    report = json.loads(file.read_text("utf-8"))
    assert {row["key"] for row in report["rows"]} == {
        "offline/float32/batch-1",
        "singlestream/float32",
    }
    assert all(row["reached"] for row in report["rows"]), done.stdout
    ours, theirs = (
        case["rounds"][0]["detail"]
        for case in (
            report["cases"][f"offline/float32/batch-1/{side}"] for side in ("ours", "loop")
        )
    )
    assert ours["picked"]["precision"] == "float32"
    release = ours["picked"]["openvino_version"].partition("-")[0]
    assert theirs["openvino"].startswith(release)
