"""What a search asks of each scenario: the load that is varied, the trials, when one passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from loadgen_generic.campaigns.bisection import Step, Trial
from loadgen_generic.campaigns.fixing import layout_of, one_run
from loadgen_generic.campaigns.lengths import queries_at, shortened
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.early_stopping import CONFIDENCE, most_over
from loadgen_generic.errors import RequestError
from loadgen_generic.results.build import command_line
from loadgen_generic.results.detail_log import DetailLog, read_detail_log
from loadgen_generic.results.result import Result
from loadgen_generic.supervisor import requested
from loadgen_generic.wording import format_beside, format_measured, format_value

__all__ = ["Question", "question_of", "trials_of"]

# Arrivals beyond what is completed, as a share: a queue that grows faster is no steady state,
# though a short test may end before the bound is reached.
_GROWING = 0.03
# Beyond this many queries the normal approximation of the binomial is good to a thousandth.
_MANY = 20_000
_STANDARD_NORMAL_AT_CONFIDENCE = 2.326


class Question(Protocol):
    """The load that is varied, and how a test with it is set up and judged.

    Attributes:
        flag: the option that is the load.
        unit: of the load.
        least: no load is smaller.
    """

    flag: str
    unit: str
    least: float

    def round_load(self, load: float) -> float: ...

    def first_load(self) -> float:
        """0 where the first test finds it out by itself."""
        ...

    def trial(self, step: Step, fixed: Mapping[str, Any]) -> BenchmarkConfig:
        """The test of a step, with what the first trial settled."""
        ...

    def fix(self, result: Result) -> dict[str, Any]:
        """What the first trial chose, and all others keep: options and values."""
        ...

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        """What the journal says of a trial."""
        ...

    def bound_in_words(self, fixed: Mapping[str, Any]) -> str: ...

    def easier(self, result: Result) -> str:
        """A command that asks for less, where nothing passed."""
        ...


def question_of(config: BenchmarkConfig) -> Question:
    """The question that a request asks.

    Raises:
        RequestError: a needed option is missing.
    """
    return _QUESTIONS[config.scenario](config)


class _Common:
    flag: str
    unit: str
    least: float
    own: tuple[str, ...] = ()  # options of the search that its tests do not know

    def __init__(self, config: BenchmarkConfig) -> None:
        self._config = config

    def round_load(self, load: float) -> float:
        raise NotImplementedError

    def first_load(self) -> float:
        return float(getattr(self._config, self.flag) or 0.0)

    def trial(self, step: Step, fixed: Mapping[str, Any]) -> BenchmarkConfig:
        options = {k: v for k, v in {**one_run(self._config), **fixed}.items() if k not in self.own}
        if not step.full:
            options = shortened(options, self._config)
        if step.load:
            load = self.round_load(step.load)
            options[self.flag] = int(load) if load.is_integer() else load
        return BenchmarkConfig.model_validate(options)

    def bound_in_words(self, fixed: Mapping[str, Any]) -> str:
        bound = format_value(fixed["target_latency_ms"] * 1e6, "ns")
        return f"{bound} at the {fixed['target_latency_percentile']:g}th percentile of latency"

    def easier(self, result: Result) -> str:
        """The same search with a bound that a query on its own meets."""
        bound = math.ceil(2 * result.latency_ns.get("max", 0) / 1e6)
        return command_line(requested(self._config), {"target_latency_ms": str(max(1, bound))})


class _Server(_Common):
    flag, unit, least = "target_qps", "queries/s", 0.0

    def round_load(self, load: float) -> float:
        return float(f"{load:.4g}")

    def fix(self, result: Result) -> dict[str, Any]:
        effective = result.config.effective
        bound = ("target_latency_ms", "target_latency_percentile")
        return {**layout_of(result), **{name: effective[name] for name in bound}}

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        log = _log(result)
        effective = result.config.effective
        rate = float(effective["target_qps"])
        bound_ns = 1e6 * float(effective["target_latency_ms"])
        over = int(log.values.get("result_overlatency_query_count", 0))
        share, allowed = (
            over / max(1, log.queries),
            self._allowed_share(rate, effective["target_latency_percentile"] / 100),
        )
        why = "; ".join(result.invalid_reasons) if full else "; ".join(log.errors)
        if not full and not why and share > allowed:
            why = (
                f"{100 * share:.3g} % of the queries took longer than "
                f"{format_value(bound_ns, 'ns')}; {100 * allowed:.3g} % may, in a test of full "
                "length"
            )
        growing = _growing(log)
        if not why and growing:
            why = f"the queue grew: {format_measured(result.metric.value, 'queries/s')} were completed"
        hopeless = bool(why) and result.latency_ns.get("min", 0) > bound_ns
        return _entry(result, full, rate, why, hopeless) | {
            "over_share": share,
            "sustained": result.metric.value if growing else 0.0,
        }

    def _allowed_share(self, rate: float, percentile: float) -> float:
        """The share of queries over the bound with which a test of full length would pass.

        A short trial is held to this rather than to early stopping at its own few queries,
        which is stricter: the limit would come out several percent too low.
        """
        queries = queries_at(self._config, rate, percentile)
        if queries <= _MANY:
            return max(0, most_over(queries, percentile)) / queries
        deviation = math.sqrt(percentile * (1 - percentile) / queries)
        return 1 - percentile - _STANDARD_NORMAL_AT_CONFIDENCE * deviation


class _MultiStream(_Common):
    flag, unit, least = "samples_per_query", "samples/query", 1.0
    own = ("target_latency_ms",)  # LoadGen bounds nothing in MultiStream

    def __init__(self, config: BenchmarkConfig) -> None:
        super().__init__(config)
        if config.target_latency_ms is None:
            raise RequestError(
                "a search in MultiStream needs the bound that a query has to meet.",
                flag="mode",
                value="find_peak",
                remedy="Give it in ms: --target_latency_ms 50.",
            )

    def round_load(self, load: float) -> float:
        return float(max(1, round(load)))

    def fix(self, result: Result) -> dict[str, Any]:
        # A query is one batch unless the user said otherwise, so the batch goes with the load.
        layout = layout_of(result)
        del layout["batch_size"]
        percentile = result.config.effective["target_latency_percentile"]
        return {
            **layout,
            "target_latency_ms": self._config.target_latency_ms,
            "target_latency_percentile": percentile,
        }

    def judge(self, result: Result, full: bool) -> dict[str, Any]:
        bound_ns = 1e6 * (self._config.target_latency_ms or 0.0)
        why = "; ".join(result.invalid_reasons)
        measured = result.metric.value
        if not why and measured > bound_ns:
            reached = format_beside(measured, bound_ns, "ns")
            why = f"{reached} is over {format_value(bound_ns, 'ns')}"
        load = float(result.config.effective["samples_per_query"])
        hopeless = load == self.least and bool(why)
        return _entry(result, full, load, why, hopeless) | {
            "over_share": None,
            "sustained": 0.0,
        }


_QUESTIONS: dict[str, Callable[[BenchmarkConfig], Question]] = {
    "Server": _Server,
    "MultiStream": _MultiStream,
}
assert CONFIDENCE == 0.99  # what the quantile above is of


def _log(result: Result) -> DetailLog:
    return read_detail_log(Path(result.loadgen_logs["detail"]))


def _growing(log: DetailLog) -> bool:
    """Whether answers fell behind arrivals by more than the time of a usual query."""
    scheduled = float(log.values.get("result_scheduled_samples_per_sec", 0))
    completed = float(log.values.get("result_completed_samples_per_sec", 0))
    if not scheduled or not completed:
        return False
    arriving, answering = log.samples / scheduled, log.samples / completed
    usual = log.latency_ns().get("p50", 0) / 1e9
    return answering - arriving - usual > _GROWING * arriving


def _entry(result: Result, full: bool, load: float, why: str, hopeless: bool) -> dict[str, Any]:
    percentile = result.config.effective["target_latency_percentile"]
    return {
        "load": load,
        "full": full,
        "passed": not why,
        "why": why,
        "hopeless": hopeless,
        "valid": result.valid,
        "completed_per_sec": result.samples_completed / max(result.duration_s, 1e-9),
        "percentile_ns": result.latency_ns.get(f"p{percentile:g}", 0),
        "duration_s": result.duration_s,
        "verdict": result.verdict,
        "doubts": result.doubts,
    }


def trials_of(entries: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """What a bisection knows of journal entries; those of other kinds of trials are passed over."""
    return [
        Trial(
            each["load"],
            each["full"],
            each["passed"],
            each["sustained"],
            each["hopeless"],
            bool(each["doubts"]),
        )
        for each in entries
        if "load" in each
    ]
