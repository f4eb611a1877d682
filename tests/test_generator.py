"""docs/generator.html in a real browser: what it marks, what it writes, and that it starts."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import DESKTOP, PHONE, chromium, opened
from playwright.sync_api import Browser, Page

from loadgen_generic.errors import RequestError
from loadgen_generic.flags import parse_config

sys.path.insert(0, str(Path(__file__).parent / "cm"))
from cm_driver import new_home

__all__ = ["chromium"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "generator.html"
PARTS = ("cm", "python", "plain")
LOOK = """() => Object.fromEntries([
  ...["cm", "python", "plain"].map((id) => [id, document.getElementById(id).textContent]),
  ["wrong", Object.fromEntries([...document.querySelectorAll("p.error:not([hidden])")]
    .map((each) => [each.id.slice(2), each.textContent]))],
  ["marked", [...document.querySelectorAll("[aria-invalid=true]")].map((each) => each.name)],
])"""

MODEL = {"_models": "", "modelpath": "tiny.onnx"}
NAMED = {"_models": "", "modelpath": "my 'best' $HOME `model` \"1\".onnx"}
FAKE = {"_models": "", "backend": "fake", "backend_options": "latency_us=50"}
FEW = {"samples": "20", "loadgen_expected_qps": "1000", "runner": "inline"}
AUTO = {**FEW, "runner": "auto"}
# Everything here starts and leaves a result.
COMBINATIONS: list[dict[str, str]] = [
    {**NAMED, **AUTO},
    {**MODEL, "scenario": "Server", "target_qps": "200", "samples": "50", "_device": "cpu"},
    {**MODEL, **FEW, "dim": "N=2", "seed": "7", "range": "x=-1:1,", "distribution": "x=normal"},
    {**MODEL, **FEW, "mode": "accuracy", "save_outputs": "True", "distinct_samples": "9"},
    {**FAKE, **FEW, "scenario": "SingleStream", "telemetry": "off"},
    {**FAKE, **FEW, "output_dir": "my $(touch hacked) results"},
    {**MODEL, **FEW, "runner": "threadpool+replication", "concurrency": "2", "batch_size": "4"},
    {**MODEL, **FEW, "scenario": "MultiStream", "samples_per_query": "4"},
    {**FAKE, **FEW},
    {**FAKE, **FEW, "repeat": "2"},
    {**FAKE, **FEW, "scenario": "Server", "target_qps": "500", "target_latency_ms": "12.5"},
    {**FAKE, **FEW, "scenario": "MultiStream", "target_latency_percentile": "95.5"},
    {**FAKE, **FEW, "runner": "inline", "trace": "True"},
    {**FAKE, **FEW, "scenario": "SingleStream", "min_query_count": "5", "max_query_count": "9"},
    {**FAKE, "loadgen_duration_sec": "0.2", "loadgen_expected_qps": "1e3"},
    {**FAKE, **FEW, "stall_timeout_sec": "007.5", "warmup_queries": "0"},
    {**MODEL, **FEW, "runner": "inline", "batch_size": "1"},
    {**MODEL, **FEW, "runner": "threadpool", "concurrency": "1", "batch_size": "AUTO"},
    {**MODEL, **FEW, "runner": "processpool", "concurrency": "1", "batch_size": "2"},
    {**MODEL, **FEW, "scenario": "SingleStream", "intraop": "1", "interop": "1"},
    {**MODEL, **FEW, "execmode": "parallel", "ep": "cpu"},
    {**MODEL, **FEW, "verify": "reference", "verify_samples": "4", "atol": ".5", "rtol": "1e-2"},
    {**MODEL, **FEW, "shape": "x=?x4", "fill": "x=ones", "distinct_samples": "10"},
    {**MODEL, **FEW, "batch_dim": "none", "optimized_cache": "False"},
    {**MODEL, **FEW, "backend_options": "session.intra_op.allow_spinning=0"},
    {**MODEL, **FEW, "seed": "9223372036854775807"},
    {**MODEL, **FEW, "dataset": "data set"},
    {**MODEL, **FEW, "dataset": "data set", "mode": "accuracy", "label_offset": "-1"},
    {**MODEL, **FEW, "send_answers": "True", "samples_in_memory": "", "pin": "False"},
    {**MODEL, **FEW, "_models": "custom", "profile": "True"},
    {**MODEL, **FEW, "_loadgen": "loadgen-wheel", "_backend": "onnxruntime"},
    {**MODEL, **FEW, "user_conf": "it's mine.conf", "scenario": "Offline"},
]
# The others are slow tests.
CM_IN_EVERY_RUN, PLAIN_IN_EVERY_RUN = 7, 16


def numbered(quick: int) -> list[Any]:
    """The number of every combination, those from ``quick`` on marked as slow."""
    return [
        pytest.param(number, marks=() if number < quick else pytest.mark.slow)
        for number in range(len(COMBINATIONS))
    ]


def at(page: Page, choices: dict[str, str]) -> dict[str, Any]:
    """What the page shows for these choices, given by its address as a link gives them."""
    page.evaluate("(address) => { location.hash = address; readAddress(); }", urlencode(choices))
    shown: dict[str, Any] = page.evaluate(LOOK)
    return shown


@pytest.fixture(scope="module")
def written(chromium: Browser) -> list[dict[str, Any]]:
    """What the page shows for each combination."""
    with opened(chromium, PAGE) as watched:
        return [at(watched.page, choices) for choices in COMBINATIONS]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with opened(chromium, PAGE) as watched:
        yield watched.page


@pytest.fixture
def ready(tmp_path: Path, models: Callable[[str], Path]) -> Path:
    """A directory with what the combinations name."""
    for name in ("tiny.onnx", NAMED["modelpath"]):
        shutil.copy(models("matmul"), tmp_path / name)
    (tmp_path / "data set").mkdir()
    rows = [{"x": [0.1 * k, 0, 0, 1], "label": k % 3} for k in range(6)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data set" / "rows.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "it's mine.conf").write_text("*.Offline.target_qps = 250\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def cm_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return new_home(tmp_path_factory.mktemp("cm-home"))


def paste(command: str, directory: Path, environ: dict[str, str]) -> None:
    """Run what the page wrote as bash does with a pasted line; it has to leave a result."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert list(directory.rglob("result.json")), command
    assert not (directory / "hacked").exists()


@pytest.mark.parametrize("number", numbered(PLAIN_IN_EVERY_RUN))
def test_the_plain_command_starts(written: list[dict[str, Any]], ready: Path, number: int) -> None:
    assert written[number]["wrong"] == {}
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CM_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    paste(written[number]["plain"], ready, environ)


@pytest.mark.parametrize("number", numbered(CM_IN_EVERY_RUN))
def test_the_cm_command_starts(
    written: list[dict[str, Any]], ready: Path, cm_environ: dict[str, str], number: int
) -> None:
    paste(written[number]["cm"], ready, cm_environ)


def asked(call: str) -> dict[str, Any]:
    """What the Python call hands to cmind.access."""
    handed = next(node for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Dict))
    request: dict[str, Any] = ast.literal_eval(handed)
    return request


@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
def test_the_python_call_asks_for_the_same(written: list[dict[str, Any]], number: int) -> None:
    request = asked(written[number]["python"])
    called = {"action", "automation", "tags", "out", "quiet"}
    options = {flag: value for flag, value in request.items() if flag not in called}
    typed = {k: v for k, v in COMBINATIONS[number].items() if v and not k.startswith("_")}
    assert parse_config(options) == parse_config(typed)
    assert not {"samples", "seed"} & {k for k, v in options.items() if isinstance(v, str)}


def test_what_cannot_run_here_reaches_the_right_place(page: Page) -> None:
    shown = at(page, {"_models": "custom", "_huggingface": "1", "_model-stub": "ORG/my.model"})
    assert "python,_custom,_huggingface,_model-stub.ORG/my.model " in shown["cm"]
    assert "Without CM" in shown["plain"]
    assert "ORG/my.model is downloaded by CM" in shown["plain"]
    shown = at(page, {"_device": "cuda", "_loadgen": "loadgen-source", **MODEL})
    assert "python,_cuda,_loadgen-source " in shown["cm"]
    assert shown["plain"] == "loadgen-generic run tiny.onnx --ep=CUDAExecutionProvider"
    shown = at(page, {"_device": "openvino", "ep": "cpu", **MODEL})
    assert "python,_openvino " in shown["cm"]
    assert shown["plain"] == "loadgen-generic run tiny.onnx --ep=cpu"
    shown = at(page, {})
    assert shown["cm"].endswith("python,_demo --quiet")
    assert shown["plain"] == "loadgen-generic run --model=demo"
    assert "downloaded by CM" in at(page, {"_models": "resnet50"})["plain"]


@pytest.mark.slow
def test_the_hub_is_asked_for_the_model(
    page: Page, cm_environ: dict[str, str], tmp_path: Path
) -> None:
    shown = at(page, {"_models": "custom", "_huggingface": "1", "_model-stub": "ORG/NAME"})
    done = subprocess.run(
        ["bash", "-c", shown["cm"]],
        cwd=tmp_path,
        # Whatever pip may find here, the downloader is not installed.
        env={**cm_environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert 'cm run script "get ml-model huggingface' in done.stdout + done.stderr


WRONG = [
    ({"samples": "ten"}, "samples", "whole number"),
    ({"samples": "1.5"}, "samples", "whole number"),
    ({"samples": "0"}, "samples", "at least 1"),
    ({"seed": "9223372036854775808"}, "seed", "less than 9223372036854775808"),
    ({"target_qps": "-5", "scenario": "Server"}, "target_qps", "more than 0 queries/s"),
    (
        {"target_latency_percentile": "100", "scenario": "Server"},
        "target_latency_percentile",
        "less than 100 %",
    ),
    ({"target_qps": "5"}, "target_qps", "Offline"),
    ({"dim": "seq"}, "dim", "NAME=VALUE"),
    ({"dim": "seq=9:3"}, "dim", "LOW:HIGH"),
    ({"dim": "a=1,a=2"}, "dim", "twice"),
    ({"range": "ids=5"}, "range", "LOW:HIGH"),
    ({"shape": "ids=1xb"}, "shape", "1x128"),
    ({"fill": "x=one"}, "fill", "ones, zeros"),
    ({"distribution": "x=flat"}, "distribution", "uniform or normal"),
    ({"dataset": "d", "image_size": "0x2"}, "image_size", "HEIGHTxWIDTH"),
    ({"dataset": "d", "image_mean": "1,2"}, "image_mean", "one number or three"),
    ({"dataset": "d", "image_scale": "0"}, "image_scale", ""),
    ({"image_mean": "1"}, "image_mean", "without --dataset"),
    ({"mode": "accuracy", "repeat": "3"}, "repeat", "--repeat 3"),
    ({"mode": "accuracy", "trace": "True"}, "trace", "leave one out"),
    ({"atol": "1"}, "atol", "without --verify"),
    ({"tolerance": "int8"}, "tolerance", "without --verify or --mode tune"),
    ({"verify": "data", "tolerance": "int8", "rtol": "1"}, "rtol", "--tolerance int8"),
    ({"budget": "10m"}, "budget", "without --mode tune"),
    ({"mode": "tune", "budget": "1h30"}, "budget", "10m, 1h or 1h30m"),
    ({"mode": "tune", "budget": "168h1s"}, "budget", "1 s to 7 days"),
    ({"mode": "accuracy", "allow": "int8"}, "allow", "without --mode tune"),
    ({"min_query_count": "9", "max_query_count": "8"}, "max_query_count", "9 is more than"),
    ({"fill": "x=1", "dataset": "d"}, "fill", "--dataset d"),
    ({"audit": "a", "mode": "accuracy"}, "audit", "performance run"),
]


@pytest.mark.parametrize(
    ("choices", "wrong"),
    [
        ({"_device": "cuda", "devices": "0,1", "data_location": "device"}, {}),
        ({"_device": "tensorrt", "devices": "all", "precision": "int8"}, {}),
        ({"_device": "openvino", "precision": "bfloat16"}, {}),
        (
            {"_device": "openvino", "precision": "int8"},
            {"precision": "OpenVINOExecutionProvider has no switch"},
        ),
        ({"_device": "openvino", "devices": "0"}, {"devices": "OpenVINOExecutionProvider runs on"}),
        ({"_device": "cuda", "devices": "0,0"}, {"devices": "such as 0,1"}),
        ({"_device": "cuda", "ep": "cpu", "devices": "0"}, {"devices": "cpu runs on", "ep": "cpu"}),
        ({"devices": "0"}, {"devices": "CPUExecutionProvider runs on none"}),
        ({"ep": "openvino", "precision": "tf32"}, {"precision": "float16, auto", "ep": "openvino"}),
    ],
)
def test_the_variation_of_the_device_says_what_a_flag_may_be(
    page: Page, choices: dict[str, str], wrong: dict[str, str]
) -> None:
    shown = at(page, {**MODEL, **choices})
    assert shown["wrong"].keys() == wrong.keys()
    for flag, words in wrong.items():
        assert words in shown["wrong"][flag]
    if not wrong and "ep" not in choices:
        assert f"_{choices['_device']} " in shown["cm"]


def test_wrong_values_are_marked_with_words_where_they_are_typed(page: Page) -> None:
    for choices, flag, words in WRONG:
        shown = at(page, {**MODEL, **choices})
        assert words in shown["wrong"].get(flag, ""), choices
        assert flag in shown["marked"]
        assert all("not to be used" in shown[part] for part in PARTS)
        with pytest.raises(RequestError):
            parse_config({"modelpath": "tiny.onnx", **choices})


def test_the_page_and_the_schema_agree(page: Page) -> None:
    """Of every two options with a value each: what one accepts the other does."""
    known = json.loads(page.text_content("#facts") or "")["options"]
    values = {
        flag: option["choices"] or ["True", "False"]
        for flag, option in known.items()
        if option["choices"] or option["kind"] == "bool"
    }
    odd = ["1", "-1", "0", "2.5", "1.0", "1e3", "auto", "x=1", "x=1:2", "x=normal", "1x2", "1,2,3"]
    odd += ["x=", "x", "=1", "x=1,,y=2", "x=?x3", "x=3:1", "x=nan", "x=1:5:2", "1.", "4x", "x=1 "]
    odd += ["x=٣", "1_0", "+5", "1e999", "5000", "100", "x=inf", "x=-inf:inf", "x=1e400:2", "0x10"]
    cases = [{flag: text} for flag in known for text in values.get(flag, odd)]
    cases += [{"mode": "accuracy", "repeat": one} for one in ("1", "1.0", "2")]
    times = [*odd, "10m", "1H 30m", "0.5s", "168h", "168h1s", "m", "1h30", "1e5h"]
    cases += [{"mode": "tune", "budget": text} for text in times]
    plain = {
        flag: values.get(flag, ["x=7"] if known[flag]["kind"] == "pairs" else ["5"])
        for flag in known
    }
    plain |= {"shape": ["x=1x4"], "range": ["x=1:2"], "distribution": ["x=normal"]}
    plain |= {"endpoint": ["a:5", "a"], "header": ["x=7", "x"], "ray_address": ["a", "a:5"]}
    cases += [
        {"scenario": scenario, first: one, second: two}
        for scenario in values["scenario"][2:]
        for first in known
        if first != "scenario"
        for second in known
        if second > first and second != "scenario"
        for one in plain[first][-2:]
        for two in plain[second][-2:]
    ]
    verdicts = page.evaluate(
        """(cases) => cases.map((chosen) => findWrong(facts, {backend: "fake", ...chosen}))""",
        cases,
    )
    stricter = {"1_0", "1e999", "x=٣"}  # the schema takes some of these; the page need not
    for case, wrong in zip(cases, verdicts, strict=True):
        if stricter & set(case.values()):
            continue
        try:
            parse_config({"backend": "fake", **case})
            said = ""
        except RequestError as error:
            said = str(error)
        wrong.pop("modelpath", None)
        assert bool(said) == bool(wrong), f"{case}: schema {said!r}, page {wrong}"


def test_typing_choosing_and_resetting(page: Page) -> None:
    page.check("input[name=_models][value='']")
    assert "name a model" in page.inner_text("#e-modelpath")
    page.fill("#f-modelpath", "a b.onnx")
    assert page.is_hidden("#e-modelpath")
    page.select_option("#f-scenario", "Server")
    page.fill("#f-target_qps", "abc")
    assert page.get_attribute("#f-target_qps", "aria-invalid") == "true"
    assert "not to be used" in page.inner_text("#cm")
    assert page.is_disabled("[data-copy=cm]")
    page.fill("#f-target_qps", "12.5")
    command = "loadgen-generic run 'a b.onnx' --scenario=Server --target_qps=12.5"
    assert page.inner_text("#plain") == command
    shared = page.url.partition("#")[2]
    page.click("#reset")
    assert "#" not in page.url
    assert page.inner_text("#plain") == "loadgen-generic run --model=demo"
    page.evaluate("(address) => { location.hash = address; }", shared)
    page.wait_for_function(
        "(command) => document.getElementById('plain').textContent === command", arg=command
    )


def test_a_link_to_what_the_page_does_not_know_says_so(page: Page) -> None:
    shown = at(page, {"sample": "5", "scenario": "Sever"})
    assert "sample=5" in page.inner_text("#verdict")
    assert "scenario=Sever" in page.inner_text("#verdict")
    assert "not to be used" in shown["cm"]


@pytest.mark.parametrize("clipboard", [True, False], ids=["clipboard", "fallback"])
def test_one_click_copies(page: Page, clipboard: bool) -> None:
    if not clipboard:
        page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(Error('no')); }"
        )
    at(page, {**NAMED, **FEW})
    for part in PARTS:
        page.click(f"[data-copy={part}]")
        page.wait_for_function(
            "(part) => document.querySelector(`[data-copy=${part}]`).textContent === 'Copied'",
            arg=part,
        )
        assert page.evaluate("navigator.clipboard.readText()") == page.text_content(f"#{part}")


def test_a_copy_that_fails_says_so(page: Page) -> None:
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error('no')); }")
    page.evaluate("() => { document.execCommand = () => false; }")
    page.click("[data-copy=cm]")
    page.wait_for_function("document.getElementById('copied').textContent.startsWith('Not copied')")


def test_a_flag_is_found_by_a_word_of_its_description(page: Page) -> None:
    page.fill("#filter", "early stopping")
    shown = page.locator(".group .option:visible label code").all_inner_texts()
    assert "--min_query_count" in shown
    assert "--seed" not in shown
    assert page.inner_text("#found") == f"{len(shown)} flag{'' if len(shown) == 1 else 's'}"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_keyboard_reaches_every_control(chromium: Browser, size: tuple[int, int]) -> None:
    with opened(chromium, PAGE, size) as watched:
        page = watched.page
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        names = "document.activeElement.name || document.activeElement.id"
        expected = set(
            page.evaluate(
                "[...document.querySelectorAll('input, select, button')]"
                ".map((each) => each.name || each.id).filter(Boolean)"
            )
        )
        reached = set()
        for _ in range(len(expected) + 60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(names))
        assert expected <= reached
        unnamed = page.evaluate(
            "[...form.elements].filter((each) => each.matches('input, select')"
            " && !each.labels.length).length"
        )
        assert unnamed == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
