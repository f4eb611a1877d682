"""MLPerf's audit tests: what LoadGen has to be told for each.

Source: the ``audit.config`` files under ``compliance`` of mlcommons/inference, as of v6.1. A
checkout's own files are used where one is given; what stands here is for those who have none.
"""

from __future__ import annotations

import os
from pathlib import Path

from loadgen_generic.config import SCENARIOS
from loadgen_generic.errors import RequestError

__all__ = ["AUDIT_FILE", "AUDIT_TESTS", "SAME_SAMPLE", "audit_text", "find_audit"]

AUDIT_TESTS = ("TEST01", "TEST04")
AUDIT_FILE = "audit.config"

_PERFORMANCE_ONLY = 2  # LoadGen's number for the mode
_LOG_SEED = 720381539243781796
# About so many of the answers are logged; fewer where an answer is large, or samples are few.
_LOGGED = 4096
_LOGGED_BY_MODEL = {
    "3d-unet": 64,
    "pointpainting": 256,
    "retinanet": 256,
    "stable-diffusion-xl": 128,
    "wan-2.2-t2v-a14b": 50,
    "yolo": 64,
}
SAME_SAMPLE = 3  # its place in the performance sample set, counted from 0


def audit_text(test: str, mlperf_model: str | None) -> str:
    """Our own settings of an audit test, in LoadGen's format."""
    lines: list[tuple[str, int]] = []
    if test == "TEST01":
        count = _LOGGED_BY_MODEL.get(mlperf_model or "", _LOGGED)
        lines = [
            ("*.*.mode", _PERFORMANCE_ONLY),
            ("*.*.accuracy_log_rng_seed", _LOG_SEED),
            ("*.*.accuracy_log_sampling_target", count),
        ]
    else:
        for scenario in SCENARIOS:
            lines += [
                (f"*.{scenario}.mode", _PERFORMANCE_ONLY),
                (f"*.{scenario}.performance_issue_unique", 0),
                (f"*.{scenario}.performance_issue_same", 1),
                (f"*.{scenario}.performance_issue_same_index", SAME_SAMPLE),
            ]
    return "".join(f"{key} = {value}\n" for key, value in lines)


def find_audit(audits: Path, test: str, mlperf_model: str | None) -> Path:
    """The settings of an audit test in the ``compliance`` folder of a checkout.

    Raises:
        RequestError: there are none, or none for the model.
    """
    folder = audits.expanduser() / test
    if not folder.is_dir():
        raise RequestError(
            f"there is no folder {test} in it.",
            flag="audits",
            value=audits,
            remedy="Give the compliance folder of a checkout of mlcommons/inference, or leave "
            "--audits out for the settings that come with this harness.",
        )
    common = folder / AUDIT_FILE
    if common.is_file():
        return Path(os.path.abspath(common))
    models = sorted(each.parent.name for each in folder.glob(f"*/{AUDIT_FILE}"))
    # The folders are spelled as the benchmarks are, LoadGen's models without some dashes.
    for name in models:
        if mlperf_model is not None and _plain(name) == _plain(mlperf_model):
            return Path(os.path.abspath(folder / name / AUDIT_FILE))
    asked = f"none for {mlperf_model}" if mlperf_model else "no common one"
    raise RequestError(
        f"{test} has an {AUDIT_FILE} for each model, {asked}.",
        flag="audits",
        value=audits,
        remedy=f"Name one with --mlperf_model ({', '.join(models) or 'none is there'}), or leave "
        "--audits out for the settings that come with this harness.",
    )


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
