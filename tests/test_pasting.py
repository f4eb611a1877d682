"""The command of CM for a run: what it says, that the generator's page says the same, and that
the real cm takes it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import chromium, opened
from playwright.sync_api import Browser
from test_generator import COMBINATIONS, PAGE, at

from loadgen_generic.campaigns.pasting import cm_command
from loadgen_generic.config import BenchmarkConfig, options
from loadgen_generic.flags import parse_config

sys.path.insert(0, str(Path(__file__).parent / "cm"))
from cm_driver import new_home

__all__ = ["chromium"]

META = yaml.safe_load((Path(__file__).resolve().parents[1] / "_cm.yaml").read_text("utf-8"))


def parts(command: str) -> tuple[list[str], dict[str, str]]:
    """Tags, and flags with their values."""
    start, *words, last = shlex.split(command)[2:]
    assert (start, last) == ("script", "--quiet")
    flags = dict(word.removeprefix("--").split("=", 1) for word in words)
    return flags.pop("tags").split(","), flags


@pytest.mark.parametrize(
    ("given", "variations", "flags"),
    [
        ({"model": "demo"}, ["_demo"], {}),
        (
            {"model_path": "my 'best' $HOME.onnx", "intra_op_threads": 0, "pin": False},
            [],
            {"modelpath": "my 'best' $HOME.onnx", "intraop": "0", "pin": "False"},
        ),
        (
            {"model": "demo", "execution_provider": "OpenVINOExecutionProvider"},
            ["_demo", "_openvino"],
            {},
        ),
        ({"execution_provider": "cuda", "devices": "0,1"}, ["_cuda"], {"devices": "0,1"}),
        ({"execution_provider": "TensorRT"}, ["_tensorrt"], {}),
        ({"execution_provider": "cpu", "seed": None, "output_dir": "", "dim": {}}, [], {}),
        ({"execution_provider": "dnnl"}, [], {"ep": "dnnl"}),
        (
            {
                "dim": {"seq": 128, "N": "1:4"},
                "ep_options": {"load_config": '{"CPU": {"NUM_STREAMS": "2"}}'},
                "loadgen_duration_sec": 10.0,
                "trace": True,
            },
            [],
            {
                "dim": "seq=128,N=1:4",
                "ep_options": 'load_config={"CPU": {"NUM_STREAMS": "2"}}',
                "loadgen_duration_sec": "10",
                "trace": "True",
            },
        ),
    ],
)
def test_options_as_cm_names_them(
    given: dict[str, Any], variations: list[str], flags: dict[str, str]
) -> None:
    assert parts(cm_command(given)) == ([*META["tags"], *variations], flags)


def test_it_knows_the_meta() -> None:
    """Every option that CM has, under a name that CM has."""
    examples = {name: "1" for name, option, _ in options() if option.in_cm}
    _, flags = parts(cm_command(examples))
    assert flags.keys() == META["input_mapping"].keys()
    devices = {name for name, each in META["variations"].items() if each.get("group") == "device"}
    used = {parts(cm_command({"execution_provider": name}))[0][-1] for name in devices - {"cpu"}}
    assert used == {f"_{name}" for name in devices - {"cpu"}}
    with pytest.raises(ValueError, match="no flag for who_knows"):
        cm_command({"who_knows": 1})


@pytest.mark.slow
def test_the_generators_page_writes_the_same(chromium: Browser) -> None:
    chosen = [{**each, **more} for each in COMBINATIONS for more in ({}, {"_device": "openvino"})]
    with opened(chromium, PAGE) as watched:
        written = [at(watched.page, each) for each in chosen]
    compared = 0
    for choices, shown in zip(chosen, written, strict=True):
        if shown["wrong"] or "ep" in choices:
            continue
        typed = {k: v for k, v in choices.items() if v and not k.startswith("_")}
        asked = parse_config(typed).model_dump(exclude_unset=True)
        given = {k: v for k, v in asked.items() if v is not None}
        if choices.get("_device") == "openvino":
            given["execution_provider"] = "openvino"
        model = choices.get("_models", "demo")
        if model == "demo" and "backend" not in typed:
            given["model"] = "demo"
        tags, flags = parts(cm_command(given))
        page_tags, page_flags = parts(shown["cm"])
        # What the page adds where it was chosen says nothing that --modelpath does not.
        assert tags == [tag for tag in page_tags if tag not in ("_custom",)], choices
        assert list(flags) == [flag for flag in page_flags if flag in flags], "in one order"
        assert parse_config(flags) == parse_config(page_flags), choices
        compared += 1
    assert compared > 30


@pytest.mark.slow
def test_the_real_cm_takes_it(tmp_path: Path) -> None:
    given = {
        "backend": "fake",
        "backend_options": {"latency_us": "50"},
        "samples": 20,
        "loadgen_expected_qps": 1000.0,
        "trace": True,
        "optimized_cache": False,
        "output_dir": "it's $(touch hacked) here",
    }
    home = new_home(tmp_path / "home")
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        ["bash", "-c", cm_command(given)],
        cwd=tmp_path / "work",
        env=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "work").rglob("result.json")
    assert file.parent.name == given["output_dir"]
    requested = json.loads(file.read_text("utf-8"))["config"]["requested"]
    wanted = BenchmarkConfig.model_validate(given).model_dump(exclude_unset=True)
    assert {name: requested[name] for name in wanted if name != "output_dir"} == {
        name: value for name, value in wanted.items() if name != "output_dir"
    }
    assert not list(tmp_path.rglob("hacked"))
