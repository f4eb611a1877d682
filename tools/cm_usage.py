"""How to run the script from CM, for README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["usage"]


def usage(meta: Mapping[str, Any]) -> str:
    """The section of the page that shows each way to run the script."""
    tags, words = ",".join(meta["tags"]), " ".join(meta["tags"])
    return f"""___
### Usage

#### CM installation

`make run` installs CM into `.venv` and keeps CM's state in `.cm`. To use this script from a CM
of your own:

```bash
pip install cmind==4.2.0 cmx4mlops==1.0.1
make register      # CM finds this checkout from now on; make unregister undoes it
```

`CM_REPOS` names the CM home, for both CM and `make register`; without it, it is `~/CM`. CM
remembers the Python it found first, so give each virtual environment a CM home of its own and
have its `bin` directory first on `PATH`.

#### CM script automation help

```bash
cm run script --tags={tags} --help
```

#### CM CLI

1. `cm run script --tags={tags}[,variations] [--input_flags]`

2. `cm run script "{words}[,variations]" [--input_flags]`

3. `cm run script {meta["uid"]} [--input_flags]`

* `variations` can be seen [here](#variations)

* `input_flags` can be seen [here](#script-flags-mapped-to-environment)

For example:

```bash
cm run script --tags={tags} --modelpath=model.onnx --scenario=SingleStream --quiet
cm run script --tags={tags},_demo --scenario=Server --target_qps=20 --quiet
cm run script --tags={tags},_custom,_huggingface,_model-stub.ORG/NAME --quiet
```

A value may hold any character: none of it passes through a shell. An unknown flag that is
nearly one of these is an error; CM itself ignores unknown flags. `cm` exits with 0 when there is
a result, VALID or not, with 2 when the request was wrong, with 130 after Ctrl-C, and otherwise
with 1.

#### CM Python API

```python
import cmind

r = cmind.access({{
    "action": "run",
    "automation": "script",
    "tags": "{tags}",
    "out": "con",
    "quiet": True,
    "modelpath": "model.onnx",
    "samples": 1000,
}})
if r["return"] > 0:
    print(r["error"])
else:
    print(r["new_env"]["CM_MLPERF_RESULT_VALUE"], r["new_state"]["mlperf_result"]["valid"])
```

#### CM GUI

```bash
cm run script --tags=gui --script="{tags}"
```

The form takes its fields from `input_description` in [_cm.yaml](_cm.yaml). The GUI that
cmx4mlops 1.0.1 ships does not start (its Python files have syntax errors).

#### CM modular Docker container

```bash
cm docker script --tags={tags}[,variations] [--input_flags]
```

CM builds an image and runs the same command in it, with the model and the output directory
mounted. The image holds CM's own repository, so register this checkout in it to run this script
rather than the one that CM ships. No test of this project covers this way."""
