"""The description of a run: every option once, in the modules of this room.

The command line, the JSON request that CM hands over, the option tables of the
README and CM's ``input_mapping`` and ``input_description`` are all derived from
:class:`BenchmarkConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import model_validator
from pydantic.fields import FieldInfo

from loadgen_generic.config.answers import AnswerOptions
from loadgen_generic.config.cluster import ClusterOptions
from loadgen_generic.config.data import DataOptions
from loadgen_generic.config.devices import DeviceOptions
from loadgen_generic.config.dispatch import DispatchOptions
from loadgen_generic.config.inputs import InputOptions
from loadgen_generic.config.model import ModelOptions
from loadgen_generic.config.remote import RemoteOptions
from loadgen_generic.config.rules import RuleOptions
from loadgen_generic.config.run import RunOptions
from loadgen_generic.config.session import SessionOptions
from loadgen_generic.config.test import ONE_AT_A_TIME, SCENARIOS, TestOptions
from loadgen_generic.config.tuning import TuningOptions
from loadgen_generic.option import Option, choices

__all__ = ["ONE_AT_A_TIME", "SCENARIOS", "BenchmarkConfig", "choices", "options"]


# pydantic lists the fields of the last base first.
class BenchmarkConfig(
    RunOptions,
    SessionOptions,
    DeviceOptions,
    RemoteOptions,
    ClusterOptions,
    DispatchOptions,
    TuningOptions,
    AnswerOptions,
    RuleOptions,
    TestOptions,
    DataOptions,
    InputOptions,
    ModelOptions,
):
    """One run, as it was asked for. ``None`` always means: choose for me."""

    @model_validator(mode="after")
    def _consistent(self) -> BenchmarkConfig:
        for name, option, _ in options():
            given = getattr(self, name) is not None and name in self.model_fields_set
            if given and option.scenarios and self.scenario not in option.scenarios:
                raise ValueError(
                    f"--{name} has no meaning in the {self.scenario} scenario; "
                    f"it applies to {', '.join(option.scenarios)}"
                )
        if self.model is not None and self.model_path is not None:
            raise ValueError(
                f"--model {self.model} and --modelpath {self.model_path} both name a model; "
                "leave one out"
            )
        contradiction = self.data_contradiction() or self.answers_contradiction()
        contradiction = (
            contradiction
            or self.rules_contradiction()
            or self.device_contradiction()
            or self.tuning_contradiction()
            or self.remote_contradiction()
            or self.cluster_contradiction()
            or self._campaign_contradiction()
        )
        if contradiction:
            raise ValueError(contradiction)
        if self.trace and self.mode == "accuracy":
            raise ValueError(
                "--trace keeps latencies, which --mode accuracy does not measure; leave one out"
            )
        generated = {
            "range": self.value_range,
            "fill": self.fill,
            "distribution": self.distribution,
        }
        for flag, pairs in generated.items():
            if self.dataset is not None and pairs:
                name, value = next(iter(pairs.items()))
                raise ValueError(
                    f"--{flag} {name}={value} and --dataset {self.dataset} both say what "
                    f"{name} is fed with; leave one out"
                )
        fewest, most = self.min_query_count, self.max_query_count
        if fewest and most and fewest > most:
            raise ValueError(f"--min_query_count {fewest} is more than --max_query_count {most}")
        return self

    def _campaign_contradiction(self) -> str:
        if self.repeat > 1 and self.mode != "performance":
            return (
                f"--repeat {self.repeat} has no meaning with --mode {self.mode}; it repeats a "
                "test of speed"
            )
        return ""


def options() -> Iterator[tuple[str, Option, FieldInfo]]:
    """Every option as (field name, what CM and the command line need, pydantic's field)."""
    for name, field in BenchmarkConfig.model_fields.items():
        yield name, next(m for m in field.metadata if isinstance(m, Option)), field
