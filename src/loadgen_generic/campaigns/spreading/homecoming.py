"""A run that comes back from a node: its files in the campaign's directory, under paths of here."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.campaigns.spreading.there import Told
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.results.manifest import masked_arguments
from loadgen_generic.results.result import RESULT_FILE, Result, write_json
from loadgen_generic.supervisor import ERROR_FILE, requested, write_error

__all__ = ["bring_home"]

_REQUEST = "request.json"


def bring_home(
    told: Told, config: BenchmarkConfig, node: str, moved: Mapping[str, str], directory: Path
) -> Result:
    """Unpack a run, and write its result last: what has one is whole.

    Args:
        config: the test, as it was asked for here.
        node: what the node is called.
        moved: paths of files that the node had elsewhere, and where they are here.
        directory: claimed for this run.

    Raises:
        RequestError, RunError: the test failed, for the reason that the node told.
    """
    moved = {**moved, told.run_dir: str(directory)}
    write_json(directory / _REQUEST, requested(config))
    with zipfile.ZipFile(io.BytesIO(told.files)) as archive:
        of_here = (_REQUEST, RESULT_FILE, ERROR_FILE)
        for name in archive.namelist():
            if name not in of_here:
                archive.extract(name, directory)
        if told.exit_code:
            error = _error_of(told.exit_code, f"on node {node}: {_here(told.error, moved)}")
            write_error(directory, error)
            raise error
        content = _here(json.loads(archive.read(RESULT_FILE)), moved)
    result = Result.model_validate(content)
    result = result.model_copy(
        update={
            "config": result.config.model_copy(update={"requested": requested(config)}),
            "host": {**result.host, "node": node},
            "notes": [*result.notes, *told.remarks],
            # The node's worker has a command line that nobody typed.
            "manifest": {
                **result.manifest,
                "command_line": masked_arguments(sys.orig_argv),
                "directory": os.getcwd(),
            },
        }
    )
    write_json(result.path, result.model_dump())
    return result


def _error_of(exit_code: int, words: str) -> LoadgenGenericError:
    return RequestError(words) if exit_code == RequestError.exit_code else RunError(words)


def _here(value: Any, moved: Mapping[str, str]) -> Any:
    """The same with all paths as they are here, wherever in a text they stand."""
    if isinstance(value, str):
        for there, here in moved.items():
            value = value.replace(there, here)
        return value
    if isinstance(value, list):
        return [_here(each, moved) for each in value]
    if isinstance(value, dict):
        return {key: _here(each, moved) for key, each in value.items()}
    return value
