"""Which operators take the time."""

from __future__ import annotations

from collections import Counter

from loadgen_generic.report.page.chart import Chart, Spec, axis, colour, spec_of, table_of, tip
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.profile import OperatorTime, Profile
from loadgen_generic.wording import format_measured

__all__ = ["operator_charts"]

_GROUP = "Operators"
_BARS = 12
_BAR_HEIGHT = 26
_LONGEST_NAME = 150


def operator_charts(figures: Figures) -> list[Chart]:
    """By kind and by node; none without ``--profile``."""
    profile = figures.result.profile if figures.result else None
    if profile is None or not profile.operators:
        return []
    about = (
        f"Over {profile.inferences:,} inferences of {profile.batch_size} sample(s) in a pass of "
        "its own, after the measured test; with the profiler on, one took "
        f"{_time(profile.inference_us)}."
    )
    kinds = _chart("operators", "Time by kind of operator", about, profile.operators, profile)
    if not profile.nodes:
        return [kinds]
    slowest = f"The slowest {len(profile.nodes)} nodes of the graph. {about}"
    return [kinds, _chart("nodes", "Slowest nodes", slowest, profile.nodes, profile)]


def _chart(
    identity: str, title: str, caption: str, operators: list[OperatorTime], profile: Profile
) -> Chart:
    bars = [_row(each, profile) for each in operators[:_BARS]]
    names = Counter(bar["name"] for bar in bars)
    for number, bar in enumerate(bars, 1):
        if names[bar["name"]] > 1:  # one bar each
            bar["name"] = f"{number}: {bar['name']}"
    rest = operators[_BARS:]
    if rest:
        caption += f" The chart has the first {_BARS}; the table has {len(operators)}."
    spec: Spec = {
        "mark": {"type": "bar", "color": colour(5)},
        "encoding": {
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": None,
                "axis": {"title": None, "labelLimit": _LONGEST_NAME},
            },
            "x": {
                "field": "share",
                "type": "quantitative",
                "axis": axis("share of the time of all operators (%)", ",.4~r", tickCount=5),
            },
            "tooltip": [
                {"field": "name", "type": "nominal", "title": "operator"},
                {"field": "kind", "type": "nominal", "title": "kind"},
                {"field": "provider", "type": "nominal", "title": "provider"},
                tip("share", "share (%)"),
                tip("us", "time of an inference (us)"),
            ],
        },
    }
    drawn = spec_of(bars, **spec)
    drawn["height"] = _BAR_HEIGHT * len(bars)
    return Chart(
        identity,
        _GROUP,
        title,
        caption,
        drawn,
        table_of(
            ["operator", "kind", "provider", "nodes", "calls", "time of an inference", "share"],
            [
                (
                    each.name,
                    each.kind,
                    each.provider,
                    f"{each.nodes:,}",
                    f"{each.calls:,}",
                    _time(each.total_us / profile.inferences),
                    f"{100 * each.share:.3g} %",
                )
                for each in operators
            ],
            "operator",
        ),
    )


def _row(each: OperatorTime, profile: Profile) -> dict[str, str | float]:
    return {
        "name": each.name,
        "kind": each.kind,
        "provider": each.provider,
        "share": 100 * each.share,
        "us": each.total_us / profile.inferences,
    }


def _time(us: float) -> str:
    return format_measured(1000 * us, "ns")
