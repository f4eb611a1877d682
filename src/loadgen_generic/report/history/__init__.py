"""What was measured before: ``loadgen-generic list``."""

from __future__ import annotations

from loadgen_generic.report.history.finding import find_runs
from loadgen_generic.report.history.past import Past
from loadgen_generic.report.history.table import print_runs

__all__ = ["Past", "find_runs", "print_runs"]
