"""The page of a tuned model: every candidate, what it trades, and why others are not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_tuning
from browser import DESKTOP, PHONE, chromium, opened
from playwright.sync_api import Browser

from loadgen_generic.report import formats
from loadgen_generic.report.page import write_page, write_png
from loadgen_generic.report.page.chart import Chart
from loadgen_generic.report.page.charts import charts_of
from loadgen_generic.report.page.tuning import candidates
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.tuning import Tuning

__all__ = ["chromium"]

BLOCKS = "#candidates tbody tr"


def found(figures: Figures) -> Tuning:
    assert figures.result is not None
    assert figures.result.tuning is not None
    return figures.result.tuning


def changed(figures: Figures, **changes: Any) -> Figures:
    assert figures.result is not None
    tuning = found(figures).model_copy(update=changes)
    return replace(figures, result=figures.result.model_copy(update={"tuning": tuning}))


def charts(figures: Figures) -> dict[str, Chart]:
    return {each.identity: each for each in charts_of(figures)[0]}


def rows_of(chart: Chart, mark: str) -> Iterator[dict[str, Any]]:
    """The data of all layers of that mark."""
    for layer in chart.spec["layer"]:
        if layer["mark"]["type"] == mark and "tooltip" in layer["encoding"]:
            yield from layer.get("data", chart.spec["data"])["values"]


def test_every_candidate_is_drawn_where_its_value_and_error_say(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path)
    tuning = found(figures)
    chart = charts(figures)["speed-error"]
    drawn = {row["t0"]: row for row in rows_of(chart, "point")}
    placed = {each.stage for each in tuning.candidates if str(each.number) in drawn}
    assert placed == {"short", "longer", "final", "refused"}, "only what failed has no place"
    for each in tuning.candidates:
        row = drawn.get(str(each.number))
        if row is None:
            continue
        if each.value is None:
            assert row["value"] < 0, "the strip below 0"
        else:
            assert row["value"] == pytest.approx(each.value, rel=1e-4)
        if each.max_abs_error:
            assert row["x"] == pytest.approx(each.max_abs_error, rel=1e-4)
        else:
            assert row["x"] < min(e.max_abs_error for e in tuning.candidates if e.max_abs_error)
        assert f"batch_size {each.settings['batch_size']}" in row["options"]
    front = next(layer for layer in chart.spec["layer"] if layer["mark"]["type"] == "line")
    assert len(front["data"]["values"]) == sum(each.on_front for each in tuning.candidates)
    names = [
        row["name"]
        for layer in chart.spec["layer"]
        if layer["mark"].get("fontWeight") == "bold"
        for row in layer["data"]["values"]
    ]
    assert list(dict.fromkeys(names)) == ["winner", "default"]
    assert [label for _, label, _ in chart.legend][-2:] == [
        "cpu int8 (refused)",
        "openvino float16 (failed)",
    ]
    assert "upper left corner is the best" in chart.caption


def test_a_latency_is_in_ms_and_low_is_good(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path, latency=True)
    chart = charts(figures)["speed-error"]
    text = json.dumps(chart.spec)
    assert "result, lower is better (ms)" in text
    assert "lower left corner is the best" in chart.caption
    failed = [each.model_copy(update={"stage": "failed"}) for each in found(figures).candidates]
    one_left = [found(figures).candidates[1], *failed[2:]]
    chart = charts(changed(figures, candidates=one_left))["speed-error"]
    assert len(list(rows_of(chart, "point"))) == 1, "what failed in the end is no choice"


def test_the_axis_has_a_place_for_no_error_at_all(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path)
    some = found(figures).candidates
    none = [each.model_copy(update={"max_abs_error": None, "verified": None}) for each in some]
    half = [*some[:4], *none[4:]]
    chart = charts(changed(figures, candidates=half))["speed-error"]
    places = {row["t0"]: row["x"] for row in rows_of(chart, "point")}
    assert places["5"] > places["1"]
    assert "stands at none" in chart.caption
    exact = [each.model_copy(update={"max_abs_error": 0.0}) for each in some]
    chart = charts(changed(figures, candidates=exact))["speed-error"]
    assert len({row["x"] for row in rows_of(chart, "point")}) == 1
    shown, missing = charts_of(changed(figures, candidates=none))
    assert "speed-error" not in {each.identity for each in shown}
    assert any("whose answers were compared" in sentence for sentence in missing)
    assert candidates(changed(figures, candidates=none)).count("<tr") == len(none) + 1


def test_what_each_choice_was_worth(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path)
    chart = charts(figures)["worth"]
    bars = {row["choice"]: row["text"] for row in rows_of(chart, "bar")}
    assert bars == {
        "provider": "\u00d71.11",
        "precision": "\u00d71.83",
        "batch": "\u00d70.970",
    }
    assert "threads not measured (the time had run out)" in chart.caption
    unknown = [each.model_copy(update={"factor": None}) for each in found(figures).worth]
    figures = changed(figures, worth=unknown)
    assert "worth" not in charts(figures)
    assert "provider not measured" in candidates(figures)


def test_the_table_says_what_became_of_each(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path)
    text = formats.markdown(figures)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    start = next(i for i, line in enumerate(lines) if line.startswith("| number |"))
    names = [name.strip() for name in lines[start].strip("|").split(" | ")]
    rows = [
        dict(zip(names, line.removeprefix("| ").removesuffix(" |").split(" | "), strict=True))
        for line in lines[start + 2 : start + 2 + len(found(figures).candidates)]
    ]
    assert rows[0]["number"] == str(found(figures).winner)
    assert (
        rows[0]
        | {
            "which": "winner",
            "result": "116 samples/s",
            "low to high": "115 to 117 samples/s",
            "worst error": "0.013",
            "top-1 agreement": "98.44 %",
            "start-up": "710 ms",
            "timed by": "full length",
            "answers": "verified",
        }
        == rows[0]
    )
    assert next(row for row in rows if row["which"] == "default")["number"] == "1"
    assert rows[-2]["answers"] == "refused: an error of 0.94 where 0.05 is allowed"
    assert rows[-2]["worst error"] == "0.94"
    assert rows[-1]["answers"] == "failed: it does not start"
    assert "top-1 accuracy" not in names, "no labels, no column"
    assert "- openvino int8: needs --allow int8" in text
    assert f"    {found(figures).cm_command}" in text.splitlines()


def test_other_formats_take_it(tmp_path: Path) -> None:
    figures = sample_tuning.tuned(tmp_path)
    document = json.loads(json.dumps(formats.document(figures)))
    again = Tuning.model_validate(document["result"]["tuning"])
    assert again == found(figures)
    assert len(formats.table([figures]).splitlines()) == 2
    write_png(figures, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_names_are_text(tmp_path: Path) -> None:
    bad = '<img src=x onerror="alert(1)">'
    figures = sample_tuning.tuned(tmp_path)
    hostile = [
        each.model_copy(update={"family": bad, "words": bad, "why": bad})
        for each in found(figures).candidates
    ]
    worth = [each.model_copy(update={"factor": None, "why": bad}) for each in found(figures).worth]
    left = [each.model_copy(update={"what": bad, "why": bad}) for each in found(figures).left_out]
    figures = changed(
        figures, candidates=hostile, worth=worth, left_out=left, sentence=bad, command=bad
    )
    write_page(figures, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert bad not in text
    assert bad.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;") in text


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("latency", [False, True], ids=["throughput", "latency"])
def test_the_page_in_a_browser(
    tmp_path: Path, chromium: Browser, size: tuple[int, int], latency: bool
) -> None:
    figures = sample_tuning.tuned(tmp_path, latency=latency)
    tuning = found(figures)
    timed = [each for each in tuning.candidates if each.value is not None]
    write_page(figures, tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html", size) as watched:
        page = watched.page
        page.wait_for_selector("html[data-drawn=true]")
        links = page.locator("nav a").all_inner_texts()
        assert links[:3] == ["Summary", "Tuning", "Candidates"]
        points = "#chart-speed-error .mark-symbol.role-mark path[aria-roledescription=point]"
        rings = 2  # of default and winner
        refused = sum(each.stage == "refused" for each in tuning.candidates)
        assert page.locator(points).count() == len(timed) + refused + rings
        assert page.locator("#chart-worth .mark-rect path").count() >= 3
        assert page.locator(BLOCKS).count() == len(tuning.candidates)
        first = page.locator(BLOCKS).first.inner_text()
        assert "winner" in first
        assert "openvino bfloat16" in first
        assert tuning.sentence in page.locator("#verdict").inner_text()
        assert "2 disturbed" in page.locator("#summary").inner_text()
        assert "needs --allow int8" in page.locator("#candidates").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for place, command in enumerate((tuning.command, tuning.cm_command)):
            place += len(page.query_selector_all(".command")) - 2
            page.locator(f"[data-copies=command-{place}]").click()
            page.wait_for_function(
                f"document.querySelector('[data-copies=command-{place}]').textContent === 'Copied'"
            )
            assert page.evaluate("navigator.clipboard.readText()") == command
        page.locator("#chart-speed-error .legend button").first.click()
        own = sum(each.family == tuning.candidates[0].family for each in timed)
        page.wait_for_function(
            f"document.querySelectorAll('{points}').length === {len(timed) + refused + rings - own}"
        )
        if size == PHONE:
            box = page.locator(f"{BLOCKS} td").nth(2).bounding_box()
            assert box
            assert box["width"] > 300, "a line for each fact"
            named = "each => getComputedStyle(each, '::before').content"
            assert "family" in page.locator(f"{BLOCKS} td").nth(2).evaluate(named)
        else:
            point = page.locator(points).nth(3)
            point.scroll_into_view_if_needed()
            point.hover(force=True)
            tooltip = page.locator("#vg-tooltip-element.visible")
            tooltip.wait_for()
            assert re.search(r"batch_size \d+", tooltip.inner_text())
