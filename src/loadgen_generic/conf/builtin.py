"""The mlperf.conf that is built into LoadGen.

LoadGen applies it and does not show it, and takes a model that it does not know for ``*``. Its
text stands in the library file as it is, so it is read from there: no copy of ours can be older
than the LoadGen that is installed.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from loadgen_generic.conf.files import SCENARIOS, Conf, Setting, nearest
from loadgen_generic.conf.keys import ANY
from loadgen_generic.errors import RequestError, RunError

__all__ = ["builtin_conf", "check_model", "model_names"]

_LINE = re.compile(
    rb"^([\w.*-]+)\.(\*|" + "|".join(SCENARIOS).encode() + rb")\.(\w+) = (\S+)$", re.MULTILINE
)


@cache
def builtin_conf() -> Conf:
    """What LoadGen's own mlperf.conf says.

    Raises:
        RunError: the installed LoadGen does not hold it as text.
    """
    spec = find_spec("mlperf_loadgen")
    library = Path(spec.origin) if spec is not None and spec.origin else None
    found = _LINE.findall(library.read_bytes()) if library is not None else []
    if not found:
        raise RunError(f"cannot find the built-in mlperf.conf of LoadGen in {library}")
    lines = [tuple(part.decode() for part in each) for each in found]
    return Conf(
        tuple(
            Setting(model, scenario, key, text, line)
            for line, (model, scenario, key, text) in enumerate(lines, start=1)
        )
    )


def model_names() -> tuple[str, ...]:
    """The models that it knows, in its order."""
    return tuple(dict.fromkeys(s.model for s in builtin_conf().settings if s.model != ANY))


def check_model(name: str) -> None:
    """Raises:
    RequestError: LoadGen has no settings for a model of this name.
    """
    names = model_names()
    if name in names:
        return
    near = nearest(name, names)
    raise RequestError(
        "LoadGen's mlperf.conf has no such model.",
        flag="mlperf_model",
        value=name,
        remedy=(f"Did you mean {near}? " if near else "") + f"Known are {', '.join(names)}.",
    )
