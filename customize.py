"""CM's hooks: hand the request to the harness as a file, and its answer to the caller.

CM writes every value in ``env`` into shell scripts unescaped, for this script and for
each dependency. So ``predeps`` takes everything the user typed out of CM's hands before
any script is written, ``preprocess`` puts it into a JSON file, and ``run.sh`` gets no
more than the paths of that file and of the harness, through the process environment.

CM may run this file under another Python than the harness: standard library only.
"""

from __future__ import annotations

import atexit
import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["postprocess", "predeps", "preprocess"]

Values = Mapping[str, Any]

PREFIX = "CM_"
MODEL = PREFIX + "MODEL"
MODEL_FILE = PREFIX + "ML_MODEL_FILE_WITH_PATH"
MODEL_STUB = PREFIX + "ML_MODEL_STUB"
MODEL_SOURCE = PREFIX + "CUSTOM_MODEL_SOURCE"
BACKEND = PREFIX + "MLPERF_BACKEND"
DEVICE = PREFIX + "MLPERF_DEVICE"
HEADER = PREFIX + "MLPERF_HEADER"  # has secrets in it
EXECUTION_MODE = PREFIX + "MLPERF_EXECUTION_MODE"
RESULT = PREFIX + "MLPERF_RESULT_"
INPUT_NAME = PREFIX + "ML_MODEL_INPUT_LAYER_NAME"
EXPECTED = PREFIX + "LOADGEN_GENERIC_MODEL_"  # keys of a variation: what its model expects
OURS = PREFIX + "LOADGEN_GENERIC_"
IMAGES = OURS + "IMAGES"
PACKAGES_FOUND = PREFIX + "LOADGEN_GENERIC_PACKAGES_FOUND"
ONNXRUNTIME = PREFIX + "LOADGEN_GENERIC_ONNXRUNTIME"  # which package CM may install, or none
CUDA_MAJOR = PREFIX + "LOADGEN_GENERIC_CUDA"
PYTHON = PREFIX + "PYTHON_BIN_WITH_PATH"
STARTED_IN = PREFIX + "TMP_CURRENT_PATH"

# Where the hooks of one run keep what they share: the one dict CM passes to all three.
SESSION = "loadgen_generic"
REQUEST_VARIABLE = "LOADGEN_GENERIC_REQUEST"
MAIN_VARIABLE = "LOADGEN_GENERIC_MAIN"
PATH_FLAGS = ("modelpath", "output_dir", "dataset", "verify", "user_conf", "audit", "tls_ca")
NO_MODEL = ("fake", "kserve")  # backends without a model here
PLACEHOLDER = "given"  # stays in env of a value that a dependency's condition looks at
SOURCES = Path(__file__).resolve().parent / "src"

# What ends or changes the text of `export KEY="value"` (or `set KEY=value`).
UNSAFE = re.compile(r'["%^&|<>\r\n]' if os.name == "nt" else r'["$`\\\r\n]')
PLAIN_KEY = re.compile(r"\+\W?\w+|\w+", re.ASCII)
# CM's scripts leave the path of Python unquoted.
SPLITS_COMMAND = re.compile(r"[\s'()*?\[\]{};&|<>#~!]")

# CM or a dependency works with these, so they cannot be kept from its scripts.
REFUSED_IF_UNSAFE = {
    STARTED_IN: "the directory that cm was started in",
    PREFIX + "OUTDIRNAME": "--outdirname",
    MODEL_STUB: "the variation _model-stub",
    MODEL: MODEL,
    DEVICE: DEVICE,
}

CM_FLAGS = frozenset({"output", "outdirname", "recursion", "repro_dir"})  # CM's, though like ours


def predeps(i: dict[str, Any]) -> dict[str, Any]:
    """Take what the user typed out of CM's env before any shell script is written."""
    env, const, meta, given = i["env"], i["run_script_input"]["const"], i["meta"], i["input"]
    mapping: dict[str, str] = meta["input_mapping"]
    current = {**env, **const}
    problem = _mistyped_flag(given, mapping, i["customize"]["schema_names"])
    problem = problem or _refused(current) or _unusable_python(current, given)
    if problem:
        return _error(problem, 2)

    options = _options(given, current, mapping)
    mode = str(current.get(EXECUTION_MODE, "")).lower()
    if "execmode" not in options and mode not in ("", meta["default_env"][EXECUTION_MODE]):
        options["execmode"] = mode
    backend = str(options.get("backend", "")).lower()
    if "modelpath" not in options and backend not in NO_MODEL and not _names_model(current, given):
        return _error(meta["no_model"], 2)

    mapped = {key: current[key] for key in mapping.values() if key in current}
    foreign = {key: v for key, v in current.items() if key not in mapped and _is_unsafe(key, v)}
    for key in [*mapped, *foreign]:
        env.pop(key, None)
        const.pop(key, None)
    # These decide which dependencies run.
    known = meta["input_description"]["backend"]["choices"]
    env[BACKEND] = backend if backend in known else PLACEHOLDER
    if "modelpath" in options:
        env[MODEL_FILE] = PLACEHOLDER

    for flag in PATH_FLAGS:
        if flag in options and not (flag == "verify" and options[flag] in ("data", "reference")):
            options[flag] = os.path.join(env[STARTED_IN], _text(options[flag]))
    i["run_script_input"][SESSION] = {"options": options, "mapped": mapped, "foreign": foreign}
    return {"return": 0}


def preprocess(i: dict[str, Any]) -> dict[str, Any]:
    """Write the request, and tell run.sh where it is."""
    env, session = i["env"], i["run_script_input"][SESSION]
    options: dict[str, Any] = session["options"]
    problem = _look_for_packages(env, options, i["input"], i["meta"])
    if problem:
        return _error(problem)

    downloaded = str(env.get(MODEL_FILE, ""))
    if "modelpath" not in options and downloaded:
        options.update(_expected(env, options, i["meta"]["variations"]), modelpath=downloaded)
    if "modelpath" not in options and str(env.get(MODEL, "")).lower() == "demo":
        options["model"] = "demo"

    directory = Path(tempfile.mkdtemp(prefix="loadgen-generic-")).resolve()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)  # should postprocess not run
    request = directory / "request.json"
    content = {"options": options, "report": str(directory / "report.json")}
    request.write_text(json.dumps(content, default=_text), encoding="utf-8")

    foreign = {key: _text(value) for key, value in session["foreign"].items()}
    handed = {k: v for k, v in foreign.items() if k.isidentifier() and "\0" not in v}
    handed[REQUEST_VARIABLE] = str(request)
    handed[MAIN_VARIABLE] = str(SOURCES / "main.py")
    session.update(directory=directory, environ={key: os.environ.get(key) for key in handed})
    os.environ.update(handed)
    if env[PACKAGES_FOUND] == "yes":  # otherwise pip comes first, and has to be interruptible
        session["sigint"] = _let_shells_ignore_interrupts()
    return {"return": 0}


def postprocess(i: dict[str, Any]) -> dict[str, Any]:
    """Give the caller the result, or the reason why there is none."""
    env, session = i["env"], i["run_script_input"][SESSION]
    for variable in session["environ"]:
        os.environ.pop(variable, None)
    os.environ.update({k: v for k, v in session["environ"].items() if v is not None})
    if session.get("sigint") is not None:
        signal.signal(signal.SIGINT, session["sigint"])
    report = _read_report(session["directory"])
    shutil.rmtree(session["directory"], ignore_errors=True)

    new = {**session["mapped"], **session["foreign"]}
    if "result_json" in report:  # also after a failed verification
        result = json.loads(Path(report["result_json"]).read_text(encoding="utf-8"))
        new[RESULT + "JSON"] = report["result_json"]
        new[RESULT + "VALID"] = {True: "yes", False: "no", None: "not judged"}[result["valid"]]
        for key, part in {"METRIC": "name", "VALUE": "value", "UNIT": "unit"}.items():
            new[RESULT + key] = str(result["metric"][part])
        i["state"]["mlperf_result"] = result
    # --shell and --save_env make CM write one more script, of what is in env at the end.
    scripted = i["input"].get("shell") or i["input"].get("save_env")
    env.update({k: v for k, v in new.items() if not (scripted and _is_unsafe(k, v))})
    ok = report["status"] == "ok"
    return {"return": 0} if ok else _error(report["error"], report["exit_code"])


def _options(given: Values, current: Values, mapping: Mapping[str, str]) -> dict[str, Any]:
    """Flag to value as it was given; CM itself replaces parts of what it keeps in env."""
    typed = {key.replace("-", "_"): value for key, value in given.items()}
    values = {flag: typed.get(flag, current.get(key)) for flag, key in mapping.items()}
    return {flag: value for flag, value in values.items() if value is not None and value != ""}


def _expected(env: Values, options: Values, variations: Values) -> dict[str, Any]:
    """What the model of a variation expects of its samples, where the user leaves it open."""
    facts = variations.get(str(env.get(MODEL, "")).lower(), {}).get("env", {})
    if "dataset" not in options:
        name, span = env.get(INPUT_NAME), facts.get(EXPECTED + "RANGE")
        taken = {"range", "fill", "distribution"} & options.keys() or env[BACKEND] == "fake"
        return {"range": {name: span}} if name and span and not taken else {}
    expected = {"label_offset": facts.get(EXPECTED + "LABEL_OFFSET")}
    if env[IMAGES] == "yes" and not any(flag.startswith("image_") for flag in options):
        expected["image_preset"] = facts.get(EXPECTED + "IMAGE_PRESET")
    return {flag: v for flag, v in expected.items() if v is not None and flag not in options}


def _mistyped_flag(
    given: Values, mapping: Mapping[str, str], schema_names: Mapping[str, str]
) -> str:
    """What is wrong with a flag that is nearly one of ours: CM ignores it silently."""
    for key in given:
        flag = key.replace("-", "_")
        if flag in mapping or flag in CM_FLAGS:
            continue
        near = difflib.get_close_matches(flag, mapping, n=1, cutoff=0.75)
        right = schema_names.get(flag) or next(iter(near), "")
        if right:
            return f"--{key}: there is no such flag; use --{right}"
    return ""


def _refused(current: Values) -> str:
    for key, name in REFUSED_IF_UNSAFE.items():
        found = UNSAFE.findall(str(current.get(key, "")))
        if found:
            return (
                f"{name}: {current[key]!r} contains {' '.join(map(repr, sorted(set(found))))}, "
                "which CM's shell scripts would act on. Use a name without it."
            )
    return ""


def _unusable_python(current: Values, given: Values) -> str:
    """CM would skip such a Python and install packages into the next one on PATH."""
    python = str(current.get(PYTHON) or shutil.which("python3") or "")
    found = UNSAFE.findall(python) or SPLITS_COMMAND.findall(python)
    if os.name != "posix" or not found or _adjusted(given) & {"python", "python3"}:
        return ""
    return (
        f"CM cannot start {python}: its path contains {found[0]!r}. Move the virtual environment "
        "to a path without it, or put another one first on PATH."
    )


def _names_model(current: Values, given: Values) -> bool:
    model = str(current.get(MODEL, "")).lower()
    if model == "custom" and current.get(MODEL_SOURCE) == "huggingface":
        return bool(current.get(MODEL_STUB)) or "hf-downloader" in _adjusted(given)
    return model in ("demo", "resnet50", "retinanet")


def _is_unsafe(key: str, value: object) -> bool:
    return key == HEADER or not PLAIN_KEY.fullmatch(key) or bool(UNSAFE.search(str(value)))


def _adjusted(given: Values) -> set[str]:
    """Names of the dependencies that the user adjusts, as in --adr.onnx.version=1.16.0."""
    spellings = ("ad", "adr", "add_deps", "add_deps_recursive")
    return {name for spelling in spellings for name in given.get(spelling) or {}}


def _look_for_packages(env: dict[str, Any], options: Values, given: Values, meta: Values) -> str:
    """Decide which packages CM has to see to; returns why no run is possible, or nothing."""
    asked = {"cuda": env.get(PREFIX + "CUDA_VERSION", ""), "ep": "cpu", **options}
    asked["provider"] = "" if env[BACKEND] in NO_MODEL else asked["ep"]
    look = [str(env.get(PYTHON)), str(SOURCES / "find_packages.py")]
    question = json.dumps(asked, default=_text).encode()
    try:
        done = subprocess.run(look, input=question, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return (
            f"the Python that CM gives, {env.get(PYTHON)}, does not start ({error}). "
            "Make CM look again: cm rm cache --tags=get,python3 -f"
        )
    # What the user asks of a package, CM sees to in its dependency.
    adjusted = _adjusted(given) & {name for dep in meta["prehook_deps"] for name in dep["names"]}
    env[PACKAGES_FOUND] = "no" if found["missing"] or adjusted else "yes"
    for name in ("images", "search", "ray"):  # conditions of dependencies
        env[OURS + name.upper()] = "yes" if found[name] else "no"
    env[ONNXRUNTIME], env[CUDA_MAJOR] = found["install"], found["cuda"]
    return str(found["error"])


def _let_shells_ignore_interrupts() -> Any:
    """Keep the shells between CM and the harness alive over Ctrl-C; returns the old handler.

    The shell that CM starts would die of it, and CM would go on before the harness, which
    takes its handler back, has ended the test and said so.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_report(directory: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((directory / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        status = directory / "status"
        how = status.read_text("utf-8").strip() if status.exists() else "unknown"
        return {
            "status": "error",
            "exit_code": 1,
            "error": f"the benchmark ended without a report (exit status {how}). What it "
            "printed last, above, says why; 137: it was killed, mostly for want of memory.",
        }
    return report


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)


def _error(message: str, code: int = 1) -> dict[str, Any]:
    return {"return": code, "error": message}
