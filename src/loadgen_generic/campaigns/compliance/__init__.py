"""MLPerf's compliance tests: the runs that they compare, and their conditions."""

from __future__ import annotations

from loadgen_generic.campaigns.compliance.checks import Check, answers_in
from loadgen_generic.campaigns.compliance.runs import Compliance, compliance, verify

__all__ = ["Check", "Compliance", "answers_in", "compliance", "verify"]
