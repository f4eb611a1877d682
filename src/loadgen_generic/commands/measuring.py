"""What ``run`` and ``tune`` do alike: carry a request out, show it live, print what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RunError

__all__ = ["measure"]


def measure(config: BenchmarkConfig, given: Mapping[str, Any], invalid: int = 0) -> int:
    """Carry a request out and print the result; returns the exit code.

    Args:
        given: what the command was given; ``json`` and ``quiet`` are looked at.
        invalid: the exit code if the result is INVALID.
    """
    from loadgen_generic.campaigns import carry_out
    from loadgen_generic.report.search_table import CampaignObserver, print_campaign
    from loadgen_generic.report.terminal import print_result

    with CampaignObserver(quiet=given.get("quiet", False)) as observer:
        outcome = carry_out(config, observer)
    result = outcome.result
    if given.get("json", False):
        print(json.dumps(outcome.document, indent=2, ensure_ascii=False))
    else:
        print_result(result)
        print_campaign(result)
    if result.verification is not None and not result.verification.passed:
        print(f"loadgen-generic: error: {result.verification.sentence}", file=sys.stderr)
        return RunError.exit_code
    return invalid if result.valid is False else 0
