"""Ways to an INVALID result or a failed run, each produced by LoadGen itself, by the real command:
what the user reads, and that following it helps. Answers that are wrong: ``test_answers.py``;
Ctrl-C: ``test_interrupt.py``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from command import Command, Outcome
from few import few

from loadgen_generic.results.glossary import GLOSSARY, explain

Flags = Mapping[str, object]

SINGLE: Flags = {"scenario": "SingleStream"}
MULTI: Flags = {"scenario": "MultiStream"}
FOUR_TENTHS: Flags = {"loadgen_duration_sec": 0.4}
# Workers enough that sleep, and a wide bound: nobody waits for anybody on a busy machine either.
CALM: Flags = {
    "scenario": "Server",
    "target_qps": 200,
    "target_latency_ms": 300,
    "concurrency": 16,
    "batch_size": 1,
    "loadgen_duration_sec": 0.3,
}
# One worker with 100 inferences a second at most, and three times as many queries.
OVERLOADED: Flags = {
    "scenario": "Server",
    "target_qps": 300,
    "concurrency": 1,
    "batch_size": 1,
    "runner": "threadpool",
    "min_query_count": 80,
    "loadgen_duration_sec": 0.3,
}


@dataclass(frozen=True)
class Way:
    """A run that is INVALID.

    Attributes:
        behaviour: settings of the fake backend.
        reasons: patterns of the sentences, each for the whole of one.
        change: flags that the command to try next must have, as it writes them.
        gone: flags that it must not have.
        glossary: terms that must be explained.
    """

    behaviour: str
    flags: Flags
    reasons: tuple[str, ...]
    change: Mapping[str, str]
    gone: tuple[str, ...] = ()
    glossary: tuple[str, ...] = ()


def _short(expected: int) -> str:
    return (
        r"the test took 0\.\d+ s and a valid one takes at least 0\.4 s, since "
        rf"{expected} samples/s were expected and [\d.]+ were reached"
    )


_STOPPED = r"since it was stopped after \d+ queries \(--max_query_count(?: or --samples)?\)"
NUMBER = r"[\d.]+"

WAYS: dict[str, Way] = {
    "Offline, less expected than reached": Way(
        "latency_us=1000",
        {"loadgen_expected_qps": 20, "concurrency": 1, **FOUR_TENTHS},
        (_short(20),),
        {"loadgen_expected_qps": NUMBER},
        glossary=("minimum duration", "expected QPS"),
    ),
    "SingleStream, less expected than reached": Way(
        "latency_us=1000",
        {**SINGLE, "loadgen_expected_qps": 100, **FOUR_TENTHS},
        (_short(100),),
        {"loadgen_expected_qps": NUMBER},
    ),
    "MultiStream, less expected than reached": Way(
        "latency_us=1000",
        {
            **MULTI,
            "loadgen_expected_qps": 800,
            "samples_per_query": 8,
            "target_latency_percentile": 90,
            **FOUR_TENTHS,
        },
        (_short(800),),
        {"loadgen_expected_qps": NUMBER},
    ),
    "SingleStream, stopped before the duration": Way(
        "latency_us=1000",
        {**SINGLE, "max_query_count": 100, "loadgen_expected_qps": 800, **FOUR_TENTHS},
        (rf"the test took 0\.\d+ s and a valid one takes at least 0\.4 s, {_STOPPED}",),
        {"loadgen_duration_sec": r"0\.4"},
        gone=("max_query_count",),
        glossary=("maximum query count",),
    ),
    "SingleStream, stopped before the count": Way(
        "",
        {**SINGLE, "max_query_count": 100, "samples": 200},
        (rf"100 queries were run and 200 are the fewest allowed, {_STOPPED}",),
        {"min_query_count": "200"},
        gone=("max_query_count",),
        glossary=("minimum query count",),
    ),
    "Server, stopped before the duration": Way(
        "latency_us=1000",
        {**CALM, "target_latency_percentile": 80, "max_query_count": 30},
        (rf"the test took 0\.\d+ s and a valid one takes at least 0\.3 s, {_STOPPED}",),
        {"loadgen_duration_sec": r"0\.3"},
        gone=("max_query_count",),
    ),
    "SingleStream, too few for the 90th percentile": Way(
        "",
        {**SINGLE, "samples": 10},
        (r"10 queries are too few to be sure of the 90th percentile, which takes 64",),
        {"min_query_count": "77"},
        gone=("samples",),
        glossary=("early stopping", "percentile", "query"),
    ),
    "SingleStream, too few for the 99th percentile": Way(
        "",
        {**SINGLE, "samples": 65, "target_latency_percentile": 99},
        (r"65 queries are too few to be sure of the 99th percentile, which takes 662",),
        {"min_query_count": "795", "target_latency_percentile": "99"},
        gone=("samples",),
    ),
    "SingleStream, too few for the 99.9th percentile": Way(
        "",
        {**SINGLE, "samples": 700, "target_latency_percentile": 99.9},
        (r"700 queries are too few to be sure of the 99\.9th percentile, which takes 6636",),
        {"min_query_count": "7964"},
        gone=("samples",),
    ),
    "MultiStream, too few": Way(
        "",
        {**MULTI, "samples": 400},
        (r"50 queries are too few to be sure of the 99th percentile, which takes 662",),
        {"min_query_count": "795"},
        gone=("samples",),
    ),
    "MultiStream, stopped where none can be sure": Way(
        "",
        {**MULTI, "max_query_count": 100, "loadgen_duration_sec": 0},
        (r"100 queries are too few to be sure of the 99th percentile, which takes 662",),
        {"min_query_count": "795"},
        gone=("max_query_count",),
    ),
    "Server, too few": Way(
        "latency_us=1000",
        {**CALM, "min_query_count": 100, "target_latency_percentile": 97},
        (
            (
                r"100 queries are too few to be sure of the 97th percentile; with 0 over the bound "
                r"it takes 152"
            ),
        ),
        {"min_query_count": "183"},
        glossary=("early stopping", "latency bound"),
    ),
    "Server, nearly as many over the bound as are allowed": Way(
        "latency_us=20000,slow_us=600000,slow_every=55",
        {**CALM, "min_query_count": 300, "target_latency_percentile": 98},
        (
            (
                r"300 queries are too few to be sure of the 98th percentile; with \d over the bound "
                r"it takes \d+, and as many more would be over it in a longer test"
            ),
        ),
        {"target_latency_ms": NUMBER, "target_qps": "200"},
    ),
    "Server, stopped where it is enough": Way(
        "latency_us=1000",
        {**CALM, "min_query_count": 100, "max_query_count": 100, "target_latency_percentile": 80},
        (
            (
                r"it was stopped after 100 queries \(--max_query_count\), which LoadGen "
                r"logs as an error in Server"
            ),
        ),
        {"min_query_count": "100"},
        gone=("max_query_count",),
    ),
    "Server, overloaded": Way(
        "latency_us=10000",
        {**OVERLOADED, "target_latency_ms": 100, "target_latency_percentile": 80},
        (
            (
                r"\d+ of 8\d queries took longer than 100 ms, more than 20 %; they came at [\d.]+ "
                r"queries/s and were answered at [\d.]+ queries/s"
            ),
        ),
        {"target_qps": NUMBER, "target_latency_ms": "100"},
        glossary=("latency bound", "target QPS"),
    ),
    "Server, a bound below the fastest": Way(
        "latency_us=4000",
        {**CALM, "target_latency_ms": 2, "target_latency_percentile": 80},
        (
            (
                r"(\d+) of \1 queries took longer than 2 ms, more than 20 %; even the fastest took "
                r"[\d.]+ ms, so no rate can meet it"
            ),
        ),
        {"target_latency_ms": NUMBER, "target_qps": "200"},
    ),
    "Server, slow at times without a queue": Way(
        "latency_us=20000,slow_us=600000,slow_every=20",
        {**CALM, "min_query_count": 200, "target_latency_percentile": 98},
        (
            (
                r"\d+ of 200 queries took longer than 300 ms, more than 2 %; nine in ten took at most "
                r"[\d.]+ ms and did not wait, so these are slow by themselves and no rate can meet it"
            ),
        ),
        {"target_latency_ms": NUMBER, "target_qps": "200"},
    ),
    "Server, target not reached within a wide bound": Way(
        "latency_us=10000",
        {**OVERLOADED, "target_latency_ms": 60000, "target_latency_percentile": 80},
        (
            (
                r"the target was not reached: queries came at [\d.]+ queries/s and were answered at "
                r"[\d.]+ queries/s, so that the queue grew until the test ended"
            ),
        ),
        {"target_qps": NUMBER, "target_latency_ms": "60000"},
        glossary=("target QPS",),
    ),
}


@pytest.mark.parametrize("name", few(WAYS, 3))
def test_invalid_says_why_and_following_it_leads_to_valid(name: str, command: Command) -> None:
    way = WAYS[name]
    outcome = command.fake(way.behaviour, warmup_queries=0, seed=3, strict=True, **way.flags)
    assert outcome.code == 3, outcome
    result = outcome.result
    assert result.valid is False
    assert len(result.invalid_reasons) == len(way.reasons), result.invalid_reasons
    for pattern, reason in zip(way.reasons, result.invalid_reasons, strict=True):
        assert re.fullmatch(pattern, reason), result.invalid_reasons
        assert reason in result.verdict
    assert result.verdict.startswith(f"INVALID: {result.scenario} ")
    assert result.verdict in outcome.stdout
    for term in way.glossary:
        assert f"{term}: {GLOSSARY[term][1]}" in outcome.stdout

    assert f"try next:  {result.next_command}\n" in outcome.stdout
    words = shlex.split(result.next_command)
    given = dict(zip(words[2::2], words[3::2], strict=True))
    for flag, value in way.change.items():
        assert re.fullmatch(value, given[f"--{flag}"]), result.next_command
    assert not {f"--{flag}" for flag in way.gone} & set(given)

    followed = _follow(command, outcome)
    for _ in range(2):  # a machine that was busy just then may miss once more
        if followed.result.valid:
            break
        followed = _follow(command, followed)
    assert followed.result.valid, (result.next_command, followed.result.verdict)
    assert followed.result.next_command == ""
    assert "in other words" not in followed.stdout


def _follow(command: Command, outcome: Outcome) -> Outcome:
    """Run what the result says to try next, as a person would paste it."""
    program, *words = shlex.split(outcome.result.next_command)
    assert program == "loadgen-generic"
    # A run sized by samples alone has no duration; ten seconds are too long for a test.
    sized = "--loadgen_duration_sec" in words or "--samples" in words
    before = set(outcome.run_dir.parent.rglob("result.json"))
    extra = {} if sized else {"loadgen_duration_sec": 0.3}
    followed = command(*words, output_dir="out", **extra)
    assert followed.code == 0, followed.stderr
    (new,) = set(outcome.run_dir.parent.rglob("result.json")) - before
    return Outcome(followed.code, followed.stdout, followed.stderr, new.parent)


@dataclass(frozen=True)
class Failure:
    """A run that has no result.

    Attributes:
        code: exit code.
        sentence: a pattern that the message must hold.
        remedy: what it must name for the user to do or look at.
        model: the tiny model that is run; the fake backend where empty.
        shell: what a shell does first.
        kept: whether it got far enough for a directory with ``error.json``.
    """

    code: int
    sentence: str
    remedy: str
    flags: Flags
    model: str = ""
    shell: str = ""
    kept: bool = True


def _fake(behaviour: str, **flags: object) -> Flags:
    started = {"backend": "fake", "backend_options": behaviour, "warmup_queries": 0}
    return {**started, "samples": 80, "batch_size": 1, "concurrency": 1, **flags}


FAILURES: dict[str, Failure] = {
    "raises while loading": Failure(
        1, "could not load", "--backend_options", _fake("fail_on_load=1")
    ),
    "raises in the middle": Failure(
        1, "the fake backend failed", "--backend_options", _fake("fail_at=40")
    ),
    "killed": Failure(
        1, r"the system killed the measured process \(SIGKILL\)", "--batch_size", _fake("die_at=40")
    ),
    "hangs": Failure(
        1,
        r"the run hung: nothing happened for 4 s while testing, after \d+ samples",
        "--stall_timeout_sec",
        _fake("hang_at=40", stall_timeout_sec=4),
    ),
    "never completes a sample of Server": Failure(
        1,
        "the run hung",
        "--stall_timeout_sec",
        _fake(
            "hang_at=40",
            stall_timeout_sec=4,
            scenario="Server",
            target_qps=1000,
            target_latency_ms=9,
        ),
    ),
    "hangs while warming up": Failure(
        1,
        "while warming up",
        "--stall_timeout_sec",
        _fake("hang_at=1", warmup_queries=3, stall_timeout_sec=4),
    ),
    "no room for the run's files": Failure(
        1, "cannot write in .*: File too large", "--output_dir", _fake(""), shell="ulimit -f 8"
    ),
    "no room for LoadGen's log": Failure(
        1,
        "mlperf_log_detail.txt is damaged",
        "--output_dir",
        _fake("", samples=20, distinct_samples=300000),
        shell="ulimit -f 2048",
    ),
    "no output directory": Failure(
        2, "--output_dir /proc/out", "Choose a directory", _fake("", output_dir="/proc/out"), "", ""
    ),
    "more queries than LoadGen can prepare": Failure(
        2,
        r"LoadGen would have to prepare 2e\+10 queries",
        "--loadgen_expected_qps",
        _fake("", scenario="SingleStream", samples=None, loadgen_expected_qps=1e9),
    ),
    "a contradiction": Failure(
        2,
        "--min_query_count 9 is more than --max_query_count 3",
        "--max_query_count",
        _fake("", min_query_count=9, max_query_count=3),
        kept=False,
    ),
    "no such model": Failure(
        2, "there is no such file", "Give the path", {"model_path": "no.onnx"}, kept=False
    ),
    "not a model": Failure(2, "not an ONNX model", "Check that", {}, "not_onnx"),
    "half a model": Failure(2, "only a part", "Check that", {}, "truncated"),
    "an unknown operator": Failure(1, "Transmogrify", "Update onnxruntime", {}, "unknown_operator"),
    "a provider that is not there": Failure(
        1, "--ep cuda", "make venv EP=cuda", {"execution_provider": "cuda"}, "matmul"
    ),
    "data that are damaged": Failure(
        2, "damaged.npy", "--dataset", {"dataset": "damaged.npy"}, "matmul"
    ),
    "data of another shape": Failure(
        2, r"wide.npy|\b5\b", "--dataset", {"dataset": "wide.npy"}, "matmul"
    ),
    "out of memory": Failure(
        1, "out of memory", "", {"samples": 5}, "hungry", shell=f"ulimit -v {6 << 20}"
    ),
}


@pytest.mark.parametrize("name", few(FAILURES, 2))
def test_failure_says_what_happened_and_what_to_do(
    name: str, command: Command, models: Callable[[str], Path]
) -> None:
    failure = FAILURES[name]
    np.save(command.directory / "wide.npy", np.ones((5, 5), np.float32))
    whole = (command.directory / "wide.npy").read_bytes()
    (command.directory / "damaged.npy").write_bytes(whole[: len(whole) // 2])
    words = [models(failure.model)] if failure.model else []
    outcome = replace(command, shell=failure.shell)("run", *words, **failure.flags)
    assert outcome.code == failure.code, outcome
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    message = outcome.stderr.partition("loadgen-generic: error: ")[2]
    assert re.search(failure.sentence, message), message
    assert failure.remedy in message
    assert not (outcome.run_dir / "result.json").exists()
    if failure.kept and outcome.run_dir.is_dir():
        assert outcome.error == {"exit_code": failure.code, "error": message.strip()}


def test_trace_that_was_cut_makes_it_invalid(command: Command) -> None:
    flags: Flags = {"samples": 20000, "distinct_samples": 10, "trace": True}
    outcome = replace(command, shell="ulimit -f 2048").fake("", **flags)
    result = outcome.result
    assert result.valid is False
    assert result.statistics is not None
    assert (result.statistics.agree, result.statistics.checked) == (False, 0)
    assert re.fullmatch(
        r"LoadGen's figures cannot be checked, since its trace holds \d+ of 20000 samples; if the "
        r"disk is full, make room or choose another --output_dir",
        *result.invalid_reasons,
    )
    assert "checked:   not, see above" in outcome.stdout


def test_enough_ways() -> None:
    assert len(WAYS) + len(FAILURES) >= 20
    assert len(WAYS) >= 8


def test_far_too_much_expected_is_valid_and_said(command: Command) -> None:
    flags: Flags = {"loadgen_duration_sec": 0.2, "loadgen_expected_qps": 2000, "concurrency": 1}
    result = command.fake("per_sample_us=4000", **flags).result
    assert result.valid
    found = re.search(
        r"It took [\d.]+ s where 0\.2 s are enough, since 2000 samples/s were expected; "
        r"--loadgen_expected_qps ([\d.]+) is nearer\.$",
        result.verdict,
    )
    assert found
    flags = {**flags, "loadgen_expected_qps": found[1]}
    again = command.fake("per_sample_us=4000", output_dir="again", **flags).result
    assert again.duration_s < 0.6 < result.duration_s
    assert "are enough" not in again.verdict


def test_glossary_explains_what_is_used() -> None:
    assert explain("VALID: Offline 5 samples/s at the 90th percentile.") == {}
    assert set(explain("INVALID: over the bound")) == {"INVALID", "latency bound"}
    for term, (_, text) in GLOSSARY.items():
        assert "\n" not in text
        assert text[-1] != ".", term
