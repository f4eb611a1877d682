"""No dead options: for each field, two real runs that differ because of it.

A new option needs one line in ``PAIRS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Command, Outcome, logged
from few import few
from PIL import Image

from loadgen_generic.config import options
from loadgen_generic.samples import SyntheticSamples
from loadgen_generic.tensors import InputPlan, SamplePlan

Flags = Mapping[str, object]

COUNTED = {"samples": 20}
SINGLE = {"scenario": "SingleStream", "samples": 20}
MULTI = {"scenario": "MultiStream", "samples": 40}
VERIFIED = COUNTED | {"verify": "reference"}
UNSIZED = {"loadgen_duration_sec": 0}
SERVER = {"scenario": "Server", "samples": 20, "target_qps": 500, "target_latency_ms": 50}


@dataclass(frozen=True)
class Pair:
    """Two runs that differ in one flag, and where the difference must show.

    Attributes:
        one, other: values of the flag; None leaves it out.
        shows: what ``config.effective`` must say in either run, by key; a key alone
            (``None``) must say the flag's own values.
        rest: the flags that both runs share.
        model: the tiny model that both run; empty for none.
    """

    one: object
    other: object
    shows: Mapping[str, tuple[object, object] | None]
    rest: Flags = field(default_factory=lambda: COUNTED)
    model: str = "matmul"


IMAGES = COUNTED | {"dataset": "images", "image_size": 8}
SIZE = {"sample_floats": "1"}
FAKE = COUNTED | {"backend": "fake"}
REFUSED = {"mode": ("performance", 2)}

PAIRS: dict[str, Pair] = {
    "dim": Pair("seq=3", "seq=5", {"dim": ({"seq": 3}, {"seq": 5})}, model="sequence"),
    "shape": Pair(
        "tokens=?x3",
        "tokens=?x5",
        {"shape": ({"tokens": "?x3"}, {"tokens": "?x5"})},
        model="sequence",
    ),
    "value_range": Pair("x=0:5", "x=-1:1", {"range": ({"x": "0:5"}, {"x": "-1:1"})}),
    "fill": Pair("x=ones", "x=0.5", {"fill": ({"x": "ones"}, {"x": "0.5"})}),
    "distribution": Pair(
        "x=uniform", "x=normal", {"distribution": ({"x": "uniform"}, {"x": "normal"})}
    ),
    "samples_in_memory": Pair(2, 3, {"samples_in_memory": None}, COUNTED | {"dataset": "rows.npy"}),
    "image_preset": Pair(
        None,
        "imagenet",
        {"image_mean": ([0], [0.485, 0.456, 0.406]), "image_resize": (None, 9)},
        IMAGES,
        model="image",
    ),
    "image_size": Pair("8", "8x6", {"image_size": ("8x8", "8x6")}, IMAGES, model="image"),
    "image_resize": Pair(8, 16, {"image_resize": None}, IMAGES, model="image"),
    "image_crop": Pair("center", "none", {"image_crop": None}, IMAGES, model="image"),
    # The model has its channels first: the other layout must be refused.
    "image_layout": Pair("auto", "nhwc", {"image_layout": ("nchw", 2)}, IMAGES, model="image"),
    "image_mean": Pair(
        "0.5", "0.1,0.2,0.3", {"image_mean": ([0.5], [0.1, 0.2, 0.3])}, IMAGES, model="image"
    ),
    "image_scale": Pair("1", "0.5", {"image_scale": ([1], [0.5])}, IMAGES, model="image"),
    "label_offset": Pair(0, 1, {"label_offset": None}, IMAGES, model="image"),
    "seed": Pair(0, 7, {"seed": None}),
    "scenario": Pair("Offline", "SingleStream", {"scenario": None}),
    "loadgen_duration_sec": Pair(
        0.1, 0.2, {"min_duration_ms": (100, 200)}, {"loadgen_expected_qps": 100}
    ),
    "samples": Pair(20, 30, {"min_query_count": None}, {}),
    "min_query_count": Pair(20, 30, {"min_query_count": None}, {"loadgen_duration_sec": 0}),
    "max_query_count": Pair(30, 40, {"max_query_count": None}, SINGLE),
    "loadgen_expected_qps": Pair(
        100, 200, {"loadgen_expected_qps": None}, {"loadgen_duration_sec": 0.1}
    ),
    "target_qps": Pair(500, 600, {"target_qps": None}, SERVER),
    "target_latency_ms": Pair(50, 60, {"target_latency_ms": None}, SERVER),
    "target_latency_percentile": Pair(90, 95, {"target_latency_percentile": None}, SINGLE),
    "samples_per_query": Pair(2, 4, {"samples_per_query": None, "batch_size": None}, MULTI),
    "batch_dim": Pair("auto", "none", {"batch_dim": ("N", "none")}),
    "batch_size": Pair(1, 4, {"batch_size": None}),
    "batch_timeout_us": Pair(0, 500, {"batch_timeout_us": None}, SERVER),
    "pin": Pair(None, True, {"pin": (False, True)}),
    "distinct_samples": Pair(10, 30, {"distinct_samples": None}),
    "mlperf_model": Pair(
        "resnet50",
        "bert",
        {"mlperf_model": None, "target_latency_ms": (15, 130)},
        {"scenario": "Server", "samples": 20, "target_qps": 500},
    ),
    "official": Pair(None, True, {"official": (False, 2)}),
    "user_conf": Pair(
        "one.conf", "two.conf", {"user_conf": None, "min_query_count": (25, 35)}, UNSIZED
    ),
    "audit": Pair(None, "one.conf", {"audit": None}),
    "mode": Pair("performance", "accuracy", {"mode": None}),
    "save_outputs": Pair(None, True, {"save_outputs": (False, True)}, {"mode": "accuracy"}),
    "send_answers": Pair(None, True, {"send_answers": (False, True)}),
    "verify": Pair(None, "reference", {"verify": None}),
    "verify_samples": Pair(2, 3, {"verify_samples": None}, VERIFIED),
    "verify_fraction": Pair(0.5, 1, {"verify_fraction": None}, VERIFIED),
    "atol": Pair(0.1, 0.2, {"atol": None}, VERIFIED),
    "rtol": Pair(0.1, 0.2, {"rtol": None}, VERIFIED),
    "tolerance": Pair("float32", "int8", {"tolerance": None}, VERIFIED),
    # What they change is in the tests of tuning; without it they must be refused.
    "budget_sec": Pair(None, "10m", REFUSED),
    "allow": Pair(None, "int8", REFUSED),
    # What they change is in the tests of the client; without it they must be refused.
    "endpoint": Pair(None, "localhost:9", REFUSED, FAKE, model=""),
    "remote_model": Pair(None, "sums", REFUSED, FAKE, model=""),
    "request_timeout_ms": Pair(None, 500, REFUSED, FAKE, model=""),
    "tls": Pair(None, True, REFUSED, FAKE, model=""),
    "tls_ca": Pair(None, "ca.crt", REFUSED, FAKE, model=""),
    "header": Pair(None, "authorization=me", REFUSED, FAKE, model=""),
    "network_division": Pair(None, True, REFUSED, FAKE, model=""),
    # As do these, in the tests of the cluster.
    "ray_address": Pair(None, "localhost:9", REFUSED, FAKE, model=""),
    "batches_in_flight": Pair(None, 3, REFUSED, FAKE, model=""),
    "trials_on": Pair(None, "ray", REFUSED, FAKE, model=""),
    "runner": Pair("inline", "threadpool", {"runner": None}),
    "concurrency": Pair(1, 3, {"concurrency": None}),
    "backend": Pair("onnxruntime", "fake", {"backend": None}),
    # Only one provider is certain to be installed; the other value must be refused.
    "execution_provider": Pair("cpu", "cuda", {"execution_provider": ("CPUExecutionProvider", 1)}),
    "ep_options": Pair(None, "num_streams=2", {"ep_options": ({}, 2)}),
    "allow_fallback": Pair(
        None,
        True,
        {"execution_provider": (1, "CPUExecutionProvider")},
        COUNTED | {"execution_provider": "xnnpack"},
    ),
    "precision": Pair(None, "float32", {"precision": ("as the model", "float32")}),
    "devices": Pair("0", "1,0", {"devices": ([0], [1, 0])}, FAKE, model=""),
    "data_location": Pair(
        "host", "device", {"data_location": None}, FAKE | {"devices": "0"}, model=""
    ),
    "intra_op_threads": Pair(1, 3, {"intra_op_threads": None}),
    "inter_op_threads": Pair(1, 3, {"inter_op_threads": None}),
    "execution_mode": Pair("sequential", "parallel", {"execution_mode": None}),
    "graph_optimization": Pair("all", "basic", {"graph_optimization": None}),
    "backend_options": Pair(
        "latency_us=1",
        "latency_us=2",
        {"backend_options": ({"latency_us": "1"} | SIZE, {"latency_us": "2"} | SIZE)},
        FAKE,
        model="",
    ),
    "optimized_cache": Pair(
        None,
        False,
        {"optimized_model": ("off: the file is smaller than 16 MiB", "off: not asked for")},
    ),
    "repeat": Pair(1, 2, {"repeat": None}),
    "warmup_queries": Pair(0, 2, {"warmup_queries": None}),
    "stall_timeout_sec": Pair(50, 60, {"stall_timeout_sec": None}),
    "trace": Pair(None, True, {"trace": (False, True)}),
    "telemetry": Pair("on", "off", {"telemetry": None}),
    "profile": Pair(None, True, {"profile": (False, True)}),
}
# Options that say which file is read or written, each with a test of its own below.
PLACES = {"model_path", "model", "output_dir", "dataset"}


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, command: Command, models: Callable[[str], Path]
) -> tuple[Outcome, Outcome]:
    name: str = request.param
    chosen = PAIRS[name]
    write_datasets(command.directory)
    words = ["run"] + ([models(chosen.model)] if chosen.model else [])
    one, other = (
        command(*words, **{**chosen.rest, name: value, "output_dir": where})
        for value, where in ((chosen.one, "one"), (chosen.other, "other"))
    )
    return one, other


def test_every_option_is_here() -> None:
    assert {name for name, _, _ in options()} == set(PAIRS) | PLACES


@pytest.mark.parametrize(
    ("pair", "name"), few([(n, n) for n in PAIRS], every=3), indirect=["pair"], ids=PAIRS
)
def test_option_changes_what_is_in_force(pair: tuple[Outcome, Outcome], name: str) -> None:
    chosen = PAIRS[name]
    for key, values in chosen.shows.items():
        expected = values or (chosen.one, chosen.other)
        assert in_force(pair[0], key) == expected[0]
        assert in_force(pair[1], key) == expected[1]


def write_datasets(directory: Path) -> None:
    """The files that some of the pairs run on."""
    for name, fewest in (("one", 25), ("two", 35)):
        (directory / f"{name}.conf").write_text(f"*.*.min_query_count = {fewest}\n")
    np.save(directory / "rows.npy", np.ones((5, 4), np.float32))
    (directory / "images").mkdir()
    Image.new("RGB", (12, 10)).save(directory / "images" / "black.png")


def in_force(outcome: Outcome, key: str) -> Any:
    """A value of ``config.effective``; the exit code where the run was refused."""
    return outcome.effective[key] if outcome.code == 0 else outcome.code


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Offline"])
def test_expected_qps_reaches_loadgen(
    scenario: str, command: Command, models: Callable[[str], Path]
) -> None:
    flags = {"scenario": scenario, "loadgen_expected_qps": 1000, "loadgen_duration_sec": 0.1}
    log = logged(command.run(models("matmul"), max_query_count=800, **flags).run_dir)
    assert log["effective_target_qps"] == pytest.approx(
        {"MultiStream": 125}.get(scenario, 1000), rel=1e-3
    )


def test_settings_reach_loadgen(command: Command, models: Callable[[str], Path]) -> None:
    flags = SERVER | {"target_latency_percentile": 95, "min_query_count": 30, "seed": 11}
    log = logged(command.run(models("matmul"), max_query_count=40, **flags).run_dir)
    assert log["effective_target_qps"] == 500
    assert log["effective_target_latency_ns"] == 50_000_000
    assert log["effective_target_latency_percentile"] == 0.95
    assert log["effective_min_query_count"] == 30
    assert log["effective_max_query_count"] == 40
    assert log["effective_qsl_rng_seed"] == 11


def test_seed_changes_the_inputs(command: Command, models: Callable[[str], Path]) -> None:
    """The short table lacks row 9, so a run fails on its first sample if the seed draws a 9."""
    plan = SamplePlan((InputPlan("row", np.dtype(np.int64), (1,)),), batched=True)

    def first_row(seed: int) -> int:
        samples = SyntheticSamples(plan, 8, seed)
        samples.load(range(8))
        return int(samples.reader(1).batch([0]).arrays[0].item())

    for draws_nine in (True, False):
        seed = next(seed for seed in count() if (first_row(seed) == 9) is draws_nine)
        outcome = command.run(models("short_table"), seed=seed, range="row=0:10", samples=1)
        assert ("out of data bounds" in outcome.stderr) is draws_nine


def test_model_path_is_what_is_measured(command: Command, models: Callable[[str], Path]) -> None:
    one, other = (
        command("run", model_path=models(name), output_dir=name, **COUNTED).result.model
        for name in ("matmul", "identity")
    )
    assert (one.path, other.path) == (str(models("matmul")), str(models("identity")))
    assert one.sha256 != other.sha256
    assert one.outputs != other.outputs


def test_model_demo_needs_no_file(command: Command) -> None:
    outcome = command("run", model="demo", samples=2, warmup_queries=0)
    assert outcome.result.model.inputs == ["input: tensor(float)[Nx3x224x224]"]


def test_dataset_is_what_is_fed(command: Command, models: Callable[[str], Path]) -> None:
    for name, number in (("a.npy", 5), ("b.npy", 7)):
        np.save(command.directory / name, np.ones((number, 4), np.float32))
        effective = command.run(
            models("matmul"), dataset=name, output_dir=name[0], **COUNTED
        ).effective
        assert (effective["dataset"], effective["distinct_samples"]) == (name, number)


def test_output_dir_is_where_the_result_goes(
    command: Command, models: Callable[[str], Path]
) -> None:
    for where in ("a", "b/c"):
        outcome = command.run(models("matmul"), output_dir=where, **COUNTED)
        assert outcome.result.output_dir == str(command.directory / where)


def test_one_intra_op_thread_is_one(command: Command, models: Callable[[str], Path]) -> None:
    effective = command.run(
        models("matmul"), intraop=1, scenario="SingleStream", samples=5
    ).effective
    assert effective["intra_op_threads"] == 1


def test_execmode_parallel_is_a_parallel_session(
    command: Command, models: Callable[[str], Path]
) -> None:
    assert (
        command.run(models("matmul"), execmode="parallel", **COUNTED).effective["execution_mode"]
        == "parallel"
    )
    plain = command.run(models("matmul"), output_dir="plain", **COUNTED).effective
    assert plain["execution_mode"] == "sequential"
