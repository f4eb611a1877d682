"""A submission of finished runs: its layout, and the gate before it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, Outcome
from compliance_runs import ACCURACY_LOG, CHECKOUT, DETAIL, change, lengthen, make

from loadgen_generic.campaigns.submission.accuracy import keep_truncated
from loadgen_generic.results.result import read_result, write_json

WHERE = "results/box/matmul/Server"
LAYOUT = [
    "model_mapping.json",
    *(
        f"{WHERE}/{name}"
        for name in (
            "README.md",
            "TEST01/accuracy/accuracy.txt",
            "TEST01/accuracy/mlperf_log_accuracy.json",
            "TEST01/performance/run_1/mlperf_log_detail.txt",
            "TEST01/performance/run_1/mlperf_log_summary.txt",
            "TEST01/verify_accuracy.txt",
            "TEST01/verify_performance.txt",
            "TEST04/performance/run_1/mlperf_log_detail.txt",
            "TEST04/performance/run_1/mlperf_log_summary.txt",
            "TEST04/verify_performance.txt",
            "accuracy/accuracy.txt",
            "accuracy/mlperf_log_accuracy.json",
            "accuracy/mlperf_log_detail.txt",
            "accuracy/mlperf_log_summary.txt",
            "measurements.json",
            "performance/run_1/mlperf_log_detail.txt",
            "performance/run_1/mlperf_log_summary.txt",
            "user.conf",
        )
    ),
    "src/README.md",
    "systems/box.json",
]
TIMED = ("performance/run_1", "audits/TEST01", "audits/TEST04")


@pytest.fixture(scope="module")
def finished(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign whose logs say that it had the length of the rules."""
    directory = tmp_path_factory.mktemp("submission")
    outcome = make(directory, models("matmul"))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    for name in TIMED:
        lengthen(directory / "out" / name)
    return directory / "out"


@pytest.fixture
def runs(finished: Path, command: Command) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(finished, command.directory / "runs"))


def submit(command: Command, **flags: object) -> Outcome:
    given = {
        "submitter": "Example",
        "system": "box",
        "runs": "runs",
        "output_dir": "made",
        "benchmark": "3d-unet-99",
        **flags,
    }
    return command("submission", **given)


def refused(outcome: Outcome, made: Path) -> str:
    assert outcome.code == 2, outcome.stdout + outcome.stderr
    assert not made.exists(), "nothing was written"
    return outcome.stderr


@pytest.fixture
def made(runs: Path, command: Command) -> tuple[Outcome, Path]:
    outcome = submit(command)
    assert outcome.code == 0, outcome.stderr
    return outcome, command.directory / "made/open/Example"


def test_layout(made: tuple[Outcome, Path]) -> None:
    outcome, base = made
    root = base.parent.parent
    assert [each.name for each in root.iterdir()] == ["open"]
    assert [each.name for each in base.parent.iterdir()] == ["Example"]
    files = sorted(str(f.relative_to(base)) for f in base.rglob("*") if f.is_file())
    assert files == LAYOUT
    assert outcome.stdout.startswith("A submission of Server is in ")
    assert "tools.submission.submission_checker.main --input" in outcome.stdout
    assert not list(root.parent.glob(".made*")), "nothing is left aside"


def test_logs_are_those_of_the_runs(made: tuple[Outcome, Path], runs: Path) -> None:
    there = made[1] / WHERE
    for name, source in (
        ("performance/run_1", runs / "performance/run_1"),
        ("accuracy", runs / "accuracy"),
        ("TEST01/performance/run_1", runs / "audits/TEST01"),
        ("TEST04/performance/run_1", runs / "audits/TEST04"),
    ):
        for log in (DETAIL, "mlperf_log_summary.txt"):
            assert (there / name / log).read_bytes() == (source / log).read_bytes()


def test_accuracy_has_its_number_and_the_hash_of_the_whole_log(
    made: tuple[Outcome, Path], runs: Path
) -> None:
    text = (made[1] / WHERE / "accuracy/accuracy.txt").read_text()
    digest = hashlib.sha256((runs / "accuracy" / ACCURACY_LOG).read_bytes()).hexdigest()
    assert text == f"accuracy=100.000%, good=43, total=43\n\nhash={digest}\n"


@pytest.mark.parametrize(("size", "kept"), [(4095, 4095), (4096, 8199), (50_000, 8199)])
def test_a_long_accuracy_log_is_cut(size: int, kept: int, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    content = bytes(48 + k % 10 for k in range(size))
    log.write_bytes(content)
    digest = keep_truncated(log, tmp_path / "cut", "accuracy=1%")
    cut = (tmp_path / "cut/log.json").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    assert len(cut) == kept
    assert cut == (content if kept == size else content[:4096] + b"\n\n...\n\n" + content[-4096:])


def test_files_say_how_the_runs_were_made(made: tuple[Outcome, Path], runs: Path) -> None:
    base = made[1]
    system = json.loads((base / "systems/box.json").read_text())
    host = read_result(runs / "performance/run_1").host
    assert system["host_processor_model_name"] == host["cpu"]
    assert system["host_memory_capacity"] == f"{host['memory_bytes'] / 2**30:.0f} GiB"
    assert (system["submitter"], system["division"], system["status"]) == (
        "Example",
        "open",
        "available",
    )
    assert system["framework"].startswith("onnxruntime")
    assert system["accelerators_per_node"] == "0"
    measured = json.loads((base / WHERE / "measurements.json").read_text())
    assert measured["weight_data_types"] == measured["input_data_types"] == "fp32"
    assert measured["starting_weights_filename"] == "matmul.onnx"
    assert json.loads((base / "model_mapping.json").read_text()) == {"matmul": "3d-unet-99"}
    conf = (base / WHERE / "user.conf").read_text()
    assert "3d-unet.Server.target_qps = 300\n" in conf
    assert "3d-unet.Server.target_latency = 1000\n" in conf
    readme = (base / WHERE / "README.md").read_text()
    assert "loadgen-generic compliance --model_path matmul.onnx --dataset data" in readme
    assert "accuracy=100.000%" in readme


def test_doubts_are_not_kept_back(runs: Path, command: Command) -> None:
    doubt = "other processes used 40 % of the processor time meanwhile"
    result = read_result(runs / "performance/run_1").model_copy(update={"doubts": [doubt]})
    write_json(runs / "performance/run_1/result.json", result.model_dump())
    outcome = submit(command)
    assert f"Server performance: {doubt}" in outcome.stdout
    readme = command.directory / "made/open/Example" / WHERE / "README.md"
    assert f"- doubtful: {doubt}\n" in readme.read_text()


def test_no_path_of_the_machine_is_told(made: tuple[Outcome, Path], runs: Path) -> None:
    for file in made[1].rglob("*"):
        if file.is_file():
            assert str(runs.parent) not in file.read_text()
            assert os.path.expanduser("~") + "/" not in file.read_text()


def test_user_conf_is_taken_by_loadgen(made: tuple[Outcome, Path], command: Command) -> None:
    again = command(
        "run",
        backend="fake",
        scenario="Server",
        mlperf_model="3d-unet",
        distinct_samples=43,
        user_conf=made[1] / WHERE / "user.conf",
        loadgen_duration_sec=0.2,
        target_latency_percentile=90,
    )
    assert again.effective["target_qps"] == 300
    assert again.effective["target_latency_ms"] == 1000


def test_the_submitter_states_what_the_machine_does_not_tell(runs: Path, command: Command) -> None:
    outcome = submit(command)
    assert "the machine does not tell cooling" in outcome.stdout
    (command.directory / "more.json").write_text('{"cooling": "air", "host_networking": "none"}')
    (command.directory / "model.json").write_text('{"retraining": "no"}')
    outcome = submit(
        command, system_json="more.json", measurements_json="model.json", output_dir="second"
    )
    base = command.directory / "second/open/Example"
    assert "cooling" not in outcome.stdout
    assert json.loads((base / "systems/box.json").read_text())["cooling"] == "air"
    assert json.loads((base / WHERE / "measurements.json").read_text())["retraining"] == "no"


@pytest.mark.parametrize("which", TIMED)
def test_an_invalid_log_is_refused(which: str, runs: Path, command: Command) -> None:
    change(runs / which / DETAIL, r'("key": "result_validity", "value": )"VALID"', r'\1"INVALID"')
    message = refused(submit(command), command.directory / "made")
    kind = Path(which).name.replace("run_1", "performance")
    assert f"Server {kind} (runs/{which}): it is INVALID" in message


def test_our_own_verdict_counts_as_well(runs: Path, command: Command) -> None:
    result = read_result(runs / "performance/run_1").model_copy(
        update={
            "valid": False,
            "invalid_reasons": ["it did not keep up"],
            "next_command": "loadgen-generic run --target_qps 1",
        }
    )
    write_json(runs / "performance/run_1/result.json", result.model_dump())
    message = refused(submit(command), command.directory / "made")
    assert "it is INVALID: it did not keep up. Try: loadgen-generic run --target_qps 1" in message


def _set(key: str, value: object) -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        change(file, rf'("key": "{key}", "value": )[^,]+', rf"\g<1>{json.dumps(value)}")

    return apply


def _error(file: Path) -> None:
    change(file, r'(Starting performance mode.*?"is_error": )false', r"\1true")


@pytest.mark.parametrize(
    ("run", "apply", "message"),
    [
        (
            "performance/run_1",
            _set("effective_min_duration_ms", 5000),
            r"had to take 5 s; the rules ask for 600 s\. Make the run again with --official",
        ),
        (
            "performance/run_1",
            _set("power_begin", "01-01-2100 00:00:00.000"),
            r"it took -\d+.* s and had to take 600 s",
        ),
        ("performance/run_1", _set("effective_qsl_rng_seed", 1), r"LoadGen's seeds are not those"),
        (
            "performance/run_1",
            _set("effective_performance_sample_count", 42),
            r"42 different samples were issued, where 3d-unet-99 has 43\. .*--mlperf_model 3d-unet",
        ),
        ("performance/run_1", _error, r"LoadGen reported errors: Starting performance mode"),
        (
            "accuracy",
            _set("effective_accuracy_sample_count", 44),
            r"it is over 44 samples, where 3d-unet-99 has 43",
        ),
        (
            "audits/TEST01",
            _set("result_completed_samples_per_sec", 30.5),
            r"TEST01 failed: 30\.5 samples/s against .* lower than in the performance run",
        ),
        (
            "audits/TEST04",
            _set("result_completed_samples_per_sec", 900.5),
            r"TEST04 failed: 900 samples/s .* it may be 10 % faster at most",
        ),
    ],
)
def test_the_gate_names_what_is_wrong(
    run: str, apply: Callable[[Path], None], message: str, runs: Path, command: Command
) -> None:
    apply(runs / run / DETAIL)
    stderr = refused(submit(command), command.directory / "made")
    assert re.search(message, stderr), stderr
    assert stderr.count("\n  - ") == stderr.strip().count("\n"), "one line for each"


def test_a_tampered_accuracy_log_is_refused(runs: Path, command: Command) -> None:
    log = runs / "accuracy" / ACCURACY_LOG
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:4], *lines[5:]]))
    stderr = refused(submit(command), command.directory / "made")
    assert "its log has 42 answers, not one for each of 43 samples" in stderr


def test_all_that_is_wrong_is_listed_at_once(runs: Path, command: Command) -> None:
    shutil.rmtree(runs / "accuracy")
    stderr = refused(submit(command, benchmark="resnet"), command.directory / "made")
    assert "Server: there is no accuracy run. Make one: loadgen-generic run MODEL" in stderr
    assert "43 different samples were issued, where resnet has 1024" in stderr
    assert "the latency bound is 1000 ms, where resnet has 15" in stderr


def test_two_runs_of_a_kind_are_told_apart_by_the_user(runs: Path, command: Command) -> None:
    shutil.copytree(runs / "performance/run_1", runs / "performance/run_2")
    stderr = refused(submit(command), command.directory / "made")
    assert "there are 2 performance runs (runs/performance/run_1, runs/performance/run_2)" in stderr


def test_runs_of_two_models_are_refused(runs: Path, command: Command) -> None:
    change(runs / "audits/TEST04/result.json", r'("sha256": ")\w', r"\1g")
    stderr = refused(submit(command), command.directory / "made")
    assert "they are of 2 different models" in stderr


def test_audits_are_optional_in_the_open_division(runs: Path, command: Command) -> None:
    shutil.rmtree(runs / "audits")
    outcome = submit(command, json=True)
    assert outcome.code == 0, outcome.stderr
    document = json.loads(outcome.stdout)
    assert any("no TEST01 run; the open division does not ask" in r for r in document["remarks"])
    assert not (command.directory / "made/open/Example" / WHERE / "TEST01").exists()


@pytest.mark.slow
def test_without_labels_the_answers_have_to_be_compared(
    models: Callable[[str], Path], command: Command
) -> None:
    first = make(command.directory, models("matmul"), labels=False, output_dir="runs")
    assert first.code == 0, first.stderr
    for name in TIMED:
        lengthen(command.directory / "runs" / name)
    stderr = refused(submit(command), command.directory / "made")
    assert "nothing says how right the answers are" in stderr
    assert "--verify reference" in stderr
    shutil.rmtree(command.directory / "runs")
    flags = {"verify": "reference", "output_dir": "runs"}
    assert make(command.directory, models("matmul"), labels=False, **flags).code == 0
    for name in TIMED:
        lengthen(command.directory / "runs" / name)
    assert submit(command).code == 0
    where = command.directory / "made/open/Example" / WHERE
    text = (where / "accuracy/accuracy.txt").read_text()
    assert text.startswith("agreement=100.000%, good=43, total=43 (outputs within tolerance of")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"submitter": "Ex ample"}, "--submitter Ex ample: this becomes the name of a directory"),
        ({"system": "../x"}, "--system ../x: this becomes the name of a directory"),
        ({"runs": "nowhere"}, "--runs nowhere: there is no such directory"),
        ({"runs": "empty"}, "--runs empty: there is no finished run in it"),
        ({"benchmark": "resnet5"}, "--benchmark resnet5: the checker has no such benchmark"),
        ({"output_dir": "runs"}, "--output_dir runs: there is something already"),
        ({"system_json": "no.json"}, "--system_json no.json: cannot be read"),
        (
            {"status": "sold"},
            "--status sold: the checker does not know this. Choose one of: available;",
        ),
        ({"system_typ": "edge"}, "--system_typ: there is no such option. Did you mean"),
    ],
)
def test_wrong_requests(
    flags: dict[str, object], message: str, runs: Path, command: Command
) -> None:
    (command.directory / "empty").mkdir()
    assert message in refused(submit(command, **flags), command.directory / "made")


def test_the_benchmark_follows_from_the_model_of_the_runs(runs: Path, command: Command) -> None:
    assert submit(command, benchmark=None).code == 0
    mapping = command.directory / "made/open/Example/model_mapping.json"
    assert json.loads(mapping.read_text()) == {"matmul": "3d-unet-99"}


@pytest.mark.skipif(
    CHECKOUT is None, reason="LOADGEN_GENERIC_INFERENCE_DIR names no mlcommons/inference checkout"
)
def test_the_official_checker_accepts_it(made: tuple[Outcome, Path], tmp_path: Path) -> None:
    checker = ["-m", "tools.submission.submission_checker.main", "--version", "v6.1"]
    done = subprocess.run(
        [sys.executable, *checker, "--input", made[1].parents[1], "--csv", tmp_path / "out.csv"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "SUMMARY: submission looks OK" in done.stderr
