"""The models of the onnx package's own tests: those that ONNX Runtime can load run with no flags
but the model, in every scenario, and give the answers that came with them."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from command import Command

from loadgen_generic import BenchmarkConfig, run
from loadgen_generic.results.result import read_result

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
GROUPS = ("simple", "pytorch-converted", "pytorch-operator")
SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
MODELS = [
    path.parent.relative_to(DATA).as_posix()
    for group in GROUPS
    for path in sorted((DATA / group).glob("*/model.onnx"))
]
# A few of every kind for each change; all of them take minutes.
FEW = MODELS[::36]

# Models that ONNX Runtime loads and we do not run, with the reason.
EXCEPTIONS: dict[str, str] = {}


def loads(name: str) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(str(DATA / name / "model.onnx"), options)
    except Exception:  # noqa: BLE001 - whatever it is, it is ONNX Runtime's
        return False
    return True


def check(name: str, command: Command) -> None:
    model = DATA / name / "model.onnx"
    if not loads(name):
        outcome = command.run(model, samples=2)
        assert outcome.code in (1, 2)
        assert outcome.stderr.startswith("loadgen-generic: error: ")
        return
    if name in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name])
    in_every_scenario(model, command.directory)
    if list(model.parent.glob("test_data_set_*")):
        outcome = command.run(
            model, dataset=model.parent, verify="data", samples=2, output_dir="verified"
        )
        assert outcome.code == 0, outcome.stderr
        assert outcome.result.verification is not None


def in_every_scenario(model: Path, directory: Path) -> None:
    """From Python: hundreds of commands would start an interpreter each, beside the measured one."""
    for scenario in SCENARIOS:
        output = directory / scenario
        config = {"model_path": str(model), "scenario": scenario, "output_dir": str(output)}
        result = run(BenchmarkConfig.model_validate({**config, "samples": 2}))
        assert result.scenario == scenario
        assert read_result(output).samples_completed >= 2


def test_there_are_enough_of_them() -> None:
    assert len(MODELS) > 100
    assert len(EXCEPTIONS) < 5
    assert set(EXCEPTIONS) <= set(MODELS)


@pytest.mark.parametrize("name", FEW)
def test_a_model_of_the_wheel(name: str, command: Command) -> None:
    check(name, command)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in FEW])
def test_each_other_model_of_the_wheel(name: str, command: Command) -> None:
    check(name, command)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((DATA / "light").glob("*.onnx")), ids=lambda path: path.stem
)
def test_a_light_model(path: Path, command: Command) -> None:
    in_every_scenario(path, command.directory)
