"""The accuracy log of a submission: cut short, with the hash of the whole and its headline.

What is written is what ``truncate_accuracy_log.py`` of mlcommons/inference would make of it: of a
log of 4096 bytes or more its first and last 4096, and the SHA-256 of the whole in ``accuracy.txt``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from loadgen_generic.hashing import sha256_of
from loadgen_generic.results.result import Result, write_text

__all__ = ["ACCURACY_TEXT", "headline", "keep_truncated"]

ACCURACY_TEXT = "accuracy.txt"
_SHOWN = 4096
_CUT = b"\n\n...\n\n"


def headline(result: Result) -> str:
    """How right the answers are, in one line; empty if the run does not tell.

    The checker reads ``accuracy=`` for image classification. Without labels there is no
    accuracy, and the agreement with a reference is not called one.
    """
    found = result.accuracy
    if found is not None and found.top_1 is not None:
        share = 100 * found.top_1
        return f"accuracy={share:.3f}%, good={found.correct}, total={found.judged}"
    verified = result.verification
    if verified is None or not verified.passed:
        return ""
    agreeing = verified.samples - verified.failed_samples
    return (
        f"agreement={100 * agreeing / max(verified.samples, 1):.3f}%, good={agreeing}, "
        f"total={verified.samples} (outputs within tolerance of {_name(verified.against)}; the "
        "data has no labels)"
    )


def keep_truncated(log: Path, directory: Path, text: str) -> str:
    """Copy LoadGen's accuracy log, cut, and write ``accuracy.txt`` beside it.

    Returns:
        The hash of the whole log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    digest = sha256_of(log)
    target = directory / log.name
    size = log.stat().st_size
    if size < _SHOWN:
        shutil.copyfile(log, target)
    else:
        with log.open("rb") as whole, target.open("wb") as cut:
            cut.write(whole.read(_SHOWN))
            cut.write(_CUT)
            whole.seek(size - _SHOWN)
            cut.write(whole.read(_SHOWN))
    write_text(directory / ACCURACY_TEXT, f"{text}\n\nhash={digest}\n")
    return digest


def _name(against: str) -> str:
    if against == "reference":
        return "the same model without optimisations"
    return "the expected ones" if against == "data" else Path(against).name
