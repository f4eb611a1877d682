"""What all records of a result have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Record"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=(), defer_build=True)
