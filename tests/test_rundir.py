"""Two runs never share a directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadgen_generic.errors import RequestError
from loadgen_generic.rundir import cache_dir, claim_run_dir

CLAIM = """
import sys
from loadgen_generic.rundir import claim_run_dir
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    print(claim_run_dir(sys.argv[1], "x"))
"""


def test_directories_are_numbered(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    claimed = [claim_run_dir(str(wanted), "x") for _ in range(3)]
    assert claimed == [wanted, wanted / "run-2", wanted / "run-3"]


def test_files_of_others_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert claim_run_dir(str(tmp_path), "x") == tmp_path


def test_processes_that_claim_at_once_never_meet(tmp_path: Path) -> None:
    wanted = tmp_path / "out"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed = [line for p in processes for line in p.communicate(timeout=60)[0].splitlines()]
    assert len(claimed) == 80
    assert set(claimed) == {str(wanted), *(str(wanted / f"run-{n}") for n in range(2, 81))}


def test_default_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = (claim_run_dir(None, "model-Offline") for _ in range(2))
    assert one != other
    assert one.parts[: len(tmp_path.parts) + 1] == (*tmp_path.parts, "results")
    assert one.name.startswith("model-Offline-")


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert claim_run_dir("x/../y", "x") == tmp_path / "y"
    assert claim_run_dir("~/z", "x") == tmp_path / "home" / "z"


@pytest.mark.parametrize("name", ["file", "file/x", "x" * 300])
def test_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"--output_dir .*cannot write there: \w+"):
        claim_run_dir(str(tmp_path / name), "x")


def test_claim_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "request.json").mkdir()
    assert claim_run_dir(str(tmp_path), "x") == tmp_path / "run-2"


def test_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADGEN_GENERIC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "loadgen-generic"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "loadgen-generic"
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
