"""customize.py by itself: what it takes from CM's env, and what it gives back."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
META = yaml.safe_load((ROOT / "_cm.yaml").read_text(encoding="utf-8"))
MAPPING: dict[str, str] = META["input_mapping"]

# All that a shell might act on, and all that JSON or an encoding might trip over.
any_text = st.text() | st.text(alphabet="$(){}`'\"\\;&|<>!*?~# \n\r\tné\udc80", min_size=1)


def load() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("customize", ROOT / "customize.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


customize = load()
REAL_LOOK = customize._look_for_packages
# What src/find_packages.py answers where all is there.
FOUND = {
    "missing": [],
    "install": "cpu",
    "images": False,
    "search": False,
    "ray": False,
    "cuda": "",
    "error": "",
}


class Run:
    """The three hooks, called the way CM calls them."""

    def __init__(self, env: dict[str, Any] | None = None, **flags: Any) -> None:
        const = {MAPPING[flag]: flags[flag] for flag in flags if flag in MAPPING}
        self.env = {
            **META["default_env"],
            "CM_TMP_CURRENT_PATH": "/started/here",
            "CM_MLPERF_DEVICE": "cpu",
            "CM_MODEL": "demo",
            "CM_PYTHON_BIN_WITH_PATH": sys.executable,
            **(env or {}),
            **const,
        }
        self.state: dict[str, Any] = {}
        self.script_input: dict[str, Any] = {"const": const}
        self.input = {"tags": "app", "quiet": True, **flags}

    def hook(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(customize, name)(
            {
                "env": self.env,
                "state": self.state,
                "meta": META,
                "customize": META["customize"],
                "input": copy.deepcopy(self.input),
                "run_script_input": self.script_input,
            }
        )
        return answer

    def request(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            Path(os.environ["LOADGEN_GENERIC_REQUEST"]).read_text()
        )
        return content

    def options(self) -> dict[str, Any]:
        """What the harness is asked for, after a whole run that found no harness."""
        assert self.hook("predeps") == {"return": 0}
        assert self.hook("preprocess") == {"return": 0}
        options: dict[str, Any] = self.request()["options"]
        self.hook("postprocess")
        return options


@pytest.fixture(autouse=True)
def packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(env: dict[str, Any], *_: object) -> str:
        env.update(CM_LOADGEN_GENERIC_PACKAGES_FOUND="yes", CM_LOADGEN_GENERIC_IMAGES="no")
        return ""

    monkeypatch.setattr(customize, "_look_for_packages", look)


# ---- what shells get to see ----------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(MAPPING)), any_text, min_size=1))
def test_nothing_typed_stays_in_env(flags: dict[str, str]) -> None:
    marked = {flag: "MARK" + value for flag, value in flags.items()}
    run = Run(**marked)
    assert run.hook("predeps")["return"] == 0
    assert "MARK" not in repr([run.env, run.script_input["const"]])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(min_size=1), any_text | st.lists(any_text), min_size=1))
def test_no_other_env_value_or_key_can_break_a_script(env: dict[str, Any]) -> None:
    run = Run(env)
    if run.hook("predeps")["return"] == 0:
        for key, value in run.env.items():
            assert re.fullmatch(r"\+?\W?\w+", key, re.ASCII)
            assert not set('"$`\\\n\r') & set(str(value))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(set(MAPPING) - set(customize.PATH_FLAGS))), any_text))
def test_the_harness_gets_what_was_typed(flags: dict[str, str]) -> None:
    options = Run(**flags).options()
    assert {flag: options.get(flag, "") for flag in flags} == flags


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_bash_agrees(tmp_path: Path) -> None:
    """The export lines that CM writes, run by bash, change nothing and start nothing."""
    evil = 'x"; touch A; echo "$(touch B)`touch C`\\'
    run = Run({"FOREIGN": evil, "X;touch D": "1"}, modelpath=evil, samples=evil)
    assert run.hook("predeps")["return"] == 0
    script = "".join(f'export {key}="{value}"\n' for key, value in run.env.items())
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["CM_TMP_CURRENT_PATH", "CM_ML_MODEL_STUB", "CM_OUTDIRNAME"])
def test_what_cannot_be_hidden_is_refused(key: str) -> None:
    run = Run({key: "a$(touch X)"})
    before = dict(run.env)
    answer = run.hook("predeps")
    assert answer["return"] == 2
    assert "$" in answer["error"]
    assert run.env == before


# ---- the request ----------------------------------------------------------------------


def test_values_keep_their_types() -> None:
    flags = {"samples": 10, "loadgen_expected_qps": 2.5, "dim": {"N": 4}, "seed": True}
    options = Run(**flags, runner=["a", 1], modelpath=Path("m.onnx")).options()
    assert {flag: options[flag] for flag in flags} == flags
    assert options["runner"] == ["a", 1]
    assert options["modelpath"] == os.path.join("/started/here", "m.onnx")


def test_paths_are_relative_to_where_cm_was_started() -> None:
    given = {
        "output_dir": "out",
        "dataset": "data",
        "user_conf": "my.conf",
        "audit": "audit.config",
        "tls_ca": "ca.crt",
    }
    options = Run(modelpath="/abs/m.onnx", **given).options()
    assert options["modelpath"] == "/abs/m.onnx"
    for flag, path in given.items():
        assert options[flag] == os.path.join("/started/here", path)


def test_verify_is_a_path_unless_it_is_a_word() -> None:
    assert Run(verify="data").options()["verify"] == "data"
    assert Run(verify="reference").options()["verify"] == "reference"
    other = Run(verify="other.onnx").options()["verify"]
    assert other == os.path.join("/started/here", "other.onnx")


def test_empty_values_are_left_out() -> None:
    assert Run(samples="", seed=None).options() == {"backend": "onnxruntime", "model": "demo"}


def test_typed_flag_beats_env_and_variation() -> None:
    run = Run(ep="cpu")
    run.env["CM_MLPERF_EXECUTION_PROVIDER"] = "CUDAExecutionProvider"  # as _cuda sets it
    assert run.options()["ep"] == "cpu"


def test_placeholders_of_cm_are_no_matter() -> None:
    """CM replaces <<<KEY>>> in what it keeps; the file may really be called so."""
    run = Run(modelpath="<<<HOME>>>.onnx")
    run.env[MAPPING["modelpath"]] = run.script_input["const"][MAPPING["modelpath"]] = "/replaced"
    assert run.options()["modelpath"].endswith("<<<HOME>>>.onnx")


@pytest.mark.parametrize(
    ("env", "flags", "expected"),
    [
        ({}, {}, None),
        ({"CM_MLPERF_EXECUTION_MODE": "parallel"}, {}, None),
        ({"CM_MLPERF_EXECUTION_MODE": "sequential"}, {}, "sequential"),
        ({"CM_MLPERF_EXECUTION_MODE": "sequential"}, {"execmode": "parallel"}, "parallel"),
        ({"CM_MLPERF_EXEC_MODE": "parallel"}, {}, "parallel"),
        ({"CM_MLPERF_EXECUTION_MODE": "sequential"}, {"execmode": "auto"}, "auto"),
    ],
)
def test_execution_mode(env: dict[str, str], flags: dict[str, str], expected: str | None) -> None:
    assert Run(env, **flags).options().get("execmode") == expected


def test_a_model_that_cm_fetched_is_used_unless_a_file_was_named() -> None:
    for flags, expected in (({}, "/fetched.onnx"), ({"modelpath": "/mine.onnx"}, "/mine.onnx")):
        run = Run({"CM_MODEL": "resnet50"}, **flags)
        assert run.hook("predeps") == {"return": 0}
        if not flags:
            run.env["CM_ML_MODEL_FILE_WITH_PATH"] = "/fetched.onnx"  # as the dependency does
        run.hook("preprocess")
        assert run.request()["options"]["modelpath"] == expected
        run.hook("postprocess")


def test_conditions_of_dependencies_see_a_file_and_a_backend() -> None:
    run = Run(modelpath="no", backend="OnnxRuntime")
    run.hook("predeps")
    assert run.env["CM_ML_MODEL_FILE_WITH_PATH"] not in ("", "no", "off", "false", "0")
    assert run.env["CM_MLPERF_BACKEND"] == "onnxruntime"


# ---- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["", "custom", "resnet", "yes"])
def test_no_model(model: str) -> None:
    answer = Run({"CM_MODEL": model}).hook("predeps")
    assert answer["return"] == 2
    assert "--modelpath" in answer["error"]
    assert "_demo" in answer["error"]


@pytest.mark.parametrize("backend", ["fake", "kserve"])
def test_some_backends_need_no_model(backend: str) -> None:
    assert "model" not in Run({"CM_MODEL": ""}, backend=backend).options()
    by_variation = Run({"CM_MODEL": "", "CM_MLPERF_BACKEND": backend})
    assert by_variation.options() == {"backend": backend}
    assert by_variation.env["CM_MLPERF_BACKEND"] == backend


@pytest.mark.parametrize("name", sorted(META["customize"]["schema_names"]))
def test_names_of_the_schema_lead_to_the_flag(name: str) -> None:
    answer = Run(**{name: "1"}).hook("predeps")
    assert answer["return"] == 2
    assert f"--{name}" in answer["error"]
    assert f"--{META['customize']['schema_names'][name]}" in answer["error"]


def test_flags_of_cm_are_no_mistakes() -> None:
    """Every input that CM documents for `cm run script`, and those it passes to itself."""
    import cmx4mlops

    automation = Path(cmx4mlops.__file__).parent / "repo" / "automation" / "script"
    documented = set()
    for module in ("module.py", "module_misc.py"):
        text = (automation / module).read_text(encoding="utf-8")
        documented |= set(re.findall(r"^ +\(?(\w+)\)? \(\w+[^)]*\): ", text, re.MULTILINE))
        documented |= set(re.findall(r"\bi\.get\(\s*'(\w+)'", text))
    assert {"quiet", "repro_dir", "outdirname", "docker_os"} <= documented
    for name in sorted(documented - set(MAPPING)):
        run = Run()
        run.input[name] = {}
        assert run.hook("predeps") == {"return": 0}


@pytest.mark.skipif(os.name == "nt", reason="POSIX paths")
@pytest.mark.parametrize("character", [" ", "'", "$", ";", "(", "*"])
def test_python_at_a_path_that_cm_leaves_unquoted(character: str) -> None:
    python = f"/a{character}b/python3"
    answer = Run({"CM_PYTHON_BIN_WITH_PATH": python}).hook("predeps")
    assert answer["return"] == 2
    assert python in answer["error"]


# ---- the answer -----------------------------------------------------------------------

RESULT = {"valid": True, "metric": {"name": "latency", "value": 1.5, "unit": "ns"}, "more": [1]}


def finish(run: Run, report: object, tmp_path: Path, result: object = RESULT) -> dict[str, Any]:
    """The run from its start to postprocess, with ``report`` as the harness's answer."""
    assert run.hook("predeps") == {"return": 0}
    assert run.hook("preprocess") == {"return": 0}
    (tmp_path / "result.json").write_text(json.dumps(result))
    if report is not None:
        text = report if isinstance(report, str) else json.dumps(report)
        Path(run.request()["report"]).write_text(text)
    return run.hook("postprocess")


def ok(tmp_path: Path) -> dict[str, str]:
    return {"status": "ok", "result_json": str(tmp_path / "result.json")}


@pytest.mark.parametrize(("valid", "said"), [(True, "yes"), (False, "no"), (None, "not judged")])
def test_result(tmp_path: Path, valid: bool | None, said: str) -> None:
    run = Run(samples=7, output_dir="a$b")
    result = {**RESULT, "valid": valid}
    assert finish(run, ok(tmp_path), tmp_path, result) == {"return": 0}
    assert run.state["mlperf_result"] == result
    assert {k: v for k, v in run.env.items() if k.startswith("CM_MLPERF_RESULT_")} == {
        "CM_MLPERF_RESULT_JSON": str(tmp_path / "result.json"),
        "CM_MLPERF_RESULT_VALID": said,
        "CM_MLPERF_RESULT_METRIC": "latency",
        "CM_MLPERF_RESULT_VALUE": "1.5",
        "CM_MLPERF_RESULT_UNIT": "ns",
    }
    assert run.env["CM_MLPERF_LOADGEN_SAMPLES"] == 7
    assert run.env["CM_MLPERF_OUTPUT_DIR"] == "a$b"
    assert run.env["CM_MLPERF_BACKEND"] == "onnxruntime"


def test_failed_verification_is_an_error_with_a_result(tmp_path: Path) -> None:
    run = Run(samples=7)
    report = ok(tmp_path) | {"status": "error", "exit_code": 1, "error": "sample 3 differs"}
    assert finish(run, report, tmp_path) == {"return": 1, "error": "sample 3 differs"}
    assert run.state["mlperf_result"] == RESULT
    assert run.env["CM_MLPERF_RESULT_VALUE"] == "1.5"


@pytest.mark.parametrize("code", [1, 2, 130])
def test_error(tmp_path: Path, code: int) -> None:
    run = Run({"FOREIGN": "$x"}, samples=7)
    report = {"status": "error", "exit_code": code, "error": "told so"}
    assert finish(run, report, tmp_path) == {"return": code, "error": "told so"}
    assert "mlperf_result" not in run.state
    assert run.env["FOREIGN"] == "$x"
    assert run.env["CM_MLPERF_LOADGEN_SAMPLES"] == 7


@pytest.mark.parametrize("report", [None, "", '{"status": "o'])
def test_no_report(tmp_path: Path, report: str | None) -> None:
    answer = finish(Run(), report, tmp_path)
    assert answer["return"] == 1
    assert "without a report" in answer["error"]


@pytest.mark.parametrize("flag", ["shell", "save_env"])
def test_what_cm_would_script_at_the_end_stays_away(tmp_path: Path, flag: str) -> None:
    run = Run(output_dir="$(touch X)", **{flag: True})
    assert finish(run, ok(tmp_path), tmp_path) == {"return": 0}
    assert "touch" not in repr(run.env)


@pytest.mark.parametrize("flag", ["shell", "save_env"])
def test_headers_are_in_no_script(tmp_path: Path, flag: str) -> None:
    run = Run(backend="kserve", header="authorization=secret", **{flag: True})
    assert run.hook("predeps") == {"return": 0}
    assert "secret" not in repr([run.env, run.script_input["const"]])
    assert finish(run, ok(tmp_path), tmp_path) == {"return": 0}
    assert "secret" not in repr(run.env)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    handler, environ = signal.getsignal(signal.SIGINT), dict(os.environ)
    run = Run({"FOREIGN": "$x"})
    assert run.hook("predeps") == {"return": 0}
    assert run.hook("preprocess") == {"return": 0}
    directory = Path(os.environ["LOADGEN_GENERIC_REQUEST"]).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert os.environ["FOREIGN"] == "$x", "the harness gets it, past the scripts"
    run.hook("postprocess")
    assert not directory.exists()
    assert (signal.getsignal(signal.SIGINT), dict(os.environ)) == (handler, environ)


# ---- the way to the harness -----------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_run_sh_with_any_path(tmp_path: Path) -> None:
    """A checkout and a temporary directory at odd places; the status is kept for CM."""
    place = tmp_path / "a b\"c'$(touch X)`touch Y`"
    place.mkdir()
    (place / "main.py").write_text("import sys; print('got', sys.argv[1]); sys.exit(3)")
    environ = {
        "CM_PYTHON_BIN_WITH_PATH": sys.executable,
        "LOADGEN_GENERIC_MAIN": str(place / "main.py"),
        "LOADGEN_GENERIC_REQUEST": str(place / "request.json"),
    }
    command = ["bash", str(ROOT / "run.sh")]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout == f"got {place / 'request.json'}\n"
    assert (place / "status").read_text().strip() == "3"
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_main_says_which_package_is_missing(tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.json"
    request.write_text(json.dumps({"options": {}, "report": str(report)}))
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pydantic'] = None")
    command = [sys.executable, str(ROOT / "src" / "main.py"), str(request)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode == 1
    answer = json.loads(report.read_text())
    assert answer["status"] == "error"
    assert answer["exit_code"] == 1
    assert "pydantic" in answer["error"]
    assert "pip install" in answer["error"]


def looked_for(
    found: dict[str, Any], env: dict[str, str] | None = None, /, **flags: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The question that preprocess asks, and what it makes of the answer in CM's env."""
    asked: list[dict[str, Any]] = []

    def answered(_: object, input: bytes, **__: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(json.loads(input))
        return subprocess.CompletedProcess([], 0, json.dumps({**FOUND, **found}).encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customize, "_look_for_packages", REAL_LOOK)
        patch.setattr(customize.subprocess, "run", answered)
        run = Run(env, **flags)
        assert run.hook("predeps") == {"return": 0}
        answer = run.hook("preprocess")
        if answer == {"return": 0}:
            run.hook("postprocess")
    (question,) = asked
    return question, {**run.env, "answer": answer}


def test_what_is_asked_of_the_python_that_cm_gives() -> None:
    asked, env = looked_for({}, {"CM_CUDA_VERSION": "12.4"}, dataset="photos", allow_fallback=True)
    assert asked["provider"] == "cpu"
    assert asked["cuda"] == "12.4"
    assert asked["dataset"] == os.path.join("/started/here", "photos")
    assert asked["allow_fallback"] is True
    assert asked.keys().isdisjoint({"mode", "scenario"})  # as they were not given
    assert env["CM_LOADGEN_GENERIC_PACKAGES_FOUND"] == "yes"
    assert looked_for({}, backend="fake")[0]["provider"] == ""
    served, _ = looked_for({}, backend="kserve")
    assert (served["provider"], served["backend"]) == ("", "kserve")
    assert looked_for({}, ep="\0$(x)")[0]["provider"] == "\0$(x)"
    searched, _ = looked_for({}, {"CM_MLPERF_LOADGEN_SCENARIO": "Server"}, mode="tune")
    assert (searched["mode"], searched["scenario"]) == ("tune", "Server")
    by_variation = {"CM_MLPERF_EXECUTION_PROVIDER": "OpenVINOExecutionProvider"}
    assert looked_for({}, by_variation)[0]["provider"] == "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("found", "flags", "env"),
    [
        ({"missing": ["numpy"]}, {}, {"PACKAGES_FOUND": "no", "ONNXRUNTIME": "cpu"}),
        ({"install": "none"}, {}, {"PACKAGES_FOUND": "yes", "ONNXRUNTIME": "none"}),
        ({"images": True, "cuda": "12"}, {}, {"IMAGES": "yes", "CUDA": "12"}),
        ({"search": True}, {"mode": "tune"}, {"SEARCH": "yes", "IMAGES": "no"}),
        ({"ray": True}, {"runner": "ray"}, {"RAY": "yes", "SEARCH": "no"}),
        ({}, {}, {"SEARCH": "no"}),
        ({}, {"adr": {"onnx": {"version": "1"}}}, {"PACKAGES_FOUND": "no", "IMAGES": "no"}),
    ],
)
def test_what_the_dependencies_are_told(
    found: dict[str, Any], flags: dict[str, Any], env: dict[str, str]
) -> None:
    _, told = looked_for(found, **flags)
    assert {key: told[f"CM_LOADGEN_GENERIC_{key}"] for key in env} == env


def test_no_run_is_possible() -> None:
    _, told = looked_for({"error": "--ep x: do y"})
    assert told["answer"] == {"return": 1, "error": "--ep x: do y"}


def test_python_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    run = Run({"CM_PYTHON_BIN_WITH_PATH": "/gone/python3"})
    assert run.hook("predeps") == {"return": 0}
    answer = run.hook("preprocess")
    assert answer["return"] == 1
    assert "/gone/python3" in answer["error"]
    assert "cm rm cache" in answer["error"]
