"""The runs of MLPerf's compliance tests, their layout, and our own look at their conditions."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from command import Command, Outcome, logged
from compliance_runs import ACCURACY_LOG, CHECKOUT, DETAIL, PACED, SAMPLES, change, make

from loadgen_generic.campaigns.compliance.audits import audit_text, find_audit
from loadgen_generic.campaigns.compliance.checks import Check, check_test01, check_test04
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.progress import Phase
from loadgen_generic.results.result import read_result


@pytest.fixture(scope="module")
def campaign(
    models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, Path]:
    """A short campaign that passes, and its directory."""
    directory = tmp_path_factory.mktemp("compliance")
    outcome = make(directory, models("matmul"))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    return outcome, directory / "out"


@pytest.fixture
def runs(campaign: tuple[Outcome, Path], tmp_path: Path) -> Path:
    """A copy of its directory, to change."""
    return Path(shutil.copytree(campaign[1], tmp_path / "copy"))


def checks_01(runs: Path) -> tuple[Check, ...]:
    return check_test01(runs / "performance/run_1", runs / "accuracy", runs / "audits/TEST01")


def check_04(runs: Path) -> Check:
    return check_test04(runs / "performance/run_1", runs / "audits/TEST04")[0]


def test_all_tests_pass_and_each_says_what_was_found(campaign: tuple[Outcome, Path]) -> None:
    outcome, directory = campaign
    assert outcome.stdout.startswith("PASS: compliance, Server, ")
    answers, speed, cached = re.findall(r"^  PASS  (.*)$", outcome.stdout, re.MULTILINE)
    assert re.fullmatch(
        r"TEST01 answers  \d+ answers to \d+ samples are those of the accuracy run, byte by byte\.",
        answers,
    )
    assert "10 % either way are allowed" in speed
    assert re.match(r"TEST04 speed .* than in the performance run; it may be 10 % faster", cached)
    assert str(directory) in outcome.stdout
    assert "not official" in outcome.stdout


def test_how_long_it_takes_is_said_first(campaign: tuple[Outcome, Path]) -> None:
    first = campaign[0].stderr.splitlines()[0]
    assert first.startswith("4 runs (performance, accuracy, TEST01, TEST04) in ")
    assert "; at least 2 s, and as long as it takes to answer every sample once" in first
    assert "--official" in first


def test_runs_are_where_the_verification_scripts_look(campaign: tuple[Outcome, Path]) -> None:
    directory = campaign[1]
    order = [
        read_result(directory / name).started_at
        for name in ("performance/run_1", "accuracy", "audits/TEST01", "audits/TEST04")
    ]
    assert order == sorted(order)
    files = {str(f.relative_to(directory)) for f in directory.rglob("*") if f.is_file()}
    logs = ("mlperf_log_summary.txt", DETAIL)
    assert {f"TEST0{n}/performance/run_1/{log}" for n in (1, 4) for log in logs} <= files
    assert {
        "compliance.json",
        "audits/TEST01/audit.config",
        "audits/TEST04/audit.config",
        f"audits/TEST01/{ACCURACY_LOG}",
        f"accuracy/{ACCURACY_LOG}",
        f"TEST01/accuracy/{ACCURACY_LOG}",
        "TEST01/verify_accuracy.txt",
        "TEST01/verify_performance.txt",
        "TEST04/verify_performance.txt",
    } <= files
    for name in ("TEST01/verify_accuracy.txt", "TEST04/verify_performance.txt"):
        assert (directory / name).read_text().endswith("\nTEST PASS\n")
    journal = json.loads((directory / "compliance.json").read_text())
    assert (journal["state"], journal["passed"], journal["official"]) == ("finished", True, False)


def test_each_run_is_what_its_test_needs(campaign: tuple[Outcome, Path]) -> None:
    directory = campaign[1]
    performance, accuracy, one, four = (
        logged(directory / name)
        for name in ("performance/run_1", "accuracy", "audits/TEST01", "audits/TEST04")
    )
    assert accuracy["effective_test_mode"] == "AccuracyOnly"
    assert one["effective_accuracy_log_sampling_target"] == 64, "as 3d-unet has it"
    assert one["effective_accuracy_log_rng_seed"] == 720381539243781796
    assert four["effective_performance_issue_same"] is True
    assert four["effective_performance_issue_same_index"] == 3
    assert performance["effective_performance_issue_same"] is False
    assert not performance["effective_accuracy_log_sampling_target"]
    assert json.loads((directory / f"performance/run_1/{ACCURACY_LOG}").read_text() or "[]") == []


@pytest.mark.parametrize("scenario", ["Offline", "SingleStream", "MultiStream", "Server"])
def test_our_audit_settings_hold_in_every_scenario(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    more = {"target_qps": 500, "target_latency_ms": 100} if scenario == "Server" else {}
    for test, key in (
        ("TEST01", "effective_accuracy_log_sampling_target"),
        ("TEST04", "effective_performance_issue_same"),
    ):
        (command.directory / "audit.conf").write_text(audit_text(test, None))
        outcome = command.run(
            models("matmul"),
            scenario=scenario,
            samples=40,
            audit="audit.conf",
            output_dir=test,
            **more,
        )
        assert logged(outcome.run_dir)[key] == {"TEST01": 4096, "TEST04": True}[test]


def test_a_changed_byte_of_the_accuracy_log_fails(runs: Path) -> None:
    index = json.loads((runs / "audits/TEST01" / ACCURACY_LOG).read_text())[0]["qsl_idx"]
    log = runs / "accuracy" / ACCURACY_LOG
    line = re.compile(rf'("qsl_idx" : {index}, "data" : "[0-9A-F]+)([0-9A-F])"')
    match = line.search(log.read_text())
    assert match
    other = "0" if match[2] != "0" else "1"
    log.write_text(line.sub(rf'\g<1>{other}"', log.read_text()))
    answers, speed = checks_01(runs)
    assert speed.passed
    assert not answers.passed
    assert re.search(r"the answers to 1 of \d+ samples are not those", answers.sentence)
    assert f"sample {index}." in answers.sentence
    assert "--batch_size 1" in answers.remedy


def test_an_answer_without_a_counterpart_fails(runs: Path) -> None:
    index = json.loads((runs / "audits/TEST01" / ACCURACY_LOG).read_text())[0]["qsl_idx"]
    change(runs / "accuracy" / ACCURACY_LOG, f'"qsl_idx" : {index},', '"qsl_idx" : 999,')
    answers, _ = checks_01(runs)
    assert not answers.passed
    assert f"no answer for 1 samples that the performance run answered, such as sample {index}" in (
        answers.sentence
    )


def test_no_logged_answer_fails(runs: Path) -> None:
    (runs / "audits/TEST01" / ACCURACY_LOG).write_text("[\n]\n")
    answers, _ = checks_01(runs)
    assert not answers.passed
    assert "logged no answer" in answers.sentence


def test_a_damaged_log_is_named_with_its_line(runs: Path) -> None:
    log = runs / "accuracy" / ACCURACY_LOG
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:5], lines[5][:20]]))
    with pytest.raises(RunError, match=r"mlperf_log_accuracy.json is damaged in line 6"):
        checks_01(runs)


@pytest.mark.parametrize(
    ("factor", "one", "four"),
    [(0.85, False, True), (0.93, True, True), (1.07, True, True), (1.15, False, False)],
)
def test_speed_may_differ_by_a_tenth(factor: float, one: bool, four: bool, runs: Path) -> None:
    key = "result_completed_samples_per_sec"
    value = logged(runs / "performance/run_1")[key] * factor
    for test in ("TEST01", "TEST04"):
        change(
            runs / "audits" / test / DETAIL,
            rf'("key": "{key}", "value": )[\d.e+]+',
            rf"\g<1>{value:.2f}",
        )
    assert checks_01(runs)[1].passed is one
    found = check_04(runs)
    assert found.passed is four
    assert ("faster than in" if factor > 1 else "slower than in") in found.sentence
    assert ("higher than" if factor > 1 else "lower than") in checks_01(runs)[1].sentence


@pytest.mark.parametrize(
    ("latency_ns", "slower", "passed"),
    [(150_000, 1.15, True), (150_000, 1.25, False), (250_000, 1.15, False)],
)
def test_short_latencies_may_differ_by_more(
    latency_ns: int, slower: float, passed: bool, command: Command, tmp_path: Path
) -> None:
    run = command.fake(scenario="SingleStream", samples=100).run_dir
    again = Path(shutil.copytree(run, tmp_path / "again"))
    for directory, value in ((run, latency_ns), (again, round(latency_ns * slower))):
        change(
            directory / DETAIL,
            r'("key": "early_stopping_latency_ss", "value": )\d+',
            rf"\g<1>{value}",
        )
    (run / ACCURACY_LOG).write_text("[\n]\n")
    (again / ACCURACY_LOG).write_text("[\n]\n")
    _, speed = check_test01(run, run, again)
    assert speed.passed is passed
    assert check_test04(run, again)[0].passed, "slower is never too fast"
    assert check_test04(again, run)[0].passed is (passed and latency_ns * slower <= 200_000)


@pytest.mark.parametrize("which", ["performance/run_1", "audits/TEST01", "audits/TEST04"])
def test_an_invalid_log_fails(which: str, runs: Path) -> None:
    change(
        runs / which / DETAIL,
        r'("key": "result_validity", "value": )"VALID"',
        r'\g<1>"INVALID"',
    )
    found = {"TEST01": checks_01(runs)[1], "TEST04": check_04(runs)}
    for test, check in found.items():
        wrong = which in ("performance/run_1", f"audits/{test}")
        assert check.passed is not wrong
        assert ("is INVALID" in check.sentence) is wrong
        assert ".." not in check.sentence


def test_answers_that_change_fail_the_command(command: Command, tmp_path: Path) -> None:
    from tiny_models import write

    outcome = command(
        "compliance", write(tmp_path, "random"), distinct_samples=SAMPLES, output_dir="out", **PACED
    )
    assert outcome.code == 1
    assert outcome.stdout.startswith("FAIL: compliance")
    assert re.search(r"FAIL  TEST01 answers  the answers to \d+ of \d+ samples", outcome.stdout)
    text = (command.directory / "out/TEST01/verify_accuracy.txt").read_text()
    assert text.endswith("\nTEST FAIL\n")


def test_an_invalid_performance_run_ends_it(
    command: Command, models: Callable[[str], Path]
) -> None:
    flags = {**PACED, "target_latency_ms": 0.001, "output_dir": "out"}
    for _ in range(2):  # the second time it goes on, and ends alike
        outcome = command("compliance", models("matmul"), **flags)
        assert outcome.code == 1
        assert "the performance run is no measure for the others. INVALID: Server" in outcome.stderr
        assert not (command.directory / "out/accuracy").exists()


def test_it_goes_on_where_it_was(
    campaign: tuple[Outcome, Path], models: Callable[[str], Path]
) -> None:
    directory = campaign[1].parent
    again = Path(shutil.copytree(campaign[1], directory / "again"))
    journal = json.loads((again / "compliance.json").read_text())
    journal |= {"state": "unfinished", "runs": journal["runs"][:3]}
    (again / "compliance.json").write_text(json.dumps(journal))
    shutil.rmtree(again / "audits/TEST04")
    before = (again / "audits/TEST01/result.json").stat().st_mtime_ns
    outcome = make(directory, models("matmul"), output_dir="again", json=True)
    assert outcome.code == 0, outcome.stderr
    assert "3 of them done; at least 0 s; a look only" in outcome.stderr
    assert (again / "audits/TEST01/result.json").stat().st_mtime_ns == before
    assert json.loads(outcome.stdout)["passed"] is True


def test_ctrl_c_leaves_word_of_how_to_go_on(
    command: Command, models: Callable[[str], Path]
) -> None:
    flags = {**PACED, "loadgen_duration_sec": 60, "output_dir": "out"}
    running = command.start("compliance", models("matmul"), **flags)
    running.run_dir = command.directory / "out/performance/run_1"
    try:
        running.wait_for(Phase.TESTING, answered=5)
        running.process.send_signal(signal.SIGINT)
        outcome = running.finish()
        assert outcome.code == 130
        assert "interrupted; 0 finished run(s) are in" in outcome.stderr
        assert "run the same command again" in outcome.stderr
        assert not running.orphans(within_sec=10)
    finally:
        command.stop(running)
    assert json.loads((command.directory / "out/compliance.json").read_text())["runs"] == []


def test_too_few_samples_for_test04_are_told_of(
    command: Command, models: Callable[[str], Path]
) -> None:
    flags = {**PACED, "distinct_samples": 3, "output_dir": "out"}
    outcome = command("compliance", models("matmul"), **flags)
    assert outcome.code == 2
    assert "TEST04 repeats the sample number 4, and there are only 3." in outcome.stderr
    assert not (command.directory / "out/accuracy").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"audits": "nowhere"}, "--audits nowhere: there is no folder TEST01 in it"),
        ({"config": "mode.json"}, "--mode accuracy: it has no place in a compliance campaign"),
        ({"audit": "x"}, "--audit: there is no such option. Did you mean --audits?"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    flags: dict[str, object], message: str, command: Command, models: Callable[[str], Path]
) -> None:
    (command.directory / "mode.json").write_text('{"mode": "accuracy"}')
    outcome = command("compliance", models("matmul"), output_dir="out", **flags)
    assert outcome.code == 2
    assert message in outcome.stderr
    assert not (command.directory / "out").exists()


def test_audit_settings_of_a_checkout(tmp_path: Path) -> None:
    for name in ("TEST01/resnet50", "TEST01/gpt-j", "TEST04"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "audit.config").write_text("*.*.mode = 2\n")
    assert find_audit(tmp_path, "TEST04", None) == tmp_path / "TEST04/audit.config"
    assert find_audit(tmp_path, "TEST01", "gptj") == tmp_path / "TEST01/gpt-j/audit.config"
    with pytest.raises(RequestError, match=r"none for bert\. Name one .*gpt-j, resnet50"):
        find_audit(tmp_path, "TEST01", "bert")
    with pytest.raises(RequestError, match=r"no common one\. Name one with --mlperf_model"):
        find_audit(tmp_path, "TEST01", None)


@pytest.mark.skipif(
    CHECKOUT is None, reason="LOADGEN_GENERIC_INFERENCE_DIR names no mlcommons/inference checkout"
)
@pytest.mark.parametrize("test", ["TEST01", "TEST04"])
def test_the_official_script_agrees(test: str, runs: Path, tmp_path: Path) -> None:
    script = Path(str(CHECKOUT)) / "compliance" / test / "run_verification.py"
    done = subprocess.run(
        [sys.executable, script, "-r", runs, "-c", runs / "audits" / test, "-o", tmp_path / "o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "check pass: True" in done.stdout
    assert "check pass: False" not in done.stdout


@pytest.mark.skipif(
    CHECKOUT is None, reason="LOADGEN_GENERIC_INFERENCE_DIR names no mlcommons/inference checkout"
)
@pytest.mark.parametrize("test", ["TEST01", "TEST04"])
def test_our_audit_settings_are_the_official_ones(test: str) -> None:
    file = find_audit(Path(str(CHECKOUT)) / "compliance", test, "resnet50")
    lines = {line.strip() for line in file.read_text().splitlines() if line.startswith("*.")}
    assert lines == set(audit_text(test, "resnet50").splitlines())


def test_the_model_of_the_recorded_campaign_can_be_built_again(tmp_path: Path) -> None:
    """What docs/compliance tells of was measured with it."""
    tool = Path(__file__).resolve().parents[1] / "tools" / "small_classifier.py"
    subprocess.run([sys.executable, tool, tmp_path, "--samples", "500"], check=True)
    session = ort.InferenceSession(tmp_path / "small-cnn.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": np.load(tmp_path / "data/image.npy")})
    right = scores.argmax(axis=1) == np.load(tmp_path / "data/labels.npy")
    assert 0.6 < right.mean() < 0.75
