"""Each scenario through cm, and what LoadGen's own log says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cm_driver import Cm

HEADLINE = {
    "Offline": "result_samples_per_second",
    "SingleStream": "early_stopping_latency_ss",
    "MultiStream": "early_stopping_latency_ms",
    "Server": "result_completed_samples_per_sec",
}
SETTINGS: dict[str, dict[str, str]] = {
    "Offline": {},
    "SingleStream": {},
    "MultiStream": {"samples_per_query": "4"},
    "Server": {"target_qps": "400", "target_latency_ms": "500"},
}


def detail_log(directory: Path) -> dict[str, Any]:
    (path,) = directory.rglob("mlperf_log_detail.txt")
    lines = [line for line in path.read_text().splitlines() if line.startswith(":::MLLOG")]
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    return {entry["key"]: entry["value"] for entry in entries}


@pytest.mark.parametrize("scenario", HEADLINE)
def test_scenario(cm: Cm, model: Path, scenario: str) -> None:
    done = cm.run(modelpath="tiny.onnx", scenario=scenario, **SETTINGS[scenario])
    assert done.code == 0, done.output
    (result,) = cm.results()
    log = detail_log(cm.directory)
    assert result["scenario"] == scenario
    assert log["effective_scenario"] == scenario
    assert result["metric"]["value"] == pytest.approx(log[HEADLINE[scenario]])
    if scenario == "MultiStream":
        assert log["effective_samples_per_query"] == 4
    if scenario == "Server":
        assert log["effective_target_qps"] == 400
        assert log["effective_target_latency_ns"] == 500_000_000
