"""The benchmark of ``tune``, on a machine whose rates are known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadgen_generic.results.tuning import TunedCandidate, Tuning

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import tune
import tune_cases
import tune_search
from lab import Finished, Lab
from tune_cases import CASES, FAMILIES

FASTEST = {"execution_provider": "openvino", "precision": "bfloat16", "concurrency": 2}
FLOAT32 = {**FASTEST, "precision": "float32"}
RATES = {"cpu-float32": 100.0, "openvino-float32": 110.0, "openvino-bfloat16": 230.0}
START_SEC = 3.0


@dataclass
class Machine:
    """Stands for the command, on two cores.

    Attributes:
        winners: options of each search's winner, the last for all after it.
        factors: of the winners' confirmed values, likewise.
        refused: families with wrong answers, as tune calls them.
        broken: families that do not run, as the grid calls them.
        clock: seconds that its commands took.
        hiccups: how many runs of winners fail first.
        commands: as they were typed; ``busy`` are those beside a busy core.
    """

    work: Path
    winners: list[dict[str, Any]] = field(default_factory=lambda: [{**FASTEST, "batch_size": 64}])
    factors: list[float] = field(default_factory=lambda: [1.0])
    refused: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    tune_sec: float = 15.0
    disturbed: int = 0
    clock: float = 0.0
    commands: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    is_busy: bool = False
    hiccups: int = 0

    def run(self, words: list[object], **_: object) -> Finished:
        typed = [str(word) for word in words]
        self.commands.append(" ".join(typed))
        if self.is_busy:
            self.busy.append(typed[1])
        given = dict(zip(typed[3::2], typed[4::2], strict=False))
        flags: dict[str, Any] = {name.removeprefix("--"): each for name, each in given.items()}
        if "config" in flags:
            flags = {**json.loads(Path(flags["config"]).read_text("utf-8")), **flags}
        if typed[1] == "tune":
            return self._tune(Path(typed[-1]))
        self.clock += START_SEC + float(flags["loadgen_duration_sec"])
        if "config" in flags and self.hiccups:
            self.hiccups -= 1
            return Finished(1, "", "loadgen-generic: error: disturbed", 0, 0.0)
        if self._family(flags) in self.broken:
            return Finished(1, "", "loadgen-generic: error: no such provider here", 0, 0.0)
        rate = self._rate(flags)
        peak = {"highest_valid": rate, "lowest_invalid": None, "trials": 9, "sentence": ""}
        metric = {"value": rate, "unit": "samples/s"}
        result = {"metric": metric, "valid": True, "config": {"effective": {}}, "latency_ns": {}}
        told = {"answer": peak} if flags.get("mode") == "find_peak" else result
        return Finished(0, json.dumps(told), "", 0, 0.0)

    @contextmanager
    def busy_core(self) -> Iterator[int]:
        self.is_busy = True
        yield 1
        self.is_busy = False

    def _family(self, flags: dict[str, Any]) -> str:
        return f"{flags['execution_provider']}-{flags['precision']}"

    def _rate(self, flags: dict[str, Any]) -> float:
        used = int(flags["concurrency"]) * int(flags.get("intra_op_threads", 1))
        batch = 1 + 0.1 * min(int(flags["batch_size"]), 64) / 64
        return RATES[self._family(flags)] * (0.9 + 0.05 * used) * batch

    def _tune(self, directory: Path) -> Finished:
        self.clock += self.tune_sec
        number = sum(" tune " in each for each in self.commands) - 1
        winner = self.winners[min(number, len(self.winners) - 1)]
        value = self._rate(winner) * self.factors[min(number, len(self.factors) - 1)]
        directory.mkdir()
        config = directory / "tuned.json"
        config.write_text(json.dumps(winner), "utf-8")
        (directory / "result.json").write_text(json.dumps({"doubts": []}), "utf-8")
        candidates = [
            TunedCandidate(
                number=1,
                family=self._family(winner).replace("-", " "),
                settings=winner,
                words="as it was set",
                stage="final",
                value=value,
            )
        ]
        for each in self.refused:
            candidates.append(
                TunedCandidate(
                    number=len(candidates) + 1,
                    family=each,
                    settings={},
                    words="",
                    stage="refused",
                    why="wrong",
                )
            )
        answer = Tuning(
            sentence="",
            objective="",
            unit="samples/s",
            higher_is_better=True,
            winner=1,
            gain=1.0,
            noise=0.02,
            spread=0.03,
            tolerance="",
            samples_verified=64,
            disturbed=self.disturbed if self.is_busy else 0,
            trials=9,
            budget_s=60.0,
            used_s=self.tune_sec,
            candidates=candidates,
            left_out=[],
            worth=[],
            command=f"loadgen-generic run {self.work}/models/mlp.onnx",
            cm_command="",
            config_file=str(config),
            file=str(directory / "tune.json"),
        )
        return Finished(0, json.dumps({"answer": answer.model_dump()}), "", 0, 0.0)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(Lab, "run", lambda _, words, **how: machine.run(words, **how))
    monkeypatch.setattr(Lab, "model", lambda lab, name: lab.work / "models" / f"{name}.onnx")
    monkeypatch.setattr(tune, "available_cores", lambda: 2)
    monkeypatch.setattr(tune_search, "busy_core", machine.busy_core)
    for module in (tune_cases, tune_search):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: machine.clock))
    return machine


def judged(machine: Machine, *arguments: object, case: str = "mlp/Offline") -> tuple[int, Any]:
    """The exit code, and the JSON file; its rows by the last part of their names."""
    where = ["--work", machine.work, "--output", machine.work / "results"]
    words = ["--cases", case, "--rounds", 2, "--batches", 64, *arguments, *where]
    code = tune.main([str(word) for word in words])
    file = max((machine.work / "results").iterdir(), key=lambda each: each.stat().st_mtime_ns)
    report = json.loads(file.read_text("utf-8"))
    report["rows"] = {row["key"].removeprefix(f"{case}/"): row for row in report["rows"]}
    return code, report


def holds(report: dict[str, Any]) -> dict[str, Any]:
    return {key: row["holds"] for key, row in report["rows"].items()}


def test_winner_that_is_the_grids_best_holds(machine: Machine) -> None:
    code, report = judged(machine)
    assert (code, holds(report)) == (0, {"winner": True, "time": True})
    assert report["rows"]["winner"]["by_round"] == [1.0, 1.0]
    # Three families, three layouts, one batch, 8 s each.
    assert report["grids"]["mlp/Offline"]["seconds"] == 9 * 8
    assert report["rows"]["time"]["reached"] == pytest.approx(15 / (9 * 8))


def test_every_figure_has_its_command_and_none_names_this_machine(machine: Machine) -> None:
    _, report = judged(machine)
    tuned = report["cases"]["mlp/Offline/final/tuned"]
    assert " --config WORK/tuned/mlp-Offline-" in tuned["command"]
    assert all(case["command"] for case in report["cases"].values())
    assert report["searches"]["mlp/Offline"]["quiet"]["config"]["batch_size"] == 64
    assert str(machine.work) not in json.dumps(report)


def test_search_has_a_quarter_of_the_grids_time_and_the_same_test(machine: Machine) -> None:
    judged(machine, "--seconds", 97)
    (typed,) = (each for each in machine.commands if " tune " in each)
    assert f"--budget {9 * 100 / 4 * 0.95:.0f}s" in typed
    assert "--loadgen_duration_sec 97.0" in typed
    assert "--tolerance" not in typed


def test_slower_winner_does_not_hold(machine: Machine) -> None:
    machine.winners = [{**FASTEST, "batch_size": 1, "concurrency": 1}]
    code, report = judged(machine)
    assert (code, holds(report)["winner"]) == (1, False)


def test_search_that_takes_longer_than_a_quarter_does_not_hold(machine: Machine) -> None:
    machine.tune_sec = 20.0
    code, report = judged(machine)
    assert (code, holds(report)) == (1, {"winner": True, "time": False})


def test_wrong_answers_count_neither_in_the_grids_best_nor_in_its_time(machine: Machine) -> None:
    machine.tune_sec = 10.0
    machine.refused = ("openvino bfloat16", "cpu float32, extended")
    machine.winners = [{**FLOAT32, "batch_size": 64}]
    code, report = judged(machine)
    assert (code, holds(report)) == (0, {"winner": True, "time": True})
    assert report["grids"]["mlp/Offline"]["seconds"] == 6 * 8
    assert "without openvino-bfloat16" in report["grids"]["mlp/Offline"]["sentence"]


def test_setting_that_fails_is_recorded_and_passed_over(machine: Machine) -> None:
    machine.broken = FAMILIES[1:]
    machine.winners = [
        {"execution_provider": "cpu", "precision": "float32", "concurrency": 2, "batch_size": 64}
    ]
    code, report = judged(machine)
    assert (code, holds(report)["winner"]) == (1, True)  # three settings are too few for 15 s
    assert report["grids"]["mlp/Offline"]["seconds"] == 3 * 8
    failed = report["cases"]["mlp/Offline/grid/openvino-float32 inline 1x1 batch 64"]
    assert failed["unavailable"] == "no such provider here"


@pytest.mark.parametrize(("factor", "fine"), [(0.985, True), (0.95, False)])
def test_two_searches_agree_within_the_stated_spread(
    machine: Machine, factor: float, fine: bool
) -> None:
    machine.factors = [1.0, factor]
    code, report = judged(machine, "--twice")
    assert (code, holds(report)["twice"]) == (0 if fine else 1, fine)
    assert report["rows"]["twice"]["wanted"] == 0.03
    assert report["rows"]["twice-gain"]["reached"] == 0


@pytest.mark.parametrize(("disturbed", "threads"), [(2, 1), (0, 1), (2, 0)])
def test_search_beside_a_busy_core_warns_and_is_not_misled(
    machine: Machine, disturbed: int, threads: int
) -> None:
    quiet = {**FASTEST, "batch_size": 64}
    misled = quiet if threads else {**quiet, "precision": "float32"}
    machine.winners, machine.disturbed = [quiet, misled], disturbed
    code, report = judged(machine, "--busy")
    assert machine.busy == ["tune"]
    _, beside = (each for each in machine.commands if " tune " in each)
    assert "--budget 600s" in beside, "nothing is asked of its time"
    assert (holds(report)["busy"], holds(report)["warned"]) == (threads > 0, disturbed > 0)
    assert code == (0 if threads and disturbed else 1)


def test_server_is_judged_by_peaks_in_turn(machine: Machine) -> None:
    _, report = judged(machine, case="mlp/Server")
    assert holds(report)["winner"] is True
    peaks = [each for each in machine.commands if "--mode find_peak" in each]
    assert len(peaks) == 9 + 2 * 4
    assert all("--target_latency_ms 5.0" in each for each in machine.commands)


def test_final_run_that_fails_once_is_run_again(machine: Machine) -> None:
    machine.hiccups = 1
    assert holds(judged(machine)[1])["winner"] is True
    machine.hiccups = 2
    assert holds(judged(machine)[1])["winner"] is None


def test_server_may_be_judged_by_peaks_as_found(machine: Machine) -> None:
    machine.factors = [0.9]
    code, report = judged(machine, "--rounds", 0, case="mlp/Server")
    assert len(machine.commands) == 9 + 1
    assert (code, report["rows"]["winner"]["reached"]) == (1, pytest.approx(0.9))
    assert "figures that the grid and tune found" in report["judged_by"]


def test_resnet50_is_held_to_the_grids_best_float32(machine: Machine) -> None:
    case = "resnet50/Offline/bfloat16"
    code, report = judged(machine, case=case)
    row = report["rows"]["over-float32"]
    assert (code, row["reached"]) == (0, pytest.approx(230 / 110))
    assert "openvino-float32 inline 1x2 batch 64" in row["other_case"]
    assert report["rows"]["time"]["wanted"] == 600
    (typed,) = (each for each in machine.commands if " tune " in each)
    assert "--budget 600s" in typed
    assert "--tolerance bfloat16" in typed
    machine.winners = [{**FLOAT32, "batch_size": 64}]
    assert holds(judged(machine, case=case)[1])["over-float32"] is False


def test_failed_search_is_an_answer_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finished(2, "", "loadgen-generic: error: optuna is missing", 0, 0.0)
    monkeypatch.setattr(Machine, "_tune", lambda *_: broken)
    code, report = judged(machine)
    assert (code, holds(report)["winner"]) == (1, None)
    assert "optuna is missing" in report["rows"]["winner"]["note"]


def test_grid_is_taken_from_an_earlier_file(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = judged(machine, "--no-tune")
    assert (code, report["rows"]) == (0, {})
    (file,) = (machine.work / "results").iterdir()
    kept = file.rename(machine.work / "grid.json")
    machine.commands.clear()
    code, again = judged(machine, "--grid", kept)
    assert (code, again["grids"], again["grid_of"]) == (0, report["grids"], "grid.json")
    assert len(machine.commands) == 1 + 2 * 4
    assert tune.main(["--cases", "mlp/Offline", "--seconds", "9", "--grid", str(kept)]) == 2
    assert "it has seconds 5.0, now it is 9.0" in capsys.readouterr().err


def test_grid_fills_the_cores_and_no_more() -> None:
    settings = tune_cases.grid(CASES["bert/Offline"], 4)
    layouts = {(each.runner, each.workers, each.threads) for each in settings}
    assert {workers * threads for _, workers, threads in layouts} == {1, 2, 3, 4}
    assert {threads for runner, _, threads in layouts if runner == "inline"} == {1, 2, 3, 4}
    assert ("threadpool", 4, 1) in layouts
    assert len(settings) == len(set(settings)) == 3 * len(layouts) * 6


def test_list_names_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.main(["--list", "--cases", "resnet50/Offline/float32", "--batches", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "resnet50/Offline/float32/grid/cpu-float32 inline 1x1 batch 4" in said
    assert not any("bfloat16 " in line for line in said)


@pytest.mark.slow
def test_real_grid_has_figures(tmp_path: Path) -> None:
    case = ["--cases", "mlp/Offline", "--families", "cpu-float32", "--batches", "64"]
    where = ["--work", str(tmp_path / "work"), "--output", str(tmp_path / "results")]
    command = [sys.executable, str(BENCHMARKS / "tune.py"), *case, "--seconds", "0.2", "--no-tune"]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "results").iterdir()
    report = json.loads(file.read_text("utf-8"))
    assert report["cases"]
    for case_ in report["cases"].values():
        assert case_["median"]["samples_per_sec"] > 0
        assert "mlp.onnx" in case_["command"]
