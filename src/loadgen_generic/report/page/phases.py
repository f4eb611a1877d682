"""How the time of an inference divides: on a GPU, or between a network and a server."""

from __future__ import annotations

from loadgen_generic.report.devices import phases_of
from loadgen_generic.report.page.chart import Chart, Spec, axis, colour, spec_of, table_of, tip
from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.wording import format_measured

__all__ = ["phase_charts"]

_BAR_HEIGHT = 26
_SPREAD = 0.05
_FROM = {
    "host": "ordinary memory of the host",
    "pinned": "pinned memory of the host",
    "device": "the GPU's own memory",
}


def _of_a_card(location: str) -> str:
    return (
        f"Samples start in {_FROM.get(location, location)}. In the test, the copies of one worker "
        "overlap with the computation of another where there are several."
    )


def _of_a_server(tells_waiting: bool) -> str:
    if not tells_waiting:
        return (
            "The replica reports what it computes; the network is all the rest: Ray, the way there "
            "and back, and encoding and decoding at both ends."
        )
    return (
        "The server reports what a request waits and computes; the network is all the rest, with "
        "encoding and decoding at both ends."
    )


def phase_charts(figures: Figures) -> list[Chart]:
    """One chart; none where there is nothing to divide."""
    phases = figures.result.phases if figures.result else None
    if phases is None:
        return []
    parts, served = phases_of(phases), phases.network_us is not None
    who = "server" if phases.queue_us is not None else "replica"
    whole = sum(us for _, us in parts)
    bars = [
        {"name": name, "us": us, "share": 100 * us / whole if whole else 0.0} for name, us in parts
    ]
    spec: Spec = {
        "mark": {"type": "bar", "color": colour(3)},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": None, "axis": {"title": None}},
            "x": {
                "field": "us",
                "type": "quantitative",
                "axis": axis("time (us)", ",.4~r", tickCount=5),
            },
            "tooltip": [
                {"field": "name", "type": "nominal", "title": "phase"},
                tip("us", "time (us)"),
                tip("share", "share (%)"),
            ],
        },
    }
    drawn = spec_of(bars, **spec)
    drawn["height"] = _BAR_HEIGHT * len(bars)
    return [
        Chart(
            "phases",
            "Inference",
            f"Network and {who}" if served else "Copies and computation",
            f"Medians over batches of {phases.batch_size} sample(s), which one worker inferred alone "
            f"after the test. {_of_a_server(phases.queue_us is not None) if served else _of_a_card(phases.data_location)}",
            drawn,
            table_of(
                ["phase", "time", "share"],
                [
                    (
                        str(bar["name"]),
                        format_measured(1e3 * us, "ns", _SPREAD),
                        f"{bar['share']:.3g} %",
                    )
                    for bar, (_, us) in zip(bars, parts, strict=True)
                ],
                "phase",
            ),
        )
    ]
