"""A run asked for by CM: options in a JSON file, the outcome in another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loadgen_generic.campaigns import run
from loadgen_generic.errors import LoadgenGenericError, RunError
from loadgen_generic.flags import parse_config
from loadgen_generic.report.search_table import CampaignObserver, print_campaign
from loadgen_generic.report.terminal import print_result
from loadgen_generic.results.result import write_json

__all__ = ["main"]


def main(request: str) -> int:
    """Run what a request file asks for; returns the exit code.

    Args:
        request: path of a JSON file with ``options`` (flag to value) and ``report``, the file
            to write the outcome to: ``{"status": "ok", "result_json": PATH}`` or
            ``{"status": "error", "exit_code": N, "error": TEXT}``, with ``result_json`` as well
            after a failed verification.
    """
    content = json.loads(Path(request).read_text(encoding="utf-8"))
    report = Path(content["report"])
    try:
        config = parse_config(content["options"])
        with CampaignObserver(stream=sys.stdout) as observer:
            result = run(config, observer)
    except LoadgenGenericError as error:
        write_json(report, {"status": "error", "exit_code": error.exit_code, "error": str(error)})
        return error.exit_code
    print_result(result)
    print_campaign(result)
    outcome: dict[str, object] = {"status": "ok", "result_json": str(result.path)}
    code = 0
    if result.verification is not None and not result.verification.passed:
        code = RunError.exit_code
        outcome |= {"status": "error", "exit_code": code, "error": result.verification.sentence}
    write_json(report, outcome)
    return code
