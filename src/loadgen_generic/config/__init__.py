"""The description of a run: every option once, in the modules of this room.

The command line, the JSON request that CM hands over, the option tables of the
README and CM's ``input_mapping`` and ``input_description`` are all derived from
:class:`BenchmarkConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import model_validator
from pydantic.fields import FieldInfo

from loadgen_generic.config.dispatch import DispatchOptions
from loadgen_generic.config.inputs import InputOptions
from loadgen_generic.config.model import ModelOptions
from loadgen_generic.config.run import RunOptions
from loadgen_generic.config.session import SessionOptions
from loadgen_generic.config.test import ONE_AT_A_TIME, SCENARIOS, TestOptions
from loadgen_generic.option import Option, choices

__all__ = ["ONE_AT_A_TIME", "SCENARIOS", "BenchmarkConfig", "choices", "options"]


# pydantic lists the fields of the last base first.
class BenchmarkConfig(
    RunOptions, SessionOptions, DispatchOptions, TestOptions, InputOptions, ModelOptions
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
        fewest, most = self.min_query_count, self.max_query_count
        if fewest and most and fewest > most:
            raise ValueError(f"--min_query_count {fewest} is more than --max_query_count {most}")
        return self


def options() -> Iterator[tuple[str, Option, FieldInfo]]:
    """Every option as (field name, what CM and the command line need, pydantic's field)."""
    for name, field in BenchmarkConfig.model_fields.items():
        yield name, next(m for m in field.metadata if isinstance(m, Option)), field
