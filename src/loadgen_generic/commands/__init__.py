"""The subcommands of ``loadgen-generic`` that are more than one run."""

from __future__ import annotations

from loadgen_generic.commands.compare import add_compare
from loadgen_generic.commands.compliance import add_compliance
from loadgen_generic.commands.doctor import add_doctor
from loadgen_generic.commands.history import add_list
from loadgen_generic.commands.report import add_report
from loadgen_generic.commands.serve import add_serve
from loadgen_generic.commands.submission import add_submission
from loadgen_generic.commands.tune import add_tune

__all__ = [
    "add_compare",
    "add_compliance",
    "add_doctor",
    "add_list",
    "add_report",
    "add_serve",
    "add_submission",
    "add_tune",
]
