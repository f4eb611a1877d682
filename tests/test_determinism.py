"""The same seeds and settings: the same samples issued in the same order, the same inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadgen_generic.config import SCENARIOS

# A LoadGen test of its own in a process of its own; the runner writes down what reaches it.
RECORD = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from loadgen_generic import loadgen
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.progress import Progress
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.settings import plan_settings, with_conf
from loadgen_generic.tensors import InputPlan, SamplePlan

class Recorder:
    def __init__(self, samples):
        self.order, self.inputs = [], hashlib.sha256()
        self.reader = samples.reader(1)
    def start(self, make_complete, fail):
        self.complete, self.fail = make_complete(), fail
    def enter(self):
        pass
    def issue(self, ids, indices):
        try:
            for index in indices:
                self.order.append(int(index))
                for array in self.reader.batch([index]).arrays:
                    self.inputs.update(array.tobytes())
            self.complete(ids, tuple)
        except BaseException as error:
            self.fail(error)
    def flush(self):
        pass
    def close(self):
        pass

asked = BenchmarkConfig.model_validate(json.load(sys.stdin))
conf = loadgen.conf_values(asked)
config, _ = with_conf(asked, conf)
plan = SamplePlan(
    (InputPlan("x", np.dtype(np.float32), (5,)), InputPlan("n", np.dtype(np.int64), (2,))),
    batched=True,
)
per_query = 8 if config.scenario == "MultiStream" else 1
samples = SyntheticSamples(plan, 64, config.seed, per_query)
settings = plan_settings(config, None, 64, conf, 64)
runner = Recorder(samples)
Progress.create(Path("progress"))
loadgen.run_test(settings, runner, samples, Path("."), Progress(Path("progress")))
print(json.dumps([runner.order, runner.inputs.hexdigest()]))
"""


def issued(where: Path, **fields: Any) -> tuple[list[int], str]:
    where.mkdir()
    if fields["scenario"] == "Server":
        fields |= {"target_qps": 5000, "target_latency_ms": 100}
    child = subprocess.run(
        [sys.executable, "-c", RECORD],
        input=json.dumps({"samples": 400, **fields}),
        capture_output=True,
        text=True,
        cwd=where,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    order, inputs = json.loads(child.stdout)
    return order, inputs


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_issue_the_same(scenario: str, tmp_path: Path) -> None:
    one = issued(tmp_path / "one", scenario=scenario, seed=11)
    again = issued(tmp_path / "again", scenario=scenario, seed=11)
    other = issued(tmp_path / "other", scenario=scenario, seed=12)
    assert len(one[0]) == 400
    assert len(set(one[0])) > 8
    assert again == one
    assert other[0] != one[0]
    assert other[1] != one[1]


def test_official_seeds_give_one_order_whatever_the_seed_of_the_inputs(tmp_path: Path) -> None:
    one = issued(tmp_path / "one", scenario="SingleStream", mlperf_model="3d-unet", seed=1)
    other = issued(tmp_path / "other", scenario="SingleStream", mlperf_model="3d-unet", seed=2)
    assert other[0] == one[0]
    assert other[1] != one[1]
