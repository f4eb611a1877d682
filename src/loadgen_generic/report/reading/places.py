"""Where the logs of a run lie, also of one that was moved or that stands for many."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath

from pydantic import ValidationError

from loadgen_generic.errors import RequestError
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.result import RESULT_FILE, Result, read_result

__all__ = ["find_logs"]

_DETAIL = LOADGEN_LOGS["detail"]
_SHOWN = 3  # runs that are named where a directory holds several
_DEEPEST = 3  # below it; a campaign of campaigns is no deeper


def find_logs(directory: Path) -> tuple[Path, Result | None]:
    """The directory with LoadGen's files, and what the harness wrote of the run if it did.

    Raises:
        RequestError: there is no run in the directory.
    """
    if not directory.is_dir():
        why = "is a file" if directory.exists() else "does not exist"
        raise RequestError(f"{directory} {why}.", remedy="Name the directory of a run.")
    result = _result(directory)
    if (directory / _DETAIL).is_file():
        return directory, result
    if result is not None and (inside := _inside(result)) is not None:
        logs = directory.joinpath(*inside)
        if (logs / _DETAIL).is_file():
            return logs, result
        raise RequestError(
            f"{directory} holds a result, but {logs} does not hold its {_DETAIL}.",
            remedy="Move the whole directory of a campaign, with its runs.",
        )
    raise RequestError(f"{directory} holds no {_DETAIL}.", remedy=_remedy(directory))


def _result(directory: Path) -> Result | None:
    file = directory / RESULT_FILE
    if not file.is_file():
        return None
    remedy = "To report from the logs alone, move it elsewhere."
    try:
        return read_result(file)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise RequestError(
            f"{file} is not a result: {where}: {first['msg']}.", remedy=remedy
        ) from None
    except RequestError as error:
        raise RequestError(str(error), remedy=remedy) from None


def _inside(result: Result) -> tuple[str, ...] | None:
    """Where the logs lie from the directory of the result; the paths are of when it was written,
    perhaps on another system."""
    for kind in (PurePosixPath, PureWindowsPath):
        base, log = kind(result.output_dir), kind(result.loadgen_logs.get("detail", ""))
        if base.is_absolute() and log.is_relative_to(base):
            return log.relative_to(base).parent.parts
    return None


def _remedy(directory: Path) -> str:
    try:
        error = json.loads((directory / "error.json").read_text(encoding="utf-8"))["message"]
    except (OSError, ValueError, KeyError, TypeError):
        error = ""
    if error:
        return f"The run ended with: {error}"
    below = [
        path.parent
        for depth in range(1, _DEEPEST + 1)
        for path in sorted(directory.glob("*/" * depth + _DETAIL))
    ]
    if not below:
        return "Name the directory where LoadGen wrote its logs."
    named = ", ".join(map(str, below[:_SHOWN]))
    return f"There are runs in {named}" + (" and more." if len(below) > _SHOWN else ".")
