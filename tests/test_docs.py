"""README.md and _cm.yaml say what the schema says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadgen_generic.config import options
from loadgen_generic.flags import parse_config

ROOT = Path(__file__).resolve().parents[1]
META: dict[str, Any] = yaml.safe_load((ROOT / "_cm.yaml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
IN_CM = [(name, option, field) for name, option, field in options() if option.in_cm]


def make_docs(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "make_docs.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_is_stale() -> None:
    done = make_docs(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("README.md", "### Usage", "### Use"),
        ("_cm.yaml", "  ep: CM_MLPERF_EXECUTION_PROVIDER\n", ""),
        ("_cm.yaml", "CM_MODEL: demo", "CM_MODEL: demonstration"),
        ("docs/generator.html", "Write the command", "Write a command"),
    ],
)
def test_a_change_by_hand_is_noticed_and_undone(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    for name in ("_cm.yaml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    if (ROOT / "docs").is_dir():
        shutil.copytree(ROOT / "docs", tmp_path / "docs")
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    stale = make_docs(tmp_path, "--check")
    assert stale.returncode == 1
    assert "make docs" in stale.stdout
    assert make_docs(tmp_path).returncode == 0
    assert make_docs(tmp_path, "--check").returncode == 0


def test_contract_of_the_seed() -> None:
    assert META["uid"] == "d3d949cc361747a6"
    assert META["alias"] == "app-loadgen-generic-python"
    assert META["tags"] == ["app", "loadgen", "generic", "loadgen-generic", "python"]
    assert META["new_env_keys"] == ["CM_MLPERF_*"]
    assert META["default_env"] == {
        "CM_MLPERF_EXECUTION_MODE": "parallel",
        "CM_MLPERF_BACKEND": "onnxruntime",
    }
    seed = {
        "concurrency": "CM_MLPERF_CONCURRENCY",
        "ep": "CM_MLPERF_EXECUTION_PROVIDER",
        "execmode": "CM_MLPERF_EXEC_MODE",
        "interop": "CM_MLPERF_INTEROP",
        "intraop": "CM_MLPERF_INTRAOP",
        "modelpath": "CM_ML_MODEL_FILE_WITH_PATH",
        "output_dir": "CM_MLPERF_OUTPUT_DIR",
        "runner": "CM_MLPERF_RUNNER",
        "scenario": "CM_MLPERF_LOADGEN_SCENARIO",
        "samples": "CM_MLPERF_LOADGEN_SAMPLES",
        "loadgen_expected_qps": "CM_MLPERF_LOADGEN_EXPECTED_QPS",
        "loadgen_duration_sec": "CM_MLPERF_LOADGEN_DURATION_SEC",
    }
    assert seed.items() <= META["input_mapping"].items()
    grouped = {(v.get("group"), name) for name, v in META["variations"].items()}
    for pair in [("backend", "onnxruntime"), ("device", "cpu"), ("device", "cuda")]:
        assert pair in grouped
    assert {("models", "resnet50"), ("models", "retinanet"), ("models", "demo")} <= grouped


def test_every_option_is_a_flag_with_a_key_of_its_own() -> None:
    flags = [option.aliases[0] if option.aliases else name for name, option, _ in IN_CM]
    assert list(META["input_mapping"]) == flags
    assert list(META["input_mapping"].values()) == [option.env for _, option, _ in IN_CM]
    assert len(set(META["input_mapping"].values())) == len(flags)
    assert all(key.startswith("CM_") for key in META["input_mapping"].values())


def test_cms_form_can_show_every_flag() -> None:
    """What CM's GUI does with input_description, which fails on the first thing amiss."""
    described = META["input_description"]
    assert list(described) == list(META["input_mapping"])
    for flag, entry in described.items():
        assert isinstance(entry["desc"], str), flag
        assert entry["desc"].strip(), flag
        default, choices = entry.get("default", ""), entry.get("choices", [])
        assert isinstance(default, str), "--help joins it to a string"
        assert all(isinstance(choice, str) for choice in choices)
        if choices and default != "":
            assert default in choices, flag
    positions = [entry["sort"] for entry in described.values()]
    assert positions == sorted(set(positions))
    assert min(positions) > 0
    assert "default" not in described["ep"], "the form passes defaults, and would undo _cuda"


def test_cms_form_left_as_it_is_asks_for_nothing_wrong() -> None:
    """The form passes what it shows: a default, or else the first of the choices."""
    passed = {
        flag: entry.get("default") or next(iter(entry.get("choices", [])), "")
        for flag, entry in META["input_description"].items()
    }
    assert parse_config(passed) == parse_config({})


def test_cms_form_can_show_every_variation() -> None:
    groups = {v["group"] for v in META["variations"].values() if "group" in v}
    assert groups == set(META["variation_groups_order"])
    for group in groups - {"models"}:
        chosen = [
            name
            for name, variation in META["variations"].items()
            if variation.get("group") == group and variation.get("default")
        ]
        assert len(chosen) == 1, f"one default in {group}"


def test_docker_leaves_out_of_a_fake_run_what_only_the_run_needs() -> None:
    assert set(META["input_mapping"]) <= set(META["docker"]["skip_input_for_fake_run"])


def test_sections_in_the_order_of_the_seed() -> None:
    sections = [
        "### Description",
        "#### Information",
        "### Usage",
        "#### CM installation",
        "#### CM script automation help",
        "#### CM CLI",
        "#### CM Python API",
        "#### CM GUI",
        "#### CM modular Docker container",
        "### Customization",
        "#### Variations",
        "#### Default variations",
        "#### Script flags mapped to environment",
        "#### Default environment",
        "### Script workflow, dependencies and native scripts",
        "### Script output",
        "#### New environment keys (filter)",
        "#### New environment keys auto-detected from customize",
        "### Maintainers",
    ]
    assert re.findall(r"^###.*$", README, re.MULTILINE) == sections


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (ROOT / target).is_file(), target


def test_the_page_shows_every_flag_variation_and_dependency() -> None:
    for flag, key in META["input_mapping"].items():
        assert f"`--{flag}=" in README
        assert f"`{key}`" in README
    for name in META["variations"]:
        assert "`" + ",".join("_" + part for part in name.split(",")) + "`" in README
    for dependency in [*META["deps"], *META["prehook_deps"]]:
        assert f"* {dependency['tags']}\n" in README


def test_the_page_names_the_versions_that_are_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in ("cmind", "cmx4mlops"):
        (version,) = set(re.findall(rf"{package}==([\d.]+)", project))
        assert f"{package}=={version}" in README
