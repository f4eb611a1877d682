"""Which interpreter measures: where it is looked for, what is wrong with it, what the run says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from command import Command, fake
from stand_in_environments import OPENVINO, OWN, add_package, make, make_like_ours

from loadgen_generic.environments import NEEDED, Environment, choosing, for_provider, here, known
from loadgen_generic.errors import RunError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places that are looked into, empty."""
    found = {name: tmp_path / name for name in ("chosen", "checkout", "cache")}
    for directory in found.values():
        directory.mkdir()
    for file in ("Makefile", "pyproject.toml"):
        (found["checkout"] / file).touch()
    monkeypatch.setattr(choosing, "_CHECKOUT", found["checkout"])
    monkeypatch.setenv("LOADGEN_GENERIC_ENVIRONMENTS", str(found["chosen"]))
    monkeypatch.setenv("LOADGEN_GENERIC_CACHE", str(found["cache"]))
    return {
        "chosen": found["chosen"] / "openvino",
        "checkout": found["checkout"] / ".venv-openvino",
        "cache": found["cache"] / "environments" / "openvino",
    }


def play_here(
    monkeypatch: pytest.MonkeyPatch, packages: Mapping[str, str], providers: set[str]
) -> None:
    """This interpreter, with other packages of ONNX Runtime."""
    own = Environment("this Python", Path(sys.executable), packages, frozenset(providers), (3, 11))
    monkeypatch.setattr(choosing, "here", lambda: own)


# --- where it is -----------------------------------------------------------------------------


def test_this_interpreter_has_the_cpu_provider() -> None:
    own = for_provider("CPUExecutionProvider")
    assert own == here()
    assert (own.python, own.is_here) == (Path(sys.executable), True)
    assert list(own.packages) == ["onnxruntime"]
    assert own.version == sys.version_info[:2]
    assert not own.missing


def test_onnx_runtime_is_not_imported_to_find_out() -> None:
    program = (
        "import sys; from loadgen_generic.environments import for_provider; "
        "for_provider('cpu'); sys.exit('onnxruntime' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_places_in_their_order(places: dict[str, Path]) -> None:
    for place in ("cache", "checkout", "chosen"):
        python = make(places[place], OPENVINO)
        found = for_provider("openvino")
        assert found.python == python, place
        assert (found.name, found.is_here) == ("openvino", False)
        assert found.packages == OPENVINO
        assert found.version == (3, 11)


def test_a_link_is_an_environment_and_stays_one(places: dict[str, Path], tmp_path: Path) -> None:
    """Where the interpreter is started from decides which environment it is."""
    make(tmp_path / "elsewhere", OPENVINO)
    places["chosen"].symlink_to(tmp_path / "elsewhere")
    assert for_provider("openvino").python == places["chosen"] / "bin" / "python"


def test_windows_has_other_directories(places: dict[str, Path]) -> None:
    add_package(places["chosen"] / "Lib" / "site-packages", "onnxruntime-openvino", "1.0")
    for name in NEEDED:
        add_package(places["chosen"] / "Lib" / "site-packages", name, "1.0", set())
    (places["chosen"] / "Scripts").mkdir()
    (places["chosen"] / "Scripts" / "python.exe").touch()
    (places["chosen"] / "pyvenv.cfg").write_text("version_info = 3.12.1.final.0\n")
    found = for_provider("OpenVINOExecutionProvider")
    assert found.python == places["chosen"] / "Scripts" / "python.exe"
    assert found.version == (3, 12)


@pytest.mark.parametrize(("name", "provider"), [("cuda", "tensorrt"), ("tensorrt", "cuda")])
def test_one_package_has_both_providers_of_a_card(
    places: dict[str, Path], name: str, provider: str
) -> None:
    python = make(places["chosen"].with_name(name), {"onnxruntime-gpu": "1.31.1"})
    assert for_provider(provider).python == python


def test_known_lists_this_interpreter_and_what_was_found(places: dict[str, Path]) -> None:
    assert [each.name for each in known()] == ["this Python"]
    make(places["chosen"], OPENVINO)
    make(places["checkout"], {"onnxruntime-openvino": "1.0"})
    make(places["chosen"].with_name("cuda"), {"onnxruntime-gpu": "1.31.1"})
    found = {each.name: each.packages for each in known()[1:]}
    assert found == {"cuda": {"onnxruntime-gpu": "1.31.1"}, "openvino": OPENVINO}


def test_a_provider_in_a_package_of_another_name(places: dict[str, Path]) -> None:
    python = make(places["chosen"], {"numpy": "1.0"}, lacking=("numpy",))
    site = python.parents[1] / "lib" / "python3.11" / "site-packages"
    library = "onnxruntime/capi/libonnxruntime_providers_openvino.so,sha256=x,1"
    add_package(site, "onnxruntime-own-build", "2.0", {*OWN, library})
    assert for_provider("openvino").python == python


def test_a_companion_is_no_onnx_runtime(places: dict[str, Path]) -> None:
    python = make(places["chosen"], OPENVINO)
    site = python.parents[1] / "lib" / "python3.11" / "site-packages"
    add_package(site, "onnxruntime-extensions", "0.15", {"onnxruntime_extensions/__init__.py,,"})
    assert for_provider("openvino").packages == OPENVINO


def test_this_interpreter_comes_first(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(places["chosen"], OPENVINO)
    play_here(monkeypatch, {"onnxruntime-openvino": "1.0"}, {"cpu", "openvino"})
    assert for_provider("openvino").is_here


def test_a_provider_that_nobody_knows_is_the_backends_matter(places: dict[str, Path]) -> None:
    assert for_provider("NoSuchExecutionProvider").is_here


# --- what is wrong with it -------------------------------------------------------------------


def test_none_in_a_checkout(places: dict[str, Path]) -> None:
    with pytest.raises(RunError) as said:
        for_provider("openvino")
    for word in ("--ep openvino", "onnxruntime-openvino", sys.executable, "make venv EP=openvino"):
        assert word in str(said.value)


def test_none_outside_of_one(places: dict[str, Path]) -> None:
    (choosing._CHECKOUT / "Makefile").unlink()
    with pytest.raises(RunError) as said:
        for_provider("tensorrt")
    directory = places["chosen"].with_name("tensorrt")
    assert f"{sys.executable} -m venv {directory}" in str(said.value)
    assert "pip install onnxruntime-gpu" in str(said.value)
    assert all(name in str(said.value) for name in NEEDED)


def test_no_onnx_runtime_at_all(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    play_here(monkeypatch, {}, set())
    for provider, package in (("cpu", "onnxruntime"), ("cuda", "onnxruntime-gpu")):
        with pytest.raises(RunError, match=f"pip install {package}$"):
            for_provider(provider, allow_fallback=True)


@pytest.mark.parametrize("where", ["here", "there"])
def test_two_packages_in_one_environment(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    both = {"onnxruntime": "1.32.0", **OPENVINO}
    if where == "here":
        play_here(monkeypatch, both, {"cpu", "openvino"})
    else:
        make(places["chosen"], both)
    with pytest.raises(RunError) as said:
        for_provider("openvino")
    for word in ("onnxruntime 1.32.0", "onnxruntime-openvino 9.8.7", "pip uninstall"):
        assert word in str(said.value)


@pytest.mark.parametrize("config", [True, False])
def test_a_python_that_is_too_old(places: dict[str, Path], config: bool) -> None:
    make(places["chosen"], OPENVINO, python="3.9", config=config)
    with pytest.raises(RunError, match=r"Python 3\.9.*3\.10"):
        for_provider("openvino")


def test_an_environment_that_lacks_a_package(places: dict[str, Path]) -> None:
    python = make(places["chosen"], OPENVINO, lacking=("mlcommons-loadgen", "onnx"))
    with pytest.raises(RunError) as said:
        for_provider("openvino")
    assert f"{python} -m pip install mlcommons-loadgen onnx" in str(said.value)


def test_an_environment_that_lacks_nothing_when_it_is_asked(places: dict[str, Path]) -> None:
    python = make(places["chosen"], OPENVINO, lacking=("onnx",))
    python.write_text("#!/bin/sh\necho\n")
    assert for_provider("openvino").python == python


def test_an_environment_that_does_not_start(places: dict[str, Path]) -> None:
    python = make(places["chosen"], OPENVINO, lacking=("onnx",))
    python.write_text("#!/no/such/interpreter\n")
    with pytest.raises(RunError, match=r"does not start.*Make it again"):
        for_provider("openvino")


def test_an_environment_with_another_package_is_named(places: dict[str, Path]) -> None:
    python = make(places["chosen"], {"onnxruntime": "1.30.0"})
    with pytest.raises(RunError, match=rf"not in .*{python}, onnxruntime 1\.30\.0"):
        for_provider("openvino")
    assert for_provider("openvino", allow_fallback=True).is_here


# --- the run ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(command: Command, tmp_path: Path) -> Command:
    """The command where an environment openvino is at hand: with ONNX Runtime for the CPU, under
    the name of the other package."""
    directory = tmp_path / "environments" / "openvino"
    add_package(make_like_ours(directory, "onnxruntime-"), "onnxruntime-openvino", "9.8.7")
    environ = {**command.environ, "LOADGEN_GENERIC_ENVIRONMENTS": str(directory.parent)}
    return Command(command.directory, environ)


def test_the_run_says_under_which_interpreter_it_measured(
    elsewhere: Command, models: Callable[[str], Path]
) -> None:
    flags = {"samples": 20, "allow_fallback": True, "ep": "openvino"}
    outcome = elsewhere.run(models("matmul"), **flags)
    python = str(Path(elsewhere.environ["LOADGEN_GENERIC_ENVIRONMENTS"], "openvino/bin/python"))
    assert outcome.effective["environment"] == {
        "name": "openvino",
        "python": python,
        "package": "onnxruntime-openvino 9.8.7",
    }
    assert outcome.result.packages["onnxruntime-openvino"] == "9.8.7"
    assert f"measured under the environment openvino ({python}" in outcome.stderr
    assert any(python in note for note in outcome.result.notes)


def test_here_it_says_so_too(command: Command) -> None:
    outcome = command.fake(samples=20)
    assert outcome.effective["environment"]["python"] == sys.executable
    assert not any("measured under" in note for note in outcome.result.notes)
    assert "onnxruntime-openvino" not in outcome.result.packages


def test_a_run_without_onnx_runtime_needs_no_environment(command: Command) -> None:
    assert command("run", **fake(), samples=20, ep="tensorrt").code == 0


def test_no_environment_is_said_before_anything_is_written(
    command: Command, models: Callable[[str], Path]
) -> None:
    if known()[1:]:
        pytest.skip("this checkout has environments of its own")
    for words in (["run", models("matmul")], ["inspect", models("matmul")]):
        outcome = command(*words, ep="openvino")
        assert outcome.code == 1
        assert "make venv EP=openvino" in outcome.stderr
        assert not outcome.run_dir.exists()


def test_a_model_is_inspected_where_its_provider_is(
    elsewhere: Command, models: Callable[[str], Path]
) -> None:
    outcome = elsewhere("inspect", models("matmul"), ep="openvino")
    # The stand-in is built without it, which only that interpreter can have said.
    assert outcome.code == 1
    assert "OpenVINOExecutionProvider" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert json.loads(elsewhere("inspect", models("matmul"), "--json").stdout)["inputs"]
