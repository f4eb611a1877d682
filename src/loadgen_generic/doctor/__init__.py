"""What is installed, what starts, and what to do about what does not: ``loadgen-generic doctor``."""

from __future__ import annotations

from loadgen_generic.doctor.checkup import Checked, Checkup, Start, check

__all__ = ["Checked", "Checkup", "Start", "check"]
