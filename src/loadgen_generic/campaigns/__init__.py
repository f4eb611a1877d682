"""Many runs for one question: the same test repeated, or a search for the best load or layout.

:func:`carry_out` is the one way in for the command line, CM and Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loadgen_generic.campaigns.audience import Audience, SilentAudience
from loadgen_generic.campaigns.reported import report_on
from loadgen_generic.campaigns.reported import run as run_once
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result

__all__ = ["Audience", "Outcome", "carry_out", "run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        result: the run's, or the one that stands for all of them.
        document: the whole answer: what ``result.json`` holds, or ``search.json``, or ``tune.json``.
    """

    result: Result
    document: dict[str, Any]


def carry_out(config: BenchmarkConfig, audience: Audience | None = None) -> Outcome:
    """Do what a request asks for: one run, several, or a search.

    Raises:
        RequestError: the request cannot be carried out as it stands.
        RunError: a run failed.
        InterruptedRunError: SIGTERM or Ctrl-C.
    """
    audience = audience or SilentAudience()
    # Each question imports its own: one run needs none of it, and would start a tenth of a second
    # later.
    if config.mode in ("find_peak", "tune"):
        if config.mode == "tune":
            from loadgen_generic.campaigns.tuning import tune as search
        else:
            from loadgen_generic.campaigns.peak import find_peak as search

        outcome = Outcome(*search(config, audience))
        report_on(outcome.result, audience)
        return outcome
    if config.repeat > 1:
        from loadgen_generic.campaigns.repeat import repeat

        result = repeat(config, audience)
        report_on(result, audience)
    else:
        result = run_once(config, audience)
    return Outcome(result, result.model_dump())


def run(config: BenchmarkConfig, audience: Audience | None = None) -> Result:
    """As :func:`carry_out`; the result alone."""
    return carry_out(config, audience).result
