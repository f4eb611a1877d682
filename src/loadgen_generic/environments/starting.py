"""A process of ours under an environment's interpreter, and how it ended."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import IO

from loadgen_generic.environments.reading import Environment

__all__ = ["ended_by", "start_module"]

_SOURCES = Path(__file__).resolve().parents[2]
# The package is this one, whatever the environment may have of the same name. What reads the command
# line of its process, as kserve does, finds none.
_CODE = "import sys; sys.path[0] = sys.argv.pop(); from {module} import main; main()"


def start_module(
    environment: Environment, module: str, log: IO[bytes] | None, own_session: bool = True
) -> subprocess.Popen[str]:
    """Call ``main()`` of a module, with pipes to its standard input and output.

    Args:
        log: takes its standard error; ours does if None.
        own_session: Ctrl-C goes to this process alone, which then ends the child.

    Raises:
        OSError: the interpreter does not start.
    """
    return subprocess.Popen(
        [environment.python, "-c", _CODE.format(module=module), str(_SOURCES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        env=environment.environ(),
        start_new_session=own_session,
    )


def ended_by(code: int) -> str:
    """An exit code in words: ``SIGSEGV``, or ``exit code 3``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
