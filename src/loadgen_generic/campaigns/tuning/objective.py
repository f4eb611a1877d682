"""What is tuned for, as the search sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loadgen_generic.campaigns.tuning.load import Load
from loadgen_generic.campaigns.tuning.metric import Metric
from loadgen_generic.campaigns.tuning.trial import Entry
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result

__all__ = ["Objective", "objective_of"]


class Objective(Protocol):
    """Attributes:
    higher_is_better: whether large values are good ones.
    unit: of the values.
    varies_load: a value takes several tests with different loads.
    """

    higher_is_better: bool
    unit: str
    varies_load: bool

    def words(self, fixed: Mapping[str, Any]) -> str: ...

    def bound(self, effective: Mapping[str, Any]) -> dict[str, Any]:
        """The bound of latency that was in force in a test, as options; empty without one."""
        ...

    def short(
        self, config: BenchmarkConfig, entries: Sequence[Entry], to_beat: float, layout_open: bool
    ) -> BenchmarkConfig | None:
        """The next short test of a setting; None when its value is known, or that it is not
        better than ``to_beat``, the best so far (0 for none).

        Args:
            config: of one run with the setting, of full length.
            layout_open: a better layout may be found for it.
        """
        ...

    def longer(self, config: BenchmarkConfig) -> BenchmarkConfig | None:
        """A longer test of a setting; None where the short ones tell as much."""
        ...

    def full(
        self, config: BenchmarkConfig, entries: Sequence[Entry], rounds: int
    ) -> tuple[BenchmarkConfig, bool] | None:
        """The next test that confirms a value, and whether it is of full length; None when the
        value is confirmed.

        Args:
            entries: all trials of the setting.
            rounds: how often a setting is measured.
        """
        ...

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        """``passed``, ``why``, and what else the value follows from."""
        ...

    def value(self, entries: Sequence[Entry], full: bool) -> float | None:
        """By the tests of full length, or by all; None where none passed."""
        ...

    def at_most(self, entries: Sequence[Entry]) -> float | None:
        """What no test of a setting without a value speaks against; None where none says."""
        ...

    def limits(self, entries: Sequence[Entry]) -> tuple[float | None, float | None]:
        """Lowest and highest of the tests of full length, or the loads around the limit."""
        ...

    def spread(self, entries: Sequence[Entry]) -> float:
        """How far the tests of full length lie apart, as a share of the value."""
        ...

    def ahead(self, entries: Sequence[Entry], of: Sequence[Entry]) -> tuple[float, float]:
        """How many times as fast one setting is as another, by interleaved tests of full
        length, and by which share of it that may be wrong."""
        ...

    def tests_needed(self, rounds: int) -> int:
        """Of full length, for each finalist."""
        ...

    def at(self, config: BenchmarkConfig, value: float) -> BenchmarkConfig:
        """The test that shows a value."""
        ...


def objective_of(config: BenchmarkConfig) -> Objective:
    """The objective of a request.

    Raises:
        RequestError: a needed option is missing.
    """
    return Load(config) if config.scenario in ("Server", "MultiStream") else Metric(config)
