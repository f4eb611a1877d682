"""What is submitted of an audit run: its logs, and the outcome of its tests."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from loadgen_generic.campaigns.compliance.checks import Check
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.result import write_text

__all__ = ["VERIFICATIONS", "keep_verification"]

# MLCommons' names of the files, by what they are about.
VERIFICATIONS = {"answers": "verify_accuracy.txt", "speed": "verify_performance.txt"}


def keep_verification(audit: Path, directory: Path, checks: Sequence[Check]) -> None:
    """Write the outcome of an audit test and copy LoadGen's logs, laid out for a submission.

    Args:
        audit: the directory of the audit run.
        directory: of what is submitted.
    """
    logs: dict[str, tuple[str, ...]] = {"performance/run_1": ("summary", "detail")}
    if any(check.about == "answers" for check in checks):
        logs["accuracy"] = ("accuracy",)
    for inside, names in logs.items():
        (directory / inside).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(audit / LOADGEN_LOGS[name], directory / inside / LOADGEN_LOGS[name])
    for check in checks:
        # The checker looks for these two words.
        verdict = "TEST PASS" if check.passed else "TEST FAIL"
        text = f"{check.test}, {check.about}: {check.sentence}\n"
        if check.remedy:
            text += f"{check.remedy}\n"
        write_text(directory / VERIFICATIONS[check.about], f"{text}{verdict}\n")
