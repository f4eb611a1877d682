"""Options of ``--runner ray``: what is refused before Ray is asked for, and where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import stand_in_environments
from command import Command

from loadgen_generic.errors import RequestError
from loadgen_generic.flags import parse_config

RAY = {"runner": "ray"}
TRIALS = {"trials_on": "ray"}
ADDRESS = {"ray_address": "10.0.0.1:6379"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ADDRESS, "--ray_address has no meaning without --runner ray or --trials_on ray"),
        (
            ADDRESS | {"runner": "threadpool"},
            "--ray_address has no meaning without --runner ray or --trials_on ray",
        ),
        ({"batches_in_flight": 2}, "--batches_in_flight has no meaning without --runner ray"),
        (
            TRIALS | {"repeat": 2, "batches_in_flight": 2},
            "--batches_in_flight has no meaning without --runner ray",
        ),
        (RAY | {"backend": "kserve"}, "--backend kserve"),
        (RAY | {"devices": "0,1", "ep": "cuda"}, "--devices is about this machine"),
        (RAY | {"pin": True}, "--pin is about this machine"),
        (RAY | {"profile": True}, "--profile is about this machine"),
        (RAY | {"data_location": "device", "ep": "cuda"}, "--data_location is about this machine"),
        (RAY | {"mode": "tune"}, "--mode tune looks for what is fastest on this machine"),
        (RAY | {"batches_in_flight": 0}, "--batches_in_flight 0: "),
        (RAY | {"batches_in_flight": 4097}, "--batches_in_flight 4097: "),
        (RAY | {"ray_address": "10.0.0.1"}, "expected HOST:PORT of the head node"),
        (RAY | {"ray_address": "ray://10.0.0.1:10001"}, "expected HOST:PORT of the head node"),
        (RAY | {"ray_address": "a:1,b:1"}, "expected HOST:PORT of the head node"),
        (RAY | TRIALS | {"repeat": 2}, "--trials_on ray has each test on one node"),
        (TRIALS, "--trials_on ray needs several tests: --repeat N or --mode find_peak"),
        (TRIALS | {"repeat": 1}, "--trials_on ray needs several tests"),
    ],
)
def test_options_that_contradict(options: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_config(options)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        RAY,
        RAY | ADDRESS,
        RAY | {"ray_address": "auto"},
        RAY | {"ray_address": "local"},
        RAY | {"ray_address": "[fe80::1]:6379"},
        RAY | {"batches_in_flight": 4, "concurrency": 8, "intraop": 2},
        RAY | {"scenario": "SingleStream"},
        RAY | {"mode": "accuracy", "backend": "fake"},
        RAY | {"mode": "find_peak", "scenario": "Server", "target_latency_ms": 10},
        RAY | {"repeat": 3},
        TRIALS | ADDRESS | {"repeat": 3},
        TRIALS | {"mode": "find_peak"},
    ],
)
def test_options_that_go_together(options: dict[str, object]) -> None:
    config = parse_config(options)
    assert {name: getattr(config, name) for name in RAY.keys() & options} == {
        name: options[name] for name in RAY.keys() & options
    }


def test_the_command_says_so(command: Command) -> None:
    outcome = command.fake(**RAY, pin=True, samples=10)
    assert outcome.code == 2
    assert "--pin is about this machine, and --runner ray uses others" in outcome.stderr
    assert not outcome.run_dir.exists()


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="this Python has Ray")
def test_a_search_for_layouts_is_about_this_machine(command: Command) -> None:
    outcome = command.fake(**RAY, mode="find_peak")
    assert outcome.code == 2
    assert "--runner ray: --mode find_peak looks for the best layout" in outcome.stderr


def test_without_ray(command: Command, tmp_path: Path) -> None:
    # An environment of that name which has none, so that no other is looked for.
    environments = tmp_path / "environments"
    python = stand_in_environments.make(environments / "ray", {"onnxruntime": "1.32.0"})
    python.write_text("#!/bin/sh\nexit 1\n")
    places = {"LOADGEN_GENERIC_ENVIRONMENTS": str(environments)}
    outcome = Command(command.directory, {**command.environ, **places}).fake(**RAY, samples=10)
    assert outcome.code == 1
    assert "--runner ray needs the package ray" in outcome.stderr
    assert "make venv EP=ray" in outcome.stderr
    assert not outcome.run_dir.exists()
