"""The subcommands of ``loadgen-generic`` that are more than one run."""

from __future__ import annotations

from loadgen_generic.commands.compliance import add_compliance
from loadgen_generic.commands.submission import add_submission

__all__ = ["add_compliance", "add_submission"]
