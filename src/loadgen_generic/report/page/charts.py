"""All charts of a run, in the order of the page."""

from __future__ import annotations

from loadgen_generic.report.page.chart import Chart
from loadgen_generic.report.page.latency import latency_charts
from loadgen_generic.report.page.load import load_charts, machine_charts
from loadgen_generic.report.page.operators import operator_charts
from loadgen_generic.report.page.percentiles import percentile_charts
from loadgen_generic.report.page.phases import phase_charts
from loadgen_generic.report.page.trials import trial_charts
from loadgen_generic.report.page.tuning import tuning_charts
from loadgen_generic.report.reading.figures import Figures

__all__ = ["charts_of"]


def charts_of(figures: Figures) -> tuple[list[Chart], list[str]]:
    """The charts, and a sentence for each that one would expect and that is not there."""
    tuned, unknown = tuning_charts(figures)
    trials, lost = trial_charts(figures)
    charts = [
        *tuned,
        *trials,
        *latency_charts(figures),
        *percentile_charts(figures),
        *load_charts(figures),
        *machine_charts(figures),
        *phase_charts(figures),
        *operator_charts(figures),
    ]
    return charts, [*figures.missing, *unknown, *lost]
