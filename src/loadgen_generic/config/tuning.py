"""What ``--mode tune`` may spend, and what it may try."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["TuningOptions"]

_GROUP = "Tuning"
_LEAST_SEC, _MOST_SEC = 1, 7 * 24 * 3600
_NUMBER = r"(\d+(?:\.\d+)?)"
_WITH_UNITS = re.compile(rf"(?:{_NUMBER}h)?\s*(?:{_NUMBER}m)?\s*(?:{_NUMBER}s)?", re.ASCII)
_SECONDS_OF = (3600, 60, 1)
_UNDERSTOOD = "expected a time of 1 s to 7 days, such as 600, 90s, 10m, 1h or 1h30m"


class TuningOptions(Options):
    budget_sec: Annotated[
        float | None,
        Option(_GROUP, "CM_MLPERF_TUNE_BUDGET", aliases=("budget",), unit="s", metavar="TIME"),
    ] = Field(
        None,
        description="how long --mode tune may search, as a number or as 90s, 10m, 1h or 1h30m (600)",
    )
    allow: Annotated[tuple[Literal["int8"], ...], Option(_GROUP, "CM_MLPERF_TUNE_ALLOW")] = Field(
        default_factory=tuple,
        description="precisions that --mode tune tries only if they are allowed; int8 quantises "
        "the model, calibrated on its samples",
    )

    @field_validator("budget_sec", mode="before")
    @classmethod
    def _budget_in_seconds(cls, value: object) -> object:
        return _seconds(value) if isinstance(value, str) else value

    @field_validator("budget_sec")
    @classmethod
    def _budget_in_range(cls, value: float | None) -> float | None:
        if value is not None and not _LEAST_SEC <= value <= _MOST_SEC:
            raise ValueError(_UNDERSTOOD)
        return value

    @field_validator("allow", mode="before")
    @classmethod
    def _allowed_as_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [word for each in value.split(",") if (word := each.strip().lower())]

    @field_serializer("allow")
    def _allowed_as_text(self, value: tuple[str, ...]) -> str:
        """As it is typed, for commands to paste and files of options."""
        return ",".join(value)

    def tuning_contradiction(self) -> str:
        """What these options say against others, for the user; empty if nothing."""
        if getattr(self, "mode", "") == "tune":
            return ""
        if self.budget_sec is not None:
            return "--budget has no meaning without --mode tune"
        if self.allow:
            return "--allow has no meaning without --mode tune"
        return ""


def _seconds(text: str) -> float:
    """A time in words, in s.

    Raises:
        ValueError: it is none.
    """
    found = _WITH_UNITS.fullmatch(text.strip().lower())
    if found and any(found.groups()):
        parts = zip(found.groups("0"), _SECONDS_OF, strict=True)
        return sum(float(number) * seconds for number, seconds in parts)
    try:
        return float(text)
    except ValueError:
        raise ValueError(_UNDERSTOOD) from None
