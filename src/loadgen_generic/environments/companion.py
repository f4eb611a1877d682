"""An environment that has a package which is no ONNX Runtime as well as the execution provider."""

from __future__ import annotations

import importlib.util
import subprocess

from loadgen_generic.environments.choosing import how_to_make, named
from loadgen_generic.environments.reading import Environment
from loadgen_generic.errors import RunError

__all__ = ["environment_with"]

# A folder of that name, where we happen to be, has no origin.
_LOOK = (
    "import importlib.util as u, sys; f = u.find_spec(sys.argv[1]); sys.exit(not (f and f.origin))"
)
_PATIENCE_SEC = 60.0


def environment_with(
    module: str, own: str, usual: Environment, provider: str | None, why: str
) -> Environment:
    """The usual environment if it has the module, else the one that is made for it.

    Args:
        module: a package of the same name brings it.
        own: name of the environment that is made for it.
        usual: where a run would measure without it.
        provider: the execution provider that has to be there as well; None for any.
        why: what needs the module, in words.

    Raises:
        RunError: neither has both the module and the provider; names the remedy.
    """
    if _has(usual, module):
        return usual
    other = named(own)
    if other is not None and _has(other, module):
        if provider is None or other.has(provider):
            return other
        raise RunError(
            f"{module} is in {other.in_words()}, which has no {provider}, and that is in "
            f"{usual.in_words()}, which has no {module}. Install it there: "
            f"{usual.python} -m pip install {module}"
        )
    where = f"{usual.python} has none" if usual.is_here else f"{usual.in_words()} has none"
    raise RunError(
        f"{why} needs the package {module}, and {where}. Give it an environment of its own, since "
        f"it brings many others: {how_to_make(own, f'{module} onnxruntime')}"
    )


def _has(environment: Environment, module: str) -> bool:
    if environment.is_here:
        found = importlib.util.find_spec(module)
        return found is not None and found.origin is not None
    try:
        looked = subprocess.run(
            [environment.python, "-c", _LOOK, module],
            env=environment.environ(),
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_SEC,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(
            f"{environment.in_words()} does not start: {error}. Make it again."
        ) from None
    return looked.returncode == 0
