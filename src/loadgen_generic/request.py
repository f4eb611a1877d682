"""A run asked for by CM: options in a JSON file, the outcome in another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.flags import parse_config
from loadgen_generic.report.terminal import TerminalObserver, print_result
from loadgen_generic.results.result import write_json
from loadgen_generic.supervisor import run

__all__ = ["main"]


def main(request: str) -> int:
    """Run what a request file asks for; returns the exit code.

    Args:
        request: path of a JSON file with ``options`` (flag to value) and ``report``, the file
            to write the outcome to: ``{"status": "ok", "result_json": PATH}`` or
            ``{"status": "error", "exit_code": N, "error": TEXT}``.
    """
    content = json.loads(Path(request).read_text(encoding="utf-8"))
    report = Path(content["report"])
    try:
        config = parse_config(content["options"])
        with TerminalObserver(stream=sys.stdout) as observer:
            result = run(config, observer)
    except LoadgenGenericError as error:
        write_json(report, {"status": "error", "exit_code": error.exit_code, "error": str(error)})
        return error.exit_code
    print_result(result)
    write_json(report, {"status": "ok", "result_json": str(result.path)})
    return 0
