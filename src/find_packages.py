"""Say as JSON what this Python lacks of what a run needs, without importing any of it.

Standard input holds ``provider``, the execution provider, or nothing for a run without ONNX
Runtime; ``allow_fallback``, ``backend``, ``dataset``, ``mode``, ``runner``, ``scenario``,
``trials_on`` and ``cuda``, the version that CM found. The answer:

* ``missing``: names of packages;
* ``install``: the extra whose ONNX Runtime package may be installed here, or ``none``;
* ``images``: whether the dataset holds any;
* ``search``: whether the run is a search that optuna makes proposals for;
* ``ray``: whether it is spread over a cluster that Ray runs;
* ``cuda``: the major version;
* ``error``: why the run is impossible, or nothing.
"""

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

OLDEST_PYTHON = (3, 10)
OLDEST_CUDA = 12  # for which there is an onnxruntime-gpu that the harness runs with
ASKED = ("allow_fallback", "backend", "dataset", "mode", "runner", "scenario", "trials_on")
YES = ("true", "yes", "on", "1", "t", "y")
IMAGES = (".jpg", ".jpeg", ".png")
SEARCHED_BY_LOAD = ("multistream", "server")  # by --mode find_peak, without optuna


def look(asked):
    """The answer, for the parsed question."""
    asked = {**dict.fromkeys(ASKED, ""), **asked}
    major = str(asked["cuda"]).partition(".")[0]
    answer = {"missing": [], "install": "none", "images": False, "search": False}
    answer["ray"] = "ray" in (str(asked[key]).strip().lower() for key in ("runner", "trials_on"))
    answer.update(cuda=major, error="")
    if sys.version_info < OLDEST_PYTHON:
        answer["error"] = (
            f"the Python that CM gives, {sys.executable}, is {sys.version.split()[0]}, and the "
            "benchmark needs 3.10 or newer. Ask CM for one: --adr.python.version_min=3.10"
        )
    elif major.isdigit() and int(major) < OLDEST_CUDA:
        answer["error"] = f"CUDA {asked['cuda']} is too old. Install CUDA {OLDEST_CUDA} or newer."
    else:
        answer["images"] = holds_images(str(asked["dataset"]))
        answer["search"] = is_search(asked)
        look_for_packages(asked, answer)
    return answer


def look_for_packages(asked, answer):
    from loadgen_generic.environments import NEEDED, for_provider, here
    from loadgen_generic.errors import RunError
    from loadgen_generic.provider_facts import facts_of

    # Folders where we are do not count as modules.
    sys.path[:] = [path for path in sys.path[1:] if path]
    modules = [*NEEDED.values(), "rich", "vl_convert"]
    modules += ["PIL"] * answer["images"] + ["optuna"] * answer["search"] + ["ray"] * answer["ray"]
    if str(asked["backend"]).strip().lower() == "kserve":
        modules += ["tritonclient", "grpc"]
    answer["missing"] = [name for name in modules if not is_module(name)]
    provider = str(asked["provider"])
    if not provider:
        return
    own, facts = here(), facts_of(provider)
    try:
        chosen = for_provider(provider, str(asked["allow_fallback"]).lower() in YES)
    except RunError as error:
        if own.packages:
            answer["error"] = str(error)
        else:
            answer["missing"].append("onnxruntime")
            answer["install"] = facts.extra or "cpu"
        return
    if chosen.is_here and facts.package in ("", *own.packages):
        # It is there; a dependency that runs all the same, for another package, finds it.
        answer["install"] = facts.extra or "none"
        if facts.cards and not is_distribution("cuda-bindings"):
            answer["missing"].append("cuda-bindings")


def holds_images(dataset):
    files = [dataset] if os.path.isfile(dataset) else Path(dataset).rglob("*") if dataset else ()
    return any(str(file).lower().endswith(IMAGES) for file in files)


def is_search(asked):
    mode, scenario = (str(asked[key]).strip().lower() for key in ("mode", "scenario"))
    return mode == "tune" or (mode == "find_peak" and scenario not in SEARCHED_BY_LOAD)


def is_module(name):
    spec = find_spec(name)
    return bool(spec and spec.origin)


def is_distribution(name):
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    print(json.dumps(look(json.load(sys.stdin))))
