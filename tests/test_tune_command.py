"""``tune`` with real runs: what is refused, what is left on the disk, and how it survives its end."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, Running, fake
from fragile_models import fragile_mlp

pytestmark = pytest.mark.slow

SHORT: dict[str, object] = {
    **fake("latency_us=2000"),
    "mode": "tune",
    "loadgen_duration_sec": 0.5,
    "budget": "25s",
}


def journal_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "tune.json").read_text("utf-8"))
    return content


def test_an_int8_that_breaks_the_model_is_refused_with_its_error(
    command: Command, tmp_path: Path
) -> None:
    model = tmp_path / "a fragile model.onnx"
    model.write_bytes(fragile_mlp())
    outcome = command(
        "tune",
        model,
        allow="int8",
        budget="20s",
        loadgen_duration_sec=1,
        ep="cpu",
        json=True,
        output_dir="tuned",
    )
    assert outcome.code == 0, outcome.stderr
    answer = json.loads(outcome.stdout)["answer"]
    refused = {e["family"]: e for e in answer["candidates"] if e["stage"] == "refused"}
    assert "cpu int8" in refused
    assert refused["cpu int8"]["max_abs_error"] > 0
    assert "samples differ" in refused["cpu int8"]["why"]
    winner = next(e for e in answer["candidates"] if e["number"] == answer["winner"])
    assert winner["family"] == "cpu float32"
    assert winner["verified"] is True
    page = (outcome.run_dir / "report.html").read_text("utf-8")
    assert "cpu int8" in page
    what_is_left_can_be_run_again(command, outcome.run_dir, answer)


def what_is_left_can_be_run_again(
    command: Command, directory: Path, answer: dict[str, Any]
) -> None:
    again = command("run", config=directory / "tuned.json", output_dir="again", samples=50)
    assert again.code == 0, again.stderr
    winner = next(e for e in answer["candidates"] if e["number"] == answer["winner"])
    for name in ("runner", "concurrency", "batch_size"):
        assert again.effective[name] == winner["settings"][name]
    typed = shlex.split(answer["command"])
    assert typed[:2] == ["loadgen-generic", "run"]
    assert command(*typed[1:], output_dir="typed").code == 0


def test_killed_and_started_again_it_loses_the_trial_under_way(
    command: Command, start: Callable[..., Running]
) -> None:
    running = start(**SHORT)
    end = time.monotonic() + 60
    while not (running.run_dir / "trials" / "003" / ".progress").exists():
        assert running.process.poll() is None, running.finish()
        assert time.monotonic() < end
        time.sleep(0.005)
    running.process.kill()
    running.finish()
    before = journal_of(running.run_dir)
    assert [run["number"] for run in before["runs"]] == [1, 2]
    assert json.loads((running.run_dir / "tuned.json").read_text("utf-8"))["backend"] == "fake"

    other = command("run", **SHORT | {"budget": "50s"})
    assert other.code == 2
    assert "--budget_sec" in other.stderr

    outcome = command("run", **SHORT, json=True)
    assert "2 trial(s) are done" in outcome.stderr
    after = journal_of(outcome.run_dir)
    assert json.loads(outcome.stdout) == after
    assert after["state"] == "finished"
    assert after["runs"][:2] == before["runs"]
    timed = [str(run["setting"]) for run in after["runs"] if run["phase"] in ("screen", "search")]
    assert len(set(timed)) == len(timed)
    assert (outcome.run_dir / "trials" / "003-unfinished-1").is_dir()
    assert outcome.result.tuning is not None
    assert outcome.result.tuning.trials == len(after["runs"])
