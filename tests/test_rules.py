"""LoadGen's settings in real runs: whose word counts, what is official, what an audit changes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from command import Command, Outcome, fake, logged

from loadgen_generic.config import SCENARIOS
from loadgen_generic.progress import Phase

OFFICIAL_SEEDS = {
    "qsl_rng_seed": 2085463073848966840,
    "sample_index_rng_seed": 2747215439041700203,
    "schedule_rng_seed": 16159082839903944936,
}
QUICK_SERVER = {"scenario": "Server", "target_qps": 2000, "loadgen_duration_sec": 0.2}


def conf(command: Command, *lines: str, name: str = "my.conf") -> str:
    (command.directory / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def refused(outcome: Outcome) -> str:
    assert outcome.code == 2, outcome.stderr
    return outcome.stderr


def listed(outcome: Outcome) -> dict[str, tuple[Any, Any]]:
    return {each.key: (each.requested, each.effective) for each in outcome.result.settings}


def test_a_misspelt_key_names_the_line_and_the_nearest(command: Command) -> None:
    path = conf(command, "# mine", "*.*.min_duraton = 500")
    message = refused(command.fake(user_conf=path, samples=5))
    assert "--user_conf my.conf: line 2: there is no key min_duraton" in message
    assert "did you mean min_duration (in ms)?" in message
    assert not (command.directory / "out").exists(), "nothing was started"


def test_user_conf_sizes_the_test(command: Command) -> None:
    path = conf(
        command,
        "*.Offline.min_duration = 200",
        "*.Offline.target_qps = 3000",
        "bert.Offline.target_qps = 7",
    )
    outcome = command.fake(user_conf=path)
    log = logged(outcome.run_dir)
    assert log["effective_min_duration_ms"] == 200
    assert log["effective_target_qps"] == 3000
    assert outcome.result.samples_completed == 660
    assert "660 samples = 1.1 x 0.2 s x 3000 samples/s" in outcome.stderr
    assert "the lines for bert have no effect" in outcome.stderr
    assert outcome.effective["user_conf"] == "my.conf"


@pytest.mark.parametrize(
    ("scenario", "lines", "logs"),
    [
        (
            "SingleStream",
            ["*.SingleStream.target_latency = 0.5", "*.*.target_latency_percentile = 95"],
            {
                "single_stream_expected_latency_ns": 500_000,
                "single_stream_target_latency_percentile": 0.95,
            },
        ),
        (
            "MultiStream",
            ["*.MultiStream.target_latency = 2", "*.MultiStream.samples_per_query = 4"],
            {
                "multi_stream_expected_latency_ns": 2_000_000,
                "multi_stream_samples_per_query": 4,
            },
        ),
        (
            "Server",
            [
                "*.Server.target_latency = 40",
                "*.Server.target_qps = 1500",
                "*.Server.coalesce_queries = 0",
                "*.Server.max_async_queries = 900",
            ],
            {
                "server_target_latency_ns": 40_000_000,
                "server_target_qps": 1500,
                "server_coalesce_queries": False,
                "server_max_async_queries": 900,
            },
        ),
    ],
)
def test_user_conf_reaches_loadgen(
    scenario: str, lines: list[str], logs: Mapping[str, object], command: Command
) -> None:
    path = conf(command, *lines, "*.*.min_duration = 0", "*.*.min_query_count = 30")
    outcome = command.fake(user_conf=path, scenario=scenario)
    log = logged(outcome.run_dir)
    assert log["requested_min_query_count"] == 30
    assert {key: log[f"requested_{key}"] for key in logs} == logs
    assert log["result_query_count"] >= 30


def test_a_flag_wins_over_user_conf_and_says_so(command: Command) -> None:
    path = conf(command, "*.Server.target_latency = 40", "*.Server.min_query_count = 50")
    outcome = command.fake(user_conf=path, target_latency_ms=30, **QUICK_SERVER)
    assert logged(outcome.run_dir)["effective_target_latency_ns"] == 30_000_000
    note = "--target_latency_ms 30 wins over *.Server.target_latency = 40 (line 1 of my.conf)"
    assert note in outcome.stderr
    assert note in outcome.result.notes
    assert logged(outcome.run_dir)["effective_min_query_count"] == 50


def test_a_models_settings_are_loadgens(command: Command) -> None:
    outcome = command.fake(mlperf_model="resnet50", distinct_samples=2000, **QUICK_SERVER)
    log = logged(outcome.run_dir)
    assert log["effective_target_latency_ns"] == 15_000_000
    assert log["effective_performance_sample_count"] == 1024
    assert {key: log[f"effective_{key}"] for key in OFFICIAL_SEEDS} == OFFICIAL_SEEDS
    assert outcome.effective["loadgen_seeds"] == list(OFFICIAL_SEEDS.values())
    assert "--loadgen_duration_sec 0.2 wins over LoadGen's mlperf.conf" in outcome.stderr
    assert outcome.effective["target_latency_ms"] == 15


def test_user_conf_wins_over_the_models_settings(command: Command) -> None:
    path = conf(command, "*.Server.target_latency = 99", "resnet50.Server.target_latency = 40")
    outcome = command.fake(user_conf=path, mlperf_model="resnet50", **QUICK_SERVER)
    log = logged(outcome.run_dir)
    assert log["effective_target_latency_ns"] == 40_000_000
    assert log["effective_qsl_rng_seed"] == OFFICIAL_SEEDS["qsl_rng_seed"]
    assert not log.get("error_invalid_config")


def test_too_few_samples_for_the_model_are_told_of(command: Command) -> None:
    outcome = command.fake(mlperf_model="resnet50", distinct_samples=50, samples=60)
    assert logged(outcome.run_dir)["effective_performance_sample_count"] == 50
    assert "--distinct_samples 1024 would make it as many" in outcome.stderr
    refusal = refused(command.fake(official=True, mlperf_model="resnet50", distinct_samples=50))
    assert "Give --distinct_samples 1024 or more" in refusal


def test_names_that_loadgen_does_not_know(command: Command) -> None:
    assert "Did you mean resnet50?" in refused(command.fake(mlperf_model="resnet"))
    assert "tokens" in refused(command.fake(mlperf_model="llama2-70b"))
    assert "no such file" in refused(command.fake(user_conf="nowhere.conf"))
    assert "no such file" in refused(command.fake(audit="nowhere.config"))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"loadgen_duration_sec": 60}, "--loadgen_duration_sec 60.0: .*at least 600 s"),
        ({"samples": 30000}, "--samples 30000: .*at least 600 s"),
        ({"min_query_count": 100}, "--min_query_count 100: .*at least 24576 samples"),
        ({"max_query_count": 10**6}, "nothing may cut a test short"),
        (
            {"scenario": "SingleStream", "target_latency_percentile": 50},
            "--target_latency_percentile 50.0: .*percentile is 90",
        ),
        ({"scenario": "MultiStream", "samples_per_query": 2}, "a query has 8 samples"),
        (
            {"scenario": "Server", "mlperf_model": "resnet50", "target_latency_ms": 20},
            "resnet50 has to answer within 15 ms",
        ),
        ({"user_conf": "*.*.min_duration = 60000"}, "--user_conf my.conf: line 1: .*600 s"),
        ({"user_conf": "*.*.max_duration = 700000"}, "line 1: .*is not official"),
        ({"user_conf": "*.*.performance_issue_same = 1"}, "line 1: .*is not official"),
        (
            {"scenario": "MultiStream", "user_conf": "*.*.min_query_count = 100"},
            "line 1: .*at least 662 queries",
        ),
    ],
)
def test_what_is_not_official(flags: dict[str, Any], complaint: str, command: Command) -> None:
    if "user_conf" in flags:
        flags = {**flags, "user_conf": conf(command, flags["user_conf"])}
    message = refused(command.fake(official=True, **flags))
    assert re.search(complaint, message), message


def test_an_official_test_says_how_long_it_takes_before_it_starts(command: Command) -> None:
    flags = {"official": True, "scenario": "Server", "target_qps": 100}
    running = command.start("run", **fake(), **flags)
    try:
        running.wait_for(Phase.TESTING, answered=1)
        running.process.send_signal(signal.SIGINT)
        outcome = running.finish()
    finally:
        command.stop(running)
    assert outcome.code == 130
    told, _, after = outcome.stderr.partition("LoadGen test started")
    assert after
    assert "--official: the test takes about 10 min" in told
    log = logged_so_far(outcome)
    assert log["effective_min_duration_ms"] == 600_000
    assert log["effective_qsl_rng_seed"] == OFFICIAL_SEEDS["qsl_rng_seed"]


def logged_so_far(outcome: Outcome) -> dict[str, Any]:
    """The settings at the head of a log whose end may be cut."""
    lines = (outcome.run_dir / "mlperf_log_detail.txt").read_text("utf-8").splitlines()[:-1]
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    return {entry["key"]: entry["value"] for entry in entries}


PLAN = """
import json, sys
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.loadgen import conf_values
from loadgen_generic.seams import Estimate
from loadgen_generic.settings import needs_probe, plan_settings, with_conf
found = {}
for scenario in json.load(sys.stdin):
    for model in (None, "resnet50", "3d-unet"):
        asked = BenchmarkConfig(scenario=scenario, official=True, mlperf_model=model)
        conf = conf_values(asked)
        config, _ = with_conf(asked, conf)
        plan = plan_settings(config, Estimate(10.0, 0.5), 5000, conf, 5000)
        found[f"{scenario} {model}"] = [
            plan.min_duration_ms, plan.min_query_count, plan.percentile, plan.target_latency_ms,
            plan.notes[-1],
        ]
print(json.dumps(found))
"""


def test_official_plans() -> None:
    """The rules' durations, counts and bounds, from LoadGen's own file."""
    child = subprocess.run(
        [sys.executable, "-c", PLAN],
        input=json.dumps(SCENARIOS),
        capture_output=True,
        text=True,
        check=True,
    )
    told = "--official: the test takes {}, starting now"
    assert json.loads(child.stdout) == {
        # An estimate of 10 samples/s: 24,576 of them are 41 minutes.
        "Offline None": [600_000, 24576, 99, 0, told.format("about 41 min")],
        "Offline resnet50": [600_000, 24576, 99, 0, told.format("about 41 min")],
        "Offline 3d-unet": [600_000, 43, 99, 0, told.format("about 11 min")],
        **{
            f"SingleStream {model}": [600_000, 100, 90, 0, told.format("about 10 min")]
            for model in (None, "resnet50", "3d-unet")
        },
        # Queries of half a second.
        **{
            f"MultiStream {model}": [600_000, 662, 99, 0, told.format("about 10 min")]
            for model in (None, "resnet50", "3d-unet")
        },
        **{
            f"Server {model}": [600_000, 662, 99, bound, told.format("about 10 min")]
            for model, bound in ((None, 10), ("resnet50", 15), ("3d-unet", 10))
        },
    }


def test_official_accuracy_has_the_official_seeds(command: Command) -> None:
    outcome = command.fake(official=True, mode="accuracy", distinct_samples=20)
    log = logged(outcome.run_dir)
    assert {key: log[f"effective_{key}"] for key in OFFICIAL_SEEDS} == OFFICIAL_SEEDS
    assert outcome.result.samples_completed == 20


def test_audit_goes_to_loadgen(command: Command) -> None:
    path = conf(
        command,
        "*.Offline.mode = 2",
        "*.Offline.performance_issue_same = 1",
        "*.Offline.performance_issue_same_index = 3",
        "stable-diffusion-xl.Offline.min_query_count = 500",
        name="mine.config",
    )
    outcome = command.fake(audit=path, samples=50)
    log = logged(outcome.run_dir)
    assert log["effective_performance_issue_same"] is True
    assert log["effective_performance_issue_same_index"] == 3
    assert log["effective_min_sample_count"] == 50
    assert outcome.effective["audit"] == "mine.config"
    assert "performance_issue_same = 1" in outcome.stderr
    assert "the lines for stable-diffusion-xl have no effect" in outcome.stderr
    assert "leave out --mode or --audit" in refused(command.fake(audit=path, mode="accuracy"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_audit_logs_the_answers_of_an_accuracy_run(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    """What TEST01 of MLPerf compares: answers under load with those of an accuracy run."""
    path = conf(
        command,
        "*.*.mode = 2",
        "*.*.accuracy_log_rng_seed = 7",
        "*.*.accuracy_log_sampling_target = 12",
    )
    flags = {"scenario": scenario, "distinct_samples": 16, "verify": "reference"}
    rate = {"target_qps": 1000, "target_latency_ms": 50} if scenario == "Server" else {}
    audited = command.run(models("matmul"), audit=path, samples=160, **flags, **rate)
    accurate = command.run(models("matmul"), mode="accuracy", output_dir="all", **flags, **rate)
    right = {entry["qsl_idx"]: entry["data"] for entry in answers(accurate)}
    assert len(right) == 16
    assert len(set(right.values())) == 16
    assert answers(audited)
    assert all(entry["data"] == right[entry["qsl_idx"]] for entry in answers(audited))
    assert audited.result.verification is not None


def answers(outcome: Outcome) -> list[dict[str, Any]]:
    file = outcome.run_dir / "mlperf_log_accuracy.json"
    entries: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))
    return entries


def test_a_stray_audit_config_has_no_effect(command: Command) -> None:
    conf(command, "*.*.performance_issue_same = 1", "*.*.mode = 1", name="audit.config")
    outcome = command.fake(samples=50)
    log = logged(outcome.run_dir)
    assert log["effective_performance_issue_same"] is False
    assert log["effective_test_mode"] == "PerformanceOnly"
    assert outcome.effective["audit"] is None
    (command.directory / "audit.config").unlink()
    other = command.fake(samples=50, output_dir="without")
    assert listed(outcome) == listed(other)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_result_lists_every_setting_that_loadgen_logged(
    scenario: str, command: Command
) -> None:
    rate = {"target_qps": 1000, "target_latency_ms": 50} if scenario == "Server" else {}
    outcome = command.fake(scenario=scenario, samples=40, **rate)
    log, settings = logged(outcome.run_dir), listed(outcome)
    prefix = {"SingleStream": "single_stream_", "MultiStream": "multi_stream_"}.get(
        scenario, scenario.lower() + "_"
    )
    renamed = {
        "expected_qps": "target_qps",
        "performance_sample_count_override": "performance_sample_count",
        "accuracy_sample_count_override": "accuracy_sample_count",
    }
    for key, value in log.items():
        side, _, name = key.partition("_")
        if side == "requested":
            name = name.removeprefix(prefix)
            assert settings[renamed.get(name, name)][0] == value
        elif side == "effective":
            assert settings[name][1] == value
    assert not [note for note in outcome.result.notes if "was requested" in note]
