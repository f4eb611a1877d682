"""The command line as a user meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command

from loadgen_generic import __version__
from loadgen_generic.cli import help_text, main
from loadgen_generic.config import BenchmarkConfig, options
from loadgen_generic.config.remote import RemoteOptions
from loadgen_generic.errors import RequestError

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
SPELLINGS = [
    (name, spelling)
    for name, option, _ in options()
    for word in (name, *option.aliases)
    for spelling in dict.fromkeys((word, word.replace("_", "-")))
]


@pytest.fixture
def help_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as exit_:
        main(["run", "--help"])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def sections(page: str) -> dict[str, str]:
    """Heading to text of a help page."""
    parts = re.split(r"^(\w[\w ]*):$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_help_lists_every_option_in_its_group(help_page: str) -> None:
    found = sections(help_page)
    for name, option, field in options():
        section = found[option.group]
        assert re.search(rf"^  --{name}\b", section, re.MULTILINE), name
        for alias in option.aliases:
            assert f"--{alias}" in section
        flowing = " ".join(section.split())
        assert help_text(name) in flowing
        if option.unit:
            assert f"in {option.unit}" in help_text(name)
        if field.default is not None and field.default_factory is None:
            assert f"default: {field.default}" in help_text(name)
        for scenario in option.scenarios:
            assert scenario in help_text(name)
    assert "exit codes" in help_page


def test_help_of_the_program_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert re.search(r"^ +run +\w", capsys.readouterr().out, re.MULTILINE)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
@pytest.mark.parametrize("joined", [False, True], ids=["--flag value", "--flag=value"])
def test_every_spelling_reaches_its_option(
    name: str, spelling: str, joined: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    # The canonical flag with another value: only a spelling that is understood contradicts it.
    other = "--strict" if name == "model_path" else "no-such-model.onnx"
    flag = [f"--{spelling}=?"] if joined else [f"--{spelling}", "?"]
    assert main(["run", other, *flag, *where_it_counts(name)]) == 2
    error = capsys.readouterr().err
    assert "no such option" not in error
    assert "unrecognized" not in error
    # What is given as a header is never shown.
    assert "?" in error or "no such file" in error or "--header: expected" in error


def where_it_counts(name: str) -> list[str]:
    """What else a flag needs to mean anything."""
    return ["--backend", "kserve"] if name in RemoteOptions.model_fields else []


@pytest.mark.parametrize(
    ("flag", "near"),
    [
        ("--scenarioo", "--scenario"),
        ("--intra-op", "--intraop"),
        ("--output-dirr=x", "--output_dir"),
        ("--stric", "--strict"),
    ],
)
def test_a_near_miss_is_answered_with_the_right_flag(
    flag: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "x.onnx", flag]) == 2
    assert f"Did you mean {near}?" in capsys.readouterr().err


def test_a_flag_like_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "x.onnx", "--zzzzzzzz", "1"]) == 2
    error = capsys.readouterr().err
    assert "--zzzzzzzz" in error
    assert "--help" in error


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["rn"], "rn"),
        (["run", "a.onnx", "b.onnx"], "b.onnx"),
        (["run", "--scenario"], "--scenario"),
        (["run", "a.onnx", "--model_path", "b.onnx"], "contradicts"),
        (["run"], "no model was named"),
        (["run", "a.onnx", "--config", "missing.json"], "missing.json"),
    ],
)
def test_wrong_use_exits_2_with_one_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("loadgen-generic: error: ")
    assert printed.err.count("\n") == 1
    assert word in printed.err


def test_a_request_is_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """It takes a third of a second so, and twice as long with numpy and what writes reports."""
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'mlperf_loadgen', 'psutil', 'rich'}"
    code = (
        "import sys; from loadgen_generic.cli import main; "
        f"print(main(['run', 'nothing.onnx']), sorted({heavy} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert told.stdout.strip() == "2 []"


def test_json_prints_one_document(command: Command, models: Callable[[str], Path]) -> None:
    outcome = command.run(models("matmul"), samples=20, json=True)
    assert outcome.code == 0
    document = json.loads(outcome.stdout)
    assert document == json.loads((outcome.run_dir / "result.json").read_text("utf-8"))
    assert document["samples_completed"] == 20


def test_model_by_flag_or_by_position(command: Command, models: Callable[[str], Path]) -> None:
    path = models("matmul")
    for words in (["--modelpath", path], [path], [path, "--model-path", path]):
        outcome = command("run", *words, "--samples=5", "--quiet")
        assert outcome.code == 0, outcome.stderr
    ran = [command.directory / "out", *(command.directory / "out" / f"run-{n}" for n in (2, 3))]
    for directory in ran:
        result = json.loads((directory / "result.json").read_text("utf-8"))
        assert result["model"]["path"] == str(path)
        assert result["config"]["requested"]["model_path"] == str(path)


def test_quiet_shows_the_result_only(command: Command, models: Callable[[str], Path]) -> None:
    loud = command.run(models("matmul"), samples=20)
    quiet = command.run(models("matmul"), samples=20, output_dir="quiet", quiet=True)
    assert "20 samples, as asked for" in loud.stderr
    assert quiet.stderr == ""
    assert quiet.stdout.startswith("VALID: Offline")
    assert str(quiet.run_dir / "result.json") in quiet.stdout


def test_strict_turns_invalid_into_an_exit_code(
    command: Command, models: Callable[[str], Path]
) -> None:
    few: dict[str, object] = {"scenario": "SingleStream", "samples": 10}
    lenient = command.run(models("matmul"), **few)
    strict = command.run(models("matmul"), **few, output_dir="strict", strict=True)
    assert (lenient.code, strict.code) == (0, 3)
    assert not lenient.result.valid
    assert not strict.result.valid
    assert strict.stdout.startswith("INVALID: SingleStream")
    assert f"try next:  {strict.result.next_command}" in strict.stdout
    assert command.run(models("matmul"), samples=10, output_dir="v", strict=True).code == 0


def test_config_file_and_flags_that_win(command: Command, models: Callable[[str], Path]) -> None:
    (command.directory / "run.json").write_text(
        json.dumps(
            {
                "modelpath": str(models("sequence")),
                "samples": 12,
                "intraop": "1",
                "stall-timeout-sec": 99,
                "dim": {"seq": 5},
            }
        )
    )
    outcome = command("run", "--config", "run.json", samples=7)
    assert outcome.result.samples_completed == 7
    assert outcome.effective["intra_op_threads"] == 1
    assert outcome.effective["stall_timeout_sec"] == 99
    assert outcome.effective["dim"] == {"seq": 5}
    by_alias = command("run", "--config=run.json", "--intraop=2", output_dir="other")
    assert by_alias.effective["intra_op_threads"] == 2
    assert by_alias.result.samples_completed == 12


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "is not JSON"),
        ("[1]", "JSON object"),
        ('{"scenarioo": 1}', "--scenarioo: there is no such option. Did you mean --scenario?"),
        ('{"samples": "many"}', "--samples many: "),
        ('{"ep": "cpu", "execmode": "both"}', "--execmode both: "),
    ],
)
def test_bad_config_file(
    content: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text(content)
    assert main(["run", "x.onnx", "--config", str(tmp_path / "c.json")]) == 2
    error = capsys.readouterr().err
    assert f"--config {tmp_path / 'c.json'}: " in error
    assert word in error


def test_a_flag_completes_a_config_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the file lacks may be typed; what it says wrongly has to be mended in it."""
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"target_qps": 5}))
    words = ["run", "x.onnx", "--config", str(file)]
    assert main(words) == 2
    assert "--target_qps has no meaning in the Offline scenario" in capsys.readouterr().err
    assert main([*words, "--scenario=Server"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_plain_text_where_no_terminal_is(command: Command, models: Callable[[str], Path]) -> None:
    for scenario in ("Offline", "SingleStream"):
        outcome = command.run(models("matmul"), scenario=scenario, loadgen_duration_sec=0.4)
        assert outcome.code == 0
        assert not CONTROL.search(outcome.stdout + outcome.stderr)
        assert "LoadGen test started" in outcome.stderr


def test_default_output_is_a_new_directory_under_results(
    command: Command, models: Callable[[str], Path]
) -> None:
    directories = set()
    for _ in range(2):
        outcome = command.run(models("matmul"), samples=5, json=True, output_dir=None)
        directory = Path(json.loads(outcome.stdout)["output_dir"])
        assert directory.relative_to(command.directory).parts[0] == "results"
        assert "matmul-Offline" in str(directory)
        directories.add(directory)
    assert len(directories) == 2


# --- tune


def test_help_of_tune_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["tune", "--help"])
    assert exit_.value.code == 0
    page = capsys.readouterr().out
    for word in ("--budget", "--tolerance", "--allow", "examples:", "tuned.json", "exit codes"):
        assert word in page
    for flag in ("mode", "repeat", "audit", "save_outputs", "max_query_count", "strict"):
        assert not re.search(rf"^  --{flag}\b", page, re.MULTILINE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BenchmarkConfig]:
    """What the campaigns are asked for, none of which is carried out."""
    configs: list[BenchmarkConfig] = []

    def carry_out(config: BenchmarkConfig, _: object) -> None:
        configs.append(config)
        raise RequestError("not carried out.")

    monkeypatch.setattr("loadgen_generic.campaigns.carry_out", carry_out)
    return configs


def test_tune_is_a_run_in_that_mode(asked: list[BenchmarkConfig], tmp_path: Path) -> None:
    flags = ["--budget=90s", "--allow", "int8", "--tolerance=bfloat16", "--intraop=1"]
    (tmp_path / "c.json").write_text(json.dumps({"mode": "Tune", "samples": 7}))
    assert main(["tune", "m.onnx", "--samples=7", *flags]) == 2
    assert main(["run", "m.onnx", "--samples=7", "--mode=tune", *flags]) == 2
    assert main(["tune", "m.onnx", "--config", str(tmp_path / "c.json"), *flags]) == 2
    tuned, *others = asked
    assert others == [tuned, tuned]
    assert (tuned.mode, tuned.budget_sec, tuned.allow) == ("tune", 90, ("int8",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mode", "tune"], "--mode: there is no such option"),
        (["--strict"], "--strict: there is no such option"),
        (["--budgett", "5m"], "Did you mean --budget?"),
        (["--budget", "soon"], "--budget_sec soon: expected a time"),
        (["--allow", "int4"], "Choose one of: int8."),
        (["--config", "c.json"], "--config c.json: asks for --mode accuracy"),
    ],
)
def test_wrong_use_of_tune(
    words: list[str],
    said: str,
    asked: list[BenchmarkConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text('{"mode": "accuracy"}')
    assert main(["tune", "m.onnx", *words]) == 2
    assert said in capsys.readouterr().err
    assert not asked
