"""From a directory with LoadGen's logs to what a report shows."""

from __future__ import annotations

from loadgen_generic.report.reading.assemble import read_figures
from loadgen_generic.report.reading.figures import Figures, Histogram, Latencies, OverTime

__all__ = ["Figures", "Histogram", "Latencies", "OverTime", "read_figures"]
