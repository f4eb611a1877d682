"""The tests of a tuning, as requests of ordinary runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen_generic.campaigns.fixing import one_run
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.config import BenchmarkConfig, options

__all__ = ["Runs", "lasting"]

_PATHS = ("model_path", "dataset", "user_conf", "audit")
_OF_TUNING = ("budget_sec", "allow")
# By what answers are judged, where they are looked at.
_JUDGED_BY = ("verify", "verify_samples", "tolerance", "atol", "rtol")
# What a look at the answers of a few samples has no use for.
_OF_A_TEST = (
    "audit",
    "batch_size",
    "concurrency",
    "intra_op_threads",
    "loadgen_duration_sec",
    "loadgen_expected_qps",
    "min_query_count",
    "mlperf_model",
    "official",
    "pin",
    "profile",
    "runner",
    "samples",
    "send_answers",
    "trace",
    "user_conf",
    "verify_fraction",
)


class Runs:
    """Args:
    config: what was asked for, with ``mode`` tune.
    original: path of the model.
    quantized: path of the model in int8; empty before it was made.
    """

    def __init__(self, config: BenchmarkConfig, original: str, quantized: str) -> None:
        asked = one_run(config)
        self._options = {k: v for k, v in asked.items() if k not in (*_OF_TUNING, *_JUDGED_BY)}
        self._judged = {k: v for k, v in asked.items() if k in _JUDGED_BY}
        self._scenario = config.scenario
        self._fake = config.backend == "fake"
        self._original, self._quantized = original, quantized

    def plain(self) -> BenchmarkConfig:
        """What is run without a tuning; LoadGen bounds nothing in MultiStream."""
        kept = dict(self._options)
        if self._scenario == "MultiStream":
            kept.pop("target_latency_ms", None)
        return BenchmarkConfig.model_validate(kept)

    def model(self, family: Family) -> dict[str, str]:
        """The model as an option, where it is another than was asked for."""
        return {"model_path": self._quantized} if family.quantized else {}

    def check(self, family: Family) -> BenchmarkConfig:
        """A run of hardly any length, whose answers to some samples are verified."""
        elsewhere = {name for name, each, _ in options() if each.scenarios}
        kept = {
            name: value
            for name, value in self._of(family).items()
            if name not in _OF_A_TEST and name not in elsewhere
        }
        asked = {"scenario": "Offline", "samples": 1, "telemetry": "off"}
        return BenchmarkConfig.model_validate(kept | asked | self._judging(family))

    def screen(self, family: Family, bound: Mapping[str, Any]) -> BenchmarkConfig:
        """A test of full length whose layout is chosen as it is without a tuning."""
        return BenchmarkConfig.model_validate({**self._of(family), **bound})

    def test(
        self,
        family: Family,
        setting: Setting,
        threaded: bool,
        bound: Mapping[str, Any],
        verified: bool = False,
    ) -> BenchmarkConfig:
        """A test of full length of a setting."""
        asked = {**self._of(family), **bound, **self.of_setting(setting, threaded)}
        if verified and not self._fake:
            asked |= self._judging(family)
        return BenchmarkConfig.model_validate(asked)

    def of_setting(self, setting: Setting, threaded: bool) -> dict[str, Any]:
        batched = self._scenario != "MultiStream" or "batch_size" in self._options
        return setting.options(threaded, batched)

    def _of(self, family: Family) -> dict[str, Any]:
        asked = {**self._options, **family.options}
        if family.quantized:
            asked.pop("model", None)
        return asked | self.model(family)

    def _judging(self, family: Family) -> dict[str, Any]:
        against = self._judged.get("verify") or "reference"
        if family.quantized and against == "reference":
            against = self._original
        return {**self._judged, "verify": against}


def lasting(config: BenchmarkConfig) -> dict[str, Any]:
    """The options of a test, for the file that ``run --config`` takes and for commands."""
    left_out = ("output_dir", *_JUDGED_BY)
    given = config.model_dump(exclude_unset=True, mode="json")
    kept = {name: value for name, value in given.items() if name not in left_out}
    # The file may be used from another directory.
    whole = {
        name: os.path.abspath(Path(kept[name]).expanduser()) for name in _PATHS if name in kept
    }
    return kept | whole
