"""tools/register.py in CM homes of its own, with the real cm."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "register.py"
UID = "d3d949cc361747a6"


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CM home that cm has indexed; copied, since indexing anew takes a second."""
    home = tmp_path_factory.mktemp("used")
    command(home, "cm", "find", "repo")
    return home


@pytest.fixture
def home(used_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(used_home, tmp_path / "home", dirs_exist_ok=True)
    repos = tmp_path / "home" / "repos.json"
    repos.write_text(repos.read_text().replace(str(used_home), str(tmp_path / "home")))
    return tmp_path / "home"


def command(home: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "CM_REPOS": str(home)}
    program = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(program, env=environ, capture_output=True, text=True, check=False)


def register(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(home, Path(sys.executable).name, str(TOOL), *arguments)


def place_in(home: Path) -> Path:
    return home / "repos" / "local" / "script" / "app-loadgen-generic-python"


def test_from_nothing_and_back(tmp_path: Path) -> None:
    """In a CM home that is not there yet, whose name has a space."""
    home = tmp_path / "new home"
    done = register(home)
    assert done.returncode == 0, done.stderr
    assert place_in(home).resolve() == ROOT
    assert command(home, "cm", "find", "script", UID).stdout.split("\n")[0] == str(place_in(home))

    begin = time.monotonic()
    again = register(home)
    assert time.monotonic() - begin < 0.3
    assert again.returncode == 0
    assert "already" in again.stdout

    undone = register(home, "--unregister")
    assert undone.returncode == 0, undone.stderr
    assert not os.path.lexists(place_in(home))
    assert str(place_in(home)) not in command(home, "cm", "find", "script", UID).stdout
    assert register(home, "--unregister").returncode == 0


def test_copy_has_what_cm_needs_and_is_renewed(home: Path) -> None:
    assert register(home, "--copy").returncode == 0
    place = place_in(home)
    assert not place.is_symlink()
    for name in ("_cm.yaml", "customize.py", "run.sh", "run.bat", "src/main.py"):
        assert (place / name).read_bytes() == (ROOT / name).read_bytes()
    assert os.access(place / "run.sh", os.X_OK) or os.name == "nt"
    assert not (place / "tests").exists()

    (place / "customize.py").write_text("# of an older version")
    (place / "src" / "leftover.py").write_text("")
    assert register(home, "--copy").returncode == 0
    assert (place / "customize.py").read_bytes() == (ROOT / "customize.py").read_bytes()
    assert not (place / "src" / "leftover.py").exists()

    assert register(home).returncode == 0
    assert place.is_symlink(), "a link takes the place of a copy"


def test_copies_where_links_are_not_allowed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("register", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def forbidden(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    monkeypatch.setenv("CM_REPOS", str(home))
    assert module.main([]) == 0
    assert (place_in(home) / "customize.py").is_file()


def test_link_of_another_checkout_is_replaced(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "_cm.yaml").write_text(f"alias: other\nuid: {UID}\n")
    place_in(home).parent.mkdir(parents=True)
    place_in(home).symlink_to(other)
    refused = register(home, "--unregister")
    assert refused.returncode == 1
    assert str(other) in refused.stderr
    assert register(home).returncode == 0
    assert place_in(home).resolve() == ROOT
    assert (other / "_cm.yaml").is_file()


@pytest.mark.parametrize("kind", ["folder", "link"])
@pytest.mark.parametrize("arguments", [[], ["--unregister"]])
def test_what_is_not_ours_stays(
    home: Path, tmp_path: Path, kind: str, arguments: list[str]
) -> None:
    place = place_in(home)
    theirs = place if kind == "folder" else tmp_path / "theirs"
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("mine")
    if kind == "link":
        place.parent.mkdir(parents=True)
        place.symlink_to(theirs)
    done = register(home, *arguments)
    assert done.returncode == 1
    assert str(place) in done.stderr
    assert (place / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for cm is a shell script")
def test_another_script_of_this_uid_that_cm_finds_first(home: Path, tmp_path: Path) -> None:
    cm = tmp_path / "cm"
    cm.write_text('#!/bin/sh\n[ "$1" != find ] || echo /rival/script\n')
    cm.chmod(0o755)
    done = register(home, "--cm", str(cm))
    assert done.returncode == 1
    assert "/rival/script" in done.stderr
    assert "CM_REPOS" in done.stderr


def test_cm_that_is_not_there(home: Path) -> None:
    done = register(home, "--cm", "/no/such/cm")
    assert done.returncode == 1
    assert "/no/such/cm" in done.stderr
    assert "--cm" in done.stderr
