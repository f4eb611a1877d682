"""What a result and everything that shows it say of what it was computed on and in.

No GPU is needed: the real command runs a model on the CPU, a stand-in tells of the cards, and the
backend is made to say that it ran on them.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import Command
from past_results import single
from sample_figures import performance

from loadgen_generic.report.comparison import print_comparison
from loadgen_generic.report.comparison_page import write_comparison
from loadgen_generic.report.formats import document, markdown, table
from loadgen_generic.report.history.past import Alive, read_past
from loadgen_generic.report.page import write_page
from loadgen_generic.report.terminal import print_result
from loadgen_generic.results.comparison import Comparison, compare
from loadgen_generic.results.comparison.subjects import read_subject
from loadgen_generic.results.computation import computation_of
from loadgen_generic.results.devices import DeviceShare
from loadgen_generic.results.doubts import doubts_of_computation, doubts_of_gpus
from loadgen_generic.results.glossary import explain
from loadgen_generic.results.phases import Phases
from loadgen_generic.results.result import Accuracy, ConfigPair, Result
from loadgen_generic.results.telemetry import GpuEnergy, GpuProcess, GpuSummary
from loadgen_generic.results.verdict import judge_accuracy

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
ON_CARDS = {
    "execution_provider": CUDA,
    "devices": [0, 1],
    "precision": "tf32",
    "data_location": "pinned",
}
WORDS = "CUDA, 2 cards, tf32, samples from pinned host memory"

# Says of each run what PRETENDED says, and gives two cards, of which 200 and 300 W are drawn.
STAND_INS = """
import json, os, sys
sys.path.insert(0, {tests!r})
from nvml import FakeCard, nvml
sys.modules["pynvml"] = nvml(
    [FakeCard(watts=200, reasons=0x20), FakeCard(bus=1, watts=300, lost_after=float({lost!r})),
     FakeCard("Idle", bus=2, watts=50, processes=lambda: [(1, 1 << 30)])]
)
from loadgen_generic.backends.onnxruntime import OnnxRuntimeBackend
real = OnnxRuntimeBackend.effective
OnnxRuntimeBackend.effective = lambda self: {{**real(self), **json.loads({pretended!r})}}
"""


def pretending(command: Command, lost: str = "inf", **effective: object) -> Command:
    """A command whose runs say that this is in force."""
    (command.directory / "stand_ins").mkdir()
    text = STAND_INS.format(
        tests=str(Path(__file__).parent), lost=lost, pretended=json.dumps(effective)
    )
    (command.directory / "stand_ins" / "sitecustomize.py").write_text(text)
    path = str(command.directory / "stand_ins")
    environ = {**command.environ, "PYTHONPATH": path, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return replace(command, environ=environ)


def test_a_run_on_cards(command: Command, models: Any) -> None:
    outcome = pretending(command, **ON_CARDS)(
        *("run", models("matmul"), "--scenario=SingleStream", "--loadgen_duration_sec=1.3")
    )
    result = outcome.result
    assert f"({WORDS})" in result.verdict
    assert outcome.stdout.startswith(result.verdict)
    telemetry = result.telemetry
    assert telemetry is not None
    assert [gpu.used for gpu in telemetry.gpus] == [True, True, False]
    energy = telemetry.gpu_energy
    assert energy is not None
    assert (energy.gpus, energy.source) == ([0, 1], "counter")
    assert energy.energy_j == pytest.approx(500 * result.duration_s, rel=0.05)
    assert energy.per_sample_j == pytest.approx(energy.energy_j / result.samples_completed)
    held = "GPU 0 was held back for 100 % of the test by: heat, held by the driver"
    assert held in result.doubts
    assert not any("another process" in doubt for doubt in result.doubts), "that one is idle"
    assert held in outcome.stdout
    assert "on GPU 0, 1, by the cards' own counters" in outcome.stdout
    page = (outcome.run_dir / "report.html").read_text("utf-8")
    for text in (f"Computed on {WORDS}", held, "GPU 2, Idle (not used)"):
        assert text in page
    # A busy machine may find no time to look at the cards between the first query and the last.
    drawn = {line["title"] for line in json.loads(Path(telemetry.file).read_text())["machine"]}
    assert ("GPU held back" in page) is ("GPU held back" in drawn)
    listed = command("list", "out")
    assert "computed on" in listed.stdout
    assert "2 x CUDA tf32, pinned" in listed.stdout


def test_a_card_that_is_lost_in_the_middle_of_a_run(command: Command, models: Any) -> None:
    """The run goes on here, so the result is flagged; telemetry has what it saw."""
    outcome = pretending(command, lost="12", **ON_CARDS).run(
        models("matmul"), scenario="SingleStream", loadgen_duration_sec=0.7
    )
    lost = "GPU 1 stopped answering during the test, as its driver says: GPU is lost"
    assert lost in outcome.result.doubts
    assert lost in outcome.stdout
    assert outcome.result.telemetry is not None
    assert outcome.result.telemetry.gpu_energy is None
    assert outcome.result.telemetry.gpus[0].power_w == 200


def test_a_run_that_failed_says_that_its_card_is_lost(command: Command) -> None:
    outcome = pretending(command, lost="12").fake(
        "latency_us=5000,fail_at=60", runner="inline", batch_size=1, samples=200
    )
    assert outcome.code == 1
    assert "GPU 1, Big, does not answer its driver any more: GPU is lost" in outcome.stderr


@pytest.mark.parametrize(
    ("effective", "words", "short"),
    [
        ({}, "", ""),
        ({"execution_provider": CPU, "precision": "as the model"}, "", ""),
        ({"execution_provider": "none", "backend": "fake"}, "", ""),
        ({"execution_provider": "none", "backend": "fake", "devices": [0]}, "", ""),
        (
            {"execution_provider": "none", "backend": "fake", "devices": [0, 1]},
            "2 cards, samples from host memory",
            "2 x cards",
        ),
        (ON_CARDS, WORDS, "2 x CUDA tf32, pinned"),
        (
            {"execution_provider": CUDA, "data_location": "device", "precision": "as the model"},
            "CUDA, 1 card, the model's own precision, samples in device memory",
            "CUDA, device",
        ),
        (
            {"execution_provider": "TensorrtExecutionProvider", "precision": "float16"},
            "TensorRT, 1 card, float16, samples from host memory",
            "TensorRT float16",
        ),
        (
            {"execution_provider": OPENVINO, "precision": "bfloat16", "data_location": "host"},
            "OpenVINO, bfloat16",
            "OpenVINO bfloat16",
        ),
        (
            {
                "execution_provider": OPENVINO,
                "precision": "float16 (as asked; not read back)",
                "ep_options": {"device_type": "GPU"},
            },
            "OpenVINO GPU, float16, as asked; not read back",
            "OpenVINO GPU float16",
        ),
        (
            {"execution_provider": CPU, "fallback": "libcudnn.so.9 is missing."},
            "CPU, not CUDA as asked",
            "CPU for CUDA",
        ),
    ],
)
def test_what_stands_beside_the_number(effective: dict[str, Any], words: str, short: str) -> None:
    found = computation_of({"execution_provider": "cuda"}, effective)
    assert (str(found), found.short()) == (words, short)


def test_an_accuracy_run_says_it_too() -> None:
    found = Accuracy(samples=10, labelled=10, judged=10, correct=9)
    assert judge_accuracy(found, WORDS).sentence.endswith(f"labelled samples ({WORDS}).")
    assert judge_accuracy(found).sentence.endswith("9 of 10 labelled samples.")
    unlabelled = Accuracy(samples=10, labelled=0, judged=0, correct=0)
    assert f"all 10 samples were answered ({WORDS}); no labels" in (
        judge_accuracy(unlabelled, WORDS).sentence
    )


def test_the_words_beside_the_number_are_explained() -> None:
    known = explain(f"INVALID: Server 5 samples/s ({WORDS}), but it failed.")
    assert {"precision", "card", "where samples start"} <= set(known)
    assert not {"precision", "card", "where samples start"} & set(explain("INVALID: no."))


def test_a_run_that_fell_back_does_not_look_as_asked() -> None:
    config = {"execution_provider": "cuda"}
    effective = {"execution_provider": CPU, "fallback": "libcudnn.so.9 is missing."}
    assert doubts_of_computation(config, effective) == [
        "it ran on the CPU, not on CUDA as asked: libcudnn.so.9 is missing"
    ]
    assert doubts_of_computation(config, {"execution_provider": CUDA}) == []


def test_fallback_of_a_real_run(command: Command, models: Any) -> None:
    there = pretending(command, fallback="libcudnn.so.9 is missing")
    outcome = there("run", models("matmul"), "--samples=20", "--ep=cpu")
    assert "(CPU, not CPU as asked)" in outcome.result.verdict
    doubt = "it ran on the CPU, not on CPU as asked: libcudnn.so.9 is missing"
    assert doubt in outcome.result.doubts
    assert doubt in outcome.stdout
    assert doubt in (outcome.run_dir / "report.html").read_text("utf-8")


def gpu(number: int, **changes: Any) -> GpuSummary:
    return GpuSummary(
        **{
            "name": f"GPU {number}, Big",
            "utilisation_percent": 88.2,
            "memory_bytes": 12 * 2.0**30,
            "power_w": 510.0,
            "clock_mhz": 1410.0,
            "temperature_c": 66.0,
            "held_back_by": None,
            "number": number,
            "used": True,
            **changes,
        }
    )


def test_doubts_are_of_cards_in_use_and_of_what_matters() -> None:
    process = GpuProcess(pid=7, name="other", memory_bytes=None)
    idle = gpu(1, used=False, other_processes=[process], held_back_shares={"power cap": 1.0})
    assert doubts_of_gpus([idle, gpu(0, held_back_shares={"power cap": 0.04})]) == []
    (doubt,) = doubts_of_gpus([gpu(0, used=None, other_processes=[process])])
    assert "another process used GPU 0 during the test: process 7 (other)" in doubt


def recorded(directory: Path) -> Any:
    """The figures of a run on two of three cards, a tenth of whose operators went elsewhere."""
    figures = performance("Offline", directory)
    result = figures.result
    assert result is not None
    assert result.telemetry is not None
    effective = {
        **result.config.effective,
        **ON_CARDS,
        "operators": {CUDA: 118, CPU: 12},
        "operators_elsewhere": {"Loop": 4, "NonZero": 8},
        "environment": {"name": "cuda", "python": "/there/python", "package": "onnxruntime-gpu 1"},
    }
    telemetry = result.telemetry.model_copy(
        update={
            "gpus": [
                gpu(0, energy_j=30_612.4),
                gpu(
                    1,
                    held_back_by="power cap",
                    held_back_shares={"power cap": 0.42},
                    other_processes=[GpuProcess(pid=99, name="train", memory_bytes=3 << 30)],
                    lost="GPU is lost",
                ),
                gpu(2, used=False),
            ],
            "gpu_energy": GpuEnergy(
                gpus=[0, 1], energy_j=61_224.8, per_sample_j=0.0861668, source="counter"
            ),
        }
    )
    config = ConfigPair(requested={**result.config.requested, "ep": "cuda"}, effective=effective)
    return replace(
        figures,
        result=result.model_copy(
            update={
                "config": config,
                "telemetry": telemetry,
                "devices": [DeviceShare(number=0, samples=600), DeviceShare(number=1, samples=200)],
                "phases": Phases(
                    copy_in_us=120.4,
                    compute_us=803.0,
                    copy_out_us=9.93,
                    batch_size=64,
                    data_location="pinned",
                ),
            }
        ),
    )


CARD = "Big, 88.2 % busy, 12.0 GiB, 510 W, 1,410 MHz, 66.0 °C"
ENERGY = ("61,200 J on GPU 0, 1, by the cards' own counters", "86.2 mJ a sample, 11.6 samples/J")
PLACED = "118 on CUDA, 12 on CPU; not where asked: NonZero 8, Loop 4"
SHARES = "GPU 0 600 samples (75 %), GPU 1 200 samples (25 %)"
PHASES = "copy in 120 us, compute 803 us, copy out 9.93 us for a batch of 64 samples"
UNDER = "environment cuda: onnxruntime-gpu 1, /there/python"


def test_on_the_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_result(recorded(tmp_path).result, stream)
    text = stream.getvalue()
    for words in (*ENERGY, CARD, PLACED, UNDER, SHARES, PHASES, WORDS):
        assert words in text
    assert "GPU 2" not in text, "that one was not used"
    lines = text.splitlines()
    before = [i for i, each in enumerate(lines) if each.startswith("  run by:")]
    assert lines[before[0] + 1].startswith("  computed on:"), "beside how it was run"


def test_on_the_page(tmp_path: Path) -> None:
    write_page(recorded(tmp_path), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    for words in (
        *(each.replace("'", "&#x27;") for each in (*ENERGY, PLACED, UNDER, SHARES, PHASES)),
        f"Computed on {WORDS}",
        "power cap 42 %",
        "process 99 (train), 3,072 MiB of its memory",
        "GPU is lost",
        "GPU 2, Big (not used)",
        "Copies and computation",
        "Samples start in pinned memory of the host.",
    ):
        assert words in page, words


def test_as_text_rows_and_a_document(tmp_path: Path) -> None:
    figures = recorded(tmp_path)
    text = markdown(figures)
    for words in (*ENERGY, CARD, PLACED, UNDER, SHARES, PHASES, f"| computed on | {WORDS} |"):
        assert words in text
    header, row = (line.split(",") for line in table([figures]).splitlines())
    cells = dict(zip(header, row, strict=False))
    assert "gpu_energy_per_sample_j" in cells
    assert ",CUDA,tf32,2,pinned,61224.8,0.0861668," in table([figures])
    told = document(figures)["result"]
    assert told["telemetry"]["gpu_energy"]["per_sample_j"] == 0.0861668
    assert told["telemetry"]["gpus"][1]["other_processes"][0]["pid"] == 99
    json.dumps(told)
    assert Result.model_validate(told) == figures.result


def test_a_run_on_the_cpu_is_shown_as_before(tmp_path: Path) -> None:
    figures = performance("Offline", tmp_path)
    stream = io.StringIO()
    assert figures.result is not None
    print_result(figures.result, stream)
    write_page(figures, tmp_path / "report.html")
    texts = [
        stream.getvalue(),
        markdown(figures),
        (tmp_path / "report.html").read_text("utf-8").partition("<script")[0],
    ]
    for text in texts:
        assert "omputed on" not in text
        assert "energy" not in text
        assert "operators" not in text


def compared(directory: Path, *effective: dict[str, Any]) -> tuple[Comparison, str, str]:
    """What is found, and how a terminal and a page show it."""
    runs = [
        read_subject(single(directory / f"run-{n}", 2e6 / (n + 1), effective=each))
        for n, each in enumerate(effective)
    ]
    found, stream = compare(runs), io.StringIO()
    print_comparison(found, stream)
    write_comparison(found, directory / "page.html")
    return found, stream.getvalue(), (directory / "page.html").read_text("utf-8")


def test_compare_says_what_was_computed_on(tmp_path: Path) -> None:
    found, *shown = compared(tmp_path, {"execution_provider": CPU}, ON_CARDS)
    warning = (
        "A and B were computed on or in something else (provider CPU against CUDA, precision as "
        "the model against tf32, cards none against 2, data location none against pinned), so "
        "the difference may be its"
    )
    for text in shown:
        assert warning in text
        assert WORDS in text
    assert [side.computed_on for side in found.sides] == ["", WORDS]
    assert found.against[0].warnings == [warning]


def test_compare_of_runs_on_the_cpu_is_as_before(tmp_path: Path) -> None:
    found, text, _ = compared(tmp_path, {}, {"precision": "as the model", "devices": []})
    assert "omputed on" not in text
    assert found.against[0].warnings == []


def test_data_location_alone_is_a_difference(tmp_path: Path) -> None:
    _, text, _ = compared(tmp_path, {**ON_CARDS, "data_location": "host"}, ON_CARDS)
    assert "(data location host against pinned)" in text


def test_list_has_the_column_only_where_it_says_something(tmp_path: Path) -> None:
    there = single(tmp_path / "a", 2e6, effective=ON_CARDS)
    past = read_past(there, {"result.json"}, Alive())
    assert past.computed_on == "2 x CUDA tf32, pinned"
    usual = read_past(single(tmp_path / "b", 2e6), {"result.json"}, Alive())
    assert usual.computed_on == ""


@pytest.mark.slow
def test_the_median_of_several_runs_says_it_too(command: Command, models: Any) -> None:
    outcome = pretending(command, **ON_CARDS).run(models("matmul"), samples=50, repeat=2)
    assert f" ({WORDS}), the median of 2 runs" in outcome.result.verdict
