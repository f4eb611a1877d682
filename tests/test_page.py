"""The report as people meet it: in a real browser, by pointer, keyboard and eye."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import sample_figures
import vl_convert
from browser import DESKTOP, PHONE, chromium, opened
from command import Command
from playwright.sync_api import Browser, Page

from loadgen_generic.report.page import write_page, write_png
from loadgen_generic.report.page.chart import Table
from loadgen_generic.report.page.charts import charts_of
from loadgen_generic.report.page.markup import asset
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.report.writing import REPORT_FILE
from loadgen_generic.results.detail_log import HEADLINES
from loadgen_generic.results.profile import OperatorTime, Profile

__all__ = ["chromium"]

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>.onnx'
MACHINE = {"machine-0", "machine-1", "machine-2", "machine-3"}
LATENCY = {"latency-cdf", "latency-histogram", "latency-time"}
SERVER = {*LATENCY, *MACHINE, "throughput", "waiting", "batches"}
CHARTS = {
    "accuracy": MACHINE,
    "repeated": {*LATENCY, *MACHINE, "throughput", "repeat", "operators", "nodes"},
    "searched": {*SERVER, "trials"},
    "layouts": {*MACHINE, "throughput", "trials"},
    "gpu": {"throughput", *MACHINE, "machine-4", "machine-5", "machine-6"},
    "hostile": {*SERVER, "operators"},
}
BADGES = {
    True: ("\u2713 VALID", "solid"),
    False: ("\u2717 INVALID", "dashed"),
    None: ("\u25c6 ACCURACY", "solid"),
}
# Marks with something to see: paths of lines, bars, points and rules.
DRAWN = """figure => [...figure.querySelectorAll('.drawing svg [class*="mark-"] path')]
    .filter(path => path.closest('.role-mark') && !path.matches('.background')
        && (path.getAttribute('d') || '').length > 20
        && getComputedStyle(path).opacity !== '0').length"""
LINES = "#chart-latency-time .mark-line path"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figures]:
    directory = tmp_path_factory.mktemp("runs")
    (directory / "layouts").mkdir()
    found = {name: sample_figures.performance(name, directory) for name in HEADLINES}
    gpu = sample_figures.many_cores(128) + sample_figures.gpu_timelines()
    return {
        **found,
        "accuracy": sample_figures.accuracy(directory),
        "repeated": sample_figures.repeated(directory),
        "searched": sample_figures.searched(directory),
        "layouts": sample_figures.searched(directory / "layouts", layouts=True),
        "gpu": replace(found["Offline"], machine=gpu),
        "hostile": hostile(directory),
    }


def hostile(directory: Path) -> Figures:
    """All that a user, a model or a machine may name, named to do harm."""
    run = sample_figures.performance("Server", directory, model=HOSTILE)
    assert run.result is not None
    operator = OperatorTime(
        name=HOSTILE, kind=HOSTILE, provider=HOSTILE, nodes=1, calls=1, total_us=1.0, share=1.0
    )
    profile = Profile(
        inferences=1, batch_size=1, inference_us=1.0, operators=[operator], nodes=[], file=HOSTILE
    )
    settings = [each.model_copy(update={"requested": HOSTILE}) for each in run.settings]
    result = run.result.model_copy(
        update={"doubts": [HOSTILE], "notes": [HOSTILE], "profile": profile, "host": {"a": HOSTILE}}
    )
    machine = [
        line.model_copy(
            update={
                "title": HOSTILE,
                "series": [each.model_copy(update={"name": HOSTILE}) for each in line.series],
            }
        )
        for line in run.machine
    ]
    return replace(
        run,
        verdict=f"INVALID: {HOSTILE}",
        reasons=[HOSTILE, HOSTILE],
        missing=[HOSTILE],
        machine=machine,
        settings=settings,
        result=result,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script of the charts is kept between pages."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pages(
    figures: dict[str, Figures], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    directory = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOADGEN_GENERIC_CACHE", str(cache))
        paths = {name: directory / f"{name}.html" for name in figures}
        for name, path in paths.items():
            write_page(figures[name], path)
        # From here on the script comes from the cache.
        patch.setattr(vl_convert, "javascript_bundle", None)
        write_page(figures["Offline"], directory / "again.html")
        assert (directory / "again.html").read_bytes() == paths["Offline"].read_bytes()
        yield paths


def drawn(page: Page) -> Page:
    page.wait_for_selector("html[data-drawn=true]")
    return page


@pytest.mark.parametrize("name", CHARTS)
def test_a_page_says_what_the_run_found(
    name: str, figures: dict[str, Figures], pages: dict[str, Path], chromium: Browser
) -> None:
    run = figures[name]
    with opened(chromium, pages[name]) as watched:
        page = drawn(watched.page)
        headline = page.locator("#headline")
        assert float(headline.get_attribute("data-value") or "") == run.metric.value
        assert headline.get_attribute("data-unit") == run.metric.unit
        assert run.verdict in page.locator("#verdict").inner_text()
        # Without its colour an invalid run is told apart by its sign, its word and its frame.
        badge, frame = BADGES[run.valid]
        assert page.locator("#verdict .badge").inner_text() == badge
        style = "each => getComputedStyle(each).borderTopStyle"
        assert page.eval_on_selector("#verdict", style) == frame
        shown = page.eval_on_selector_all("figure", "all => all.map(each => each.id)")
        assert set(shown) == {f"chart-{each}" for each in CHARTS[name]}
        for figure in page.query_selector_all("figure"):
            marks = figure.evaluate(DRAWN)
            assert marks >= 1, f"{figure.get_attribute('id')} is empty"
            assert figure.query_selector("figcaption")
            assert figure.query_selector("details td")
            labels = figure.eval_on_selector_all(
                ".drawing svg text", "all => all.map(each => each.textContent)"
            )
            assert any(re.search(r"\(.+\)$", each) for each in labels), "an axis has a unit"
    assert pages[name].stat().st_size < 1_300_000


@pytest.mark.parametrize(
    ("scenario", "charts"),
    [
        ("Offline", {"throughput"}),
        ("SingleStream", {*LATENCY, "throughput"}),
        ("MultiStream", {*LATENCY, "throughput"}),
        ("Server", {*LATENCY, "throughput", "waiting", "batches"}),
    ],
)
def test_the_page_of_a_real_run(
    scenario: str, charts: set[str], command: Command, chromium: Browser
) -> None:
    result = command.fake("latency_us=300", scenario=scenario, loadgen_duration_sec=0.7).result
    with opened(chromium, Path(result.output_dir) / REPORT_FILE) as watched:
        page = drawn(watched.page)
        headline = page.locator("#headline")
        assert float(headline.get_attribute("data-value") or "") == result.metric.value
        assert headline.get_attribute("data-unit") == result.metric.unit
        assert result.verdict in page.locator("#verdict").inner_text()
        for chart in charts:
            assert page.locator(f"#chart-{chart}").evaluate(DRAWN) >= 1, chart


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SingleStream", "2.32 ms"),
        ("repeated", "2.3 ms"),  # the runs lie 17 % apart
        ("Server", "11,800 samples/s"),
        ("Offline", "48,200 samples/s"),
        ("accuracy", "76.2 %"),
    ],
)
def test_the_headline_has_the_digits_that_its_spread_supports(
    name: str, text: str, pages: dict[str, Path]
) -> None:
    assert re.search(rf'id="headline"[^>]*>{re.escape(text)}</p>', pages[name].read_text("utf-8"))


def test_pointer_legend_and_copy(pages: dict[str, Path], chromium: Browser) -> None:
    with opened(chromium, pages["Server"]) as watched:
        page = drawn(watched.page)
        for chart, expected in (
            ("latency-time", ("time (s)", "99th percentile (ms)", "maximum (ms)")),
            ("latency-cdf", ("latency (ms)", "within it (%)")),
            ("batches", ("batch (samples)", "queries", "share (%)")),
        ):
            page.locator(f"#chart-{chart} .drawing").scroll_into_view_if_needed()
            box = page.locator(f"#chart-{chart} .drawing svg").bounding_box()
            assert box
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.6)
            page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] * 0.7)
            tooltip = page.locator("#vg-tooltip-element.visible")
            tooltip.wait_for()
            for words in expected:
                assert re.search(rf"{re.escape(words)}:?\s+[\d.,]+", tooltip.inner_text())
        assert page.locator(LINES).count() == 4
        button = page.locator("#chart-latency-time .legend button").first
        button.click()
        page.wait_for_function(f"document.querySelectorAll('{LINES}').length === 3")
        assert button.get_attribute("aria-pressed") == "false"
        button.press("Space")
        page.wait_for_function(f"document.querySelectorAll('{LINES}').length === 4")
        assert button.get_attribute("aria-pressed") == "true"
        page.locator("button.copy").click()
        page.wait_for_function("document.querySelector('button.copy').textContent === 'Copied'")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator("#command-0").inner_text()
        assert copied.startswith("loadgen-generic run --model_path 'resnet50.onnx'")


def test_tab_reaches_every_control(pages: dict[str, Path], chromium: Browser) -> None:
    with opened(chromium, pages["searched"]) as watched:
        page = drawn(watched.page)
        page.locator("details").first.evaluate("each => { each.open = true; }")
        wanted = page.evaluate("""() => {
            const all = document.querySelectorAll('a[href], button, summary, input, [tabindex="0"]');
            window.wanted = [...all].filter(each => each.checkVisibility());
            return window.wanted.length;
        }""")
        assert wanted > 40
        page.evaluate("window.met = new Set()")
        for _ in range(wanted):
            page.keyboard.press("Tab")
            page.evaluate("window.met.add(document.activeElement)")
        unmet = "wanted.filter(each => !met.has(each)).map(each => each.outerHTML)"
        assert page.evaluate(unmet) == []
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_names_are_text(pages: dict[str, Path], chromium: Browser) -> None:
    with opened(chromium, pages["hostile"]) as watched:
        page = watched.page
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        drawn(page)
        assert page.locator("h1").inner_text() == f"{HOSTILE} Server"
        page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        bar = page.locator("#chart-operators .mark-rect path")
        bar.scroll_into_view_if_needed()
        box = bar.bounding_box()
        assert box
        page.mouse.move(box["x"] + 10, box["y"] + 10)
        page.mouse.move(box["x"] + 12, box["y"] + 12)
        page.locator("#vg-tooltip-element.visible").wait_for()
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 3


def test_themes_and_paper(pages: dict[str, Path], chromium: Browser) -> None:
    with opened(chromium, pages["Server"], scheme="dark") as watched:
        page = drawn(watched.page)
        line = page.locator(LINES).last

        def colours() -> tuple[str, str]:
            stroke: str = line.evaluate("each => getComputedStyle(each).stroke")
            ground: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
            return stroke, ground

        dark = colours()
        toggle = page.locator("#theme")
        assert toggle.get_attribute("aria-pressed") == "true"
        toggle.click()
        light = colours()
        assert light[0] != dark[0]
        assert light[1] != dark[1]
        toggle.click()
        assert colours() == dark
        page.emulate_media(media="print")
        assert colours()[0] == light[0]
        assert not page.locator("#theme").is_visible()
        assert not page.locator("button.copy").is_visible()
        figure = page.locator("#chart-latency-cdf")
        assert figure.evaluate("each => getComputedStyle(each).breakInside") == "avoid"


@pytest.mark.parametrize("name", ["hostile", "repeated", "gpu"])
def test_no_page_is_wider_than_its_window(
    name: str, pages: dict[str, Path], chromium: Browser
) -> None:
    over = "all => all.filter(each => each.getBoundingClientRect().right > innerWidth).length"
    with opened(chromium, pages[name], size=PHONE) as watched:
        page = drawn(watched.page)
        page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        for width, height in (PHONE, DESKTOP, PHONE):  # as when a phone is turned
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.eval_on_selector_all(".drawing svg", over) == 0


def test_colours_can_be_told_from_their_ground() -> None:
    """WCAG's AA: 4.5 for text, 3 for what is drawn."""
    sheet = asset("report.css")
    light = dict(re.findall(r"(--[\w-]+): (#\w{6});", sheet.partition("}")[0]))
    dark = dict(re.findall(r"(--[\w-]+): (#\w{6});", sheet.partition("}")[2].partition("}")[0]))
    assert light.keys() == dark.keys()
    for theme in (light, dark):
        for name, value in theme.items():
            if name in ("--text", "--muted", "--link", "--good", "--bad", "--warn"):
                assert contrast(value, theme["--surface"]) >= 4.5, name
                assert contrast(value, theme["--page"]) >= 4.5, name
            if name.startswith("--series") or name == "--axis":
                assert contrast(value, theme["--surface"]) >= 3, name
        for kind in ("good", "bad", "warn"):
            assert contrast(theme[f"--{kind}"], theme[f"--{kind}-wash"]) >= 4.5
            assert contrast(theme["--text"], theme[f"--{kind}-wash"]) >= 4.5


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_parts_are_never_passed_off_as_the_whole(figures: dict[str, Figures]) -> None:
    charts = {each.identity: each for each in charts_of(figures["Server"])[0]}
    for name in LATENCY:
        assert "200,000 of 1,400,000 queries, one in 7 timed" in charts[name].caption
    note = charts["latency-cdf"].table.note
    assert re.match(r"One point in \d+ of 401 is shown", note)
    assert len(charts["latency-cdf"].table.rows) <= 51
    charts = {each.identity: each for each in charts_of(figures["SingleStream"])[0]}
    assert "all 200,000 queries" in charts["latency-cdf"].caption
    charts = {each.identity: each for each in charts_of(figures["gpu"])[0]}
    assert "128 series are too many to draw" in charts["machine-0"].caption
    assert [label for _, label, _ in charts["machine-0"].legend] == ["highest", "mean", "lowest"]


def test_every_latency_is_in_a_bar_and_under_the_curve(figures: dict[str, Figures]) -> None:
    latencies = figures["Server"].latencies
    assert latencies
    charts = {each.identity: each for each in charts_of(figures["Server"])[0]}
    bars = charts["latency-histogram"].spec["data"]["values"]
    assert sum(bar["y"] for bar in bars) == latencies.counted
    assert all(left["x2"] <= right["x"] for left, right in pairwise(bars))
    curve = charts["latency-cdf"].spec["data"]["values"]
    assert curve[0]["y"] == 0
    assert curve[-1]["y"] == 100
    p99 = figures["Server"].latency_ns["p99"] / 1e6
    below = max(point["y"] for point in curve if point["x"] <= p99)
    assert below == pytest.approx(99, abs=0.2)


def test_what_is_missing_is_said(figures: dict[str, Figures], tmp_path: Path) -> None:
    (run := tmp_path / "run").mkdir()
    searched = sample_figures.searched(run)
    for damaged in ("{", "{}", '{"runs": []}', None):
        if damaged is None:
            (run / "search.json").unlink()
        else:
            (run / "search.json").write_text(damaged, "utf-8")
        charts, missing = charts_of(searched)
        assert "trials" not in {each.identity for each in charts}
        assert any("search.json" in sentence for sentence in missing)
    assert figures["Offline"].missing[0] in missing


@pytest.mark.parametrize("layouts", [False, True])
def test_trials_on_a_cluster_name_their_nodes(layouts: bool, tmp_path: Path) -> None:
    searched = sample_figures.searched(tmp_path, layouts=layouts)

    def table() -> Table:
        return {each.identity: each for each in charts_of(searched)[0]}["trials"].table

    alone = table()
    assert "node" not in alone.columns
    journal = json.loads((tmp_path / "search.json").read_text("utf-8"))
    for run in journal["runs"][1:]:
        run["node"] = f"10.0.0.{run['number']}"
    (tmp_path / "search.json").write_text(json.dumps(journal), "utf-8")
    spread = table()
    assert list(spread.columns) == ["trial", "node", *alone.columns[1:]]
    assert [row[1] for row in spread.rows] == ["", *(f"10.0.0.{at}" for at in range(2, 7))]
    assert [[row[0], *row[2:]] for row in spread.rows] == [list(row) for row in alone.rows]


def test_logs_of_another_program_make_a_page(tmp_path: Path) -> None:
    run = sample_figures.performance("SingleStream", tmp_path)
    bare = replace(
        run, result=None, latencies=None, throughput=None, machine=[], settings=[], model=""
    )
    write_page(bare, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert 'data-value="2317450.0"' in page
    assert re.findall(r'<figure id="([^"]+)"', page) == ["chart-percentiles"]
    write_page(replace(bare, latency_ns={}), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<figure" not in page
    assert "vegaEmbed=" not in page, "no charts, no library"


@pytest.mark.parametrize("name", ["repeated", "searched"])
def test_the_charts_as_one_picture(
    name: str, figures: dict[str, Figures], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.png"
    write_png(figures[name], path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > 1300
    assert height > 300 * len(CHARTS[name])
    assert capfd.readouterr().err == ""


def test_embedded_data_cannot_leave_its_element(pages: dict[str, Path]) -> None:
    page = pages["hostile"].read_text("utf-8")
    data = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.DOTALL)
    assert data
    assert "<" not in data[1]
    named = json.loads(data[1])["operators"]["data"]["values"][0]["name"]
    assert named == HOSTILE
