"""What all groups of options have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from loadgen_generic.option import choices, parse_pairs

__all__ = ["Options"]


class Options(BaseModel):
    """A group of options. ``None`` always means: choose for me."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), defer_build=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_typed(cls, value: object, info: ValidationInfo) -> object:
        """Choices in any case, and NAME=VALUE pairs as a dict."""
        if not isinstance(value, str) or info.field_name is None:
            return value
        field = cls.model_fields[info.field_name]
        known: dict[str, Any] = {name.lower(): name for name in choices(field)}
        if known:
            return known.get(value.strip().lower(), value)
        if getattr(field.annotation, "__origin__", None) is dict:
            return parse_pairs(value)
        return value
