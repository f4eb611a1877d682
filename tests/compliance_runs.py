"""Short compliance campaigns, and logs that are changed afterwards."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from command import Command, Outcome, logged

__all__ = ["ACCURACY_LOG", "CHECKOUT", "DETAIL", "PACED", "SAMPLES", "change", "lengthen", "make"]

# As many as the benchmark 3d-unet has, which has the fewest.
SAMPLES = 43
# LoadGen's own schedule sets the pace in Server, whatever else the machine does.
PACED = {
    "scenario": "Server",
    "target_qps": 300,
    "target_latency_ms": 1000,
    "target_latency_percentile": 90,
    "loadgen_duration_sec": 0.5,
    "runner": "inline",
    "intraop": 1,
}
DETAIL, ACCURACY_LOG = "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
# A checkout of mlcommons/inference, of which no copy is here.
CHECKOUT = os.environ.get("LOADGEN_GENERIC_INFERENCE_DIR")
_CLOCK = "%m-%d-%Y %H:%M:%S.%f"


def make(directory: Path, model: Path, labels: bool = True, **flags: object) -> Outcome:
    """A campaign of the matmul model in ``directory/out``, at the shortest."""
    data = directory / "data"
    if not data.exists():
        x = np.random.default_rng(1).random((SAMPLES, 4), np.float32)
        weights = (np.arange(12, dtype=np.float32) / 12).reshape(4, 3)
        data.mkdir()
        np.save(data / "x.npy", x)
        if labels:
            np.save(data / "labels.npy", (x @ weights).argmax(axis=1))
    asked = {"dataset": "data", "mlperf_model": "3d-unet", "output_dir": "out", **PACED, **flags}
    return Command(directory, dict(os.environ))("compliance", model, **asked)


def change(file: Path, old: str, new: str) -> None:
    """Replace what a pattern finds first."""
    text = file.read_text("utf-8")
    changed, found = re.subn(old, new, text, count=1)
    assert found, f"{old} is not in {file}"
    file.write_text(changed, "utf-8")


def lengthen(run: Path) -> None:
    """Have a log say that its test took the ten minutes of the rules."""
    begin = datetime.strptime(logged(run)["power_begin"], _CLOCK)
    end = (begin + timedelta(seconds=600.1)).strftime(_CLOCK)
    change(run / DETAIL, r'("key": "power_end", "value": )"[^"]*"', rf'\g<1>"{end}"')
    change(run / DETAIL, r'("key": "effective_min_duration_ms", "value": )\d+', r"\g<1>600000")
