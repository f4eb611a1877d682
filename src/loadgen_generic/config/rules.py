"""LoadGen's own settings: those of MLPerf's rules, and the user's files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["RuleOptions"]


class RuleOptions(Options):
    mlperf_model: Annotated[
        str | None, Option("Rules", "CM_MLPERF_LOADGEN_MODEL", metavar="NAME")
    ] = Field(
        None,
        description="take the settings of this model of MLPerf (resnet50, bert, ...) from the "
        "mlperf.conf that is built into LoadGen: durations of ten minutes, counts, bounds and "
        "seeds; flags win over it",
    )
    official: Annotated[bool, Option("Rules", "CM_MLPERF_LOADGEN_OFFICIAL")] = Field(
        False,
        description="a test as the rules of MLPerf have it: their durations, counts and seeds, "
        "with --mlperf_model those of that model; whatever would fall short of them is refused",
    )
    user_conf: Annotated[str | None, Option("Rules", "CM_MLPERF_USER_CONF", metavar="FILE")] = (
        Field(
            None,
            description="LoadGen settings of your own, lines of model.scenario.key = value; they win "
            "over mlperf.conf, flags win over them",
        )
    )
    audit: Annotated[str | None, Option("Rules", "CM_MLPERF_LOADGEN_AUDIT", metavar="FILE")] = (
        Field(
            None,
            description="LoadGen's audit.config for a compliance run; one that happens to lie in "
            "the current directory is never used",
        )
    )

    def rules_contradiction(self) -> str:
        """What these options say against others, for the user; empty if nothing."""
        if self.audit is not None and getattr(self, "mode", "") != "performance":
            return "--audit is about a performance run; leave out --mode or --audit"
        return ""
